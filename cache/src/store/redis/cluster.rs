//! A Redis Cluster: which node holds a key, and learning it anew when keys move and nodes die.
//!
//! ```text
//!     key ─ hash tag ─► CRC16 mod 16384 = slot ─► node                       CLUSTER SLOTS, from any node that answers
//!
//!     MOVED  the slot lives elsewhere now     ─► ask there, and learn the map anew
//!     ASK    this key is just moving          ─► ask there once, with ASKING before it
//!     no answer, READONLY, CLUSTERDOWN        ─► an error for this caller, and learn the map anew
//! ```
//!
//! Each node has a breaker of its own ([`Node`]): one that is down costs the keys of its slots and nothing else. Learning
//! is one task's work, never a caller's: it runs when somebody noticed a change, at most ten times a second, and every
//! half minute. A caller waits for it only while nothing is known yet. Slots themselves are in `slots`.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use redis::Value;
use tokio::{
    sync::{Notify, watch::Sender},
    task::AbortHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    address::Address,
    backoff::Backoff,
    command::Command,
    config::RedisConfig,
    dial::Dialer,
    keeper::Finder,
    node::{Node, Request},
    route::{Ask, accepted, ask_node, unexpected},
    slots::{SLOTS, SlotRange, parse_slots, slot},
    watch::Watch,
};
use crate::store::StoreError;

pub(super) struct Cluster {
    state: Arc<State>,
    learner: std::sync::Mutex<Option<AbortHandle>>,
}

struct State {
    server: Arc<str>,
    config: RedisConfig,
    seeds: Vec<Address>,
    dialer: Arc<Dialer>,
    watch: Option<Arc<Watch>>,
    map: Sender<Knowledge>,
    /// Nodes that answers pointed at and that are not in the map yet, so that all who are sent there share a connection.
    strays: parking_lot::Mutex<Vec<(Address, Arc<Node>)>>,
    /// Somebody noticed that the map is out of date.
    doubt: Notify,
}

/// What is known of the Cluster.
#[derive(Clone)]
enum Knowledge {
    /// The first attempt to learn is still to come, or under way: worth waiting for.
    NothingYet,
    Map(Arc<Map>),
    /// No node would tell, for this reason.
    Failed(Arc<str>),
}

/// Which node holds which slot.
struct Map {
    nodes: Vec<(Address, Arc<Node>)>,
    /// By slot, the place in `nodes`; [`NOBODY`] where no node serves it.
    slots: Box<[u16]>,
}

impl Cluster {
    pub(super) fn new(
        server: Arc<str>,
        config: &RedisConfig,
        seeds: Vec<Address>,
        dialer: Arc<Dialer>,
        watch: Option<Arc<Watch>>,
    ) -> Self {
        let map = Sender::new(Knowledge::NothingYet);
        let (config, strays, doubt) = (config.clone(), parking_lot::Mutex::default(), Notify::new());
        let state = State { server, config, seeds, dialer, watch, map, strays, doubt };
        Self { state: Arc::new(state), learner: std::sync::Mutex::new(None) }
    }

    /// The answer to one command.
    pub(super) async fn ask(&self, ask: &Ask, deadline: Instant) -> Result<Value, StoreError> {
        let slot = slot(ask.key());
        let mut node = self.map(deadline).await?.node(slot).ok_or_else(|| self.nobody(slot))?;
        let mut is_asking = false;
        for _ in 0..REDIRECTS_MAX {
            let answer = send(&node, ask, is_asking, deadline).await;
            match self.redirect(&answer) {
                Some(Redirect::Moved(address)) => (node, is_asking) = (self.node_at(&address), false),
                Some(Redirect::Ask(address)) => (node, is_asking) = (self.node_at(&address), true),
                None => return answer.and_then(|value| accepted(&node.state.server, value)),
            }
        }
        Err(self.unavailable("the nodes point at each other for this slot"))
    }

    /// The answers to many commands, in their order: one round trip a node, all at once, and one more for each command
    /// that was sent elsewhere.
    pub(super) async fn ask_each(&self, asks: Vec<Ask>, deadline: Instant) -> Vec<Result<Value, StoreError>> {
        let map = match self.map(deadline).await {
            Ok(map) => map,
            Err(error) => return asks.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut by_node: HashMap<u16, Vec<usize>> = HashMap::new();
        for (index, ask) in asks.iter().enumerate() {
            by_node.entry(map.slots[usize::from(slot(ask.key()))]).or_default().push(index);
        }
        let groups = by_node.into_iter().map(async |(place, indexes)| {
            let group: Vec<&Ask> = indexes.iter().map(|&index| &asks[index]).collect();
            let answers = match map.nodes.get(usize::from(place)) {
                Some((_, node)) => ask_node(node, &group, deadline).await,
                None => group.iter().map(|ask| Err(self.nobody(slot(ask.key())))).collect(),
            };
            (indexes, answers)
        });
        let mut answers: Vec<_> = asks.iter().map(|_| Ok(Value::Nil)).collect();
        for (indexes, group) in join_all(groups).await {
            for (index, answer) in indexes.into_iter().zip(group) {
                answers[index] = answer;
            }
        }
        for (ask, answer) in asks.iter().zip(&mut answers) {
            *answer = match self.redirect(answer) {
                Some(_) => self.ask(ask, deadline).await,
                None => std::mem::replace(answer, Ok(Value::Nil))
                    .and_then(|value| accepted(&self.state.server, value)),
            };
        }
        answers
    }

    /// Every master of the Cluster, for scans. Waits for the first map.
    pub(super) async fn masters(&self, deadline: Instant) -> Result<Vec<Arc<Node>>, StoreError> {
        Ok(self.map(deadline).await?.nodes.iter().map(|(_, node)| node.clone()).collect())
    }

    /// The masters known now.
    pub(super) fn known_masters(&self) -> Vec<Arc<Node>> {
        match &*self.state.map.borrow() {
            Knowledge::Map(map) => map.nodes.iter().map(|(_, node)| node.clone()).collect(),
            _ => Vec::new(),
        }
    }

    async fn map(&self, deadline: Instant) -> Result<Arc<Map>, StoreError> {
        self.ensure_learner()?;
        if let Knowledge::Map(map) = &*self.state.map.borrow() {
            return Ok(map.clone());
        }
        let mut known = self.state.map.subscribe();
        let settled = known.wait_for(|knowledge| !matches!(knowledge, Knowledge::NothingYet));
        match timeout_at(deadline, settled).await {
            Ok(Ok(knowledge)) => match &*knowledge {
                Knowledge::Map(map) => Ok(map.clone()),
                Knowledge::Failed(reason) => Err(self.unavailable(reason)),
                Knowledge::NothingYet => Err(self.unavailable("its nodes are not known yet")),
            },
            Ok(Err(_)) => Err(self.unavailable("the store is closed")),
            Err(_) => {
                let limit = self.state.config.response_timeout;
                Err(StoreError::TimedOut { server: self.state.server.clone(), limit })
            }
        }
    }

    /// Where an answer points, if it does. Whatever hints at an old map has it learnt anew.
    fn redirect(&self, answer: &Result<Value, StoreError>) -> Option<Redirect> {
        let error = match answer {
            Ok(Value::ServerError(error)) => error,
            Ok(_) => return None,
            Err(_) => {
                self.state.doubt.notify_one();
                return None;
            }
        };
        let target = || error.details()?.split_ascii_whitespace().nth(1)?.parse().ok();
        match error.code() {
            "MOVED" => {
                self.state.doubt.notify_one();
                target().map(Redirect::Moved)
            }
            "ASK" => target().map(Redirect::Ask),
            "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" => {
                self.state.doubt.notify_one();
                None
            }
            _ => None,
        }
    }

    /// The node at `address`, in the map or not.
    fn node_at(&self, address: &Address) -> Arc<Node> {
        if let Knowledge::Map(map) = &*self.state.map.borrow()
            && let Some((_, node)) = map.nodes.iter().find(|(known, _)| known == address)
        {
            return node.clone();
        }
        let mut strays = self.state.strays.lock();
        if let Some((_, node)) = strays.iter().find(|(known, _)| known == address) {
            return node.clone();
        }
        if strays.len() >= STRAYS_MAX {
            strays.clear();
        }
        let node = self.state.new_node(address);
        strays.push((address.clone(), node.clone()));
        node
    }

    fn ensure_learner(&self) -> Result<(), StoreError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(self.unavailable("not called inside a tokio runtime"));
        }
        let mut learner = self.learner.lock().unwrap_or_else(PoisonError::into_inner);
        if learner.as_ref().is_none_or(AbortHandle::is_finished) {
            *learner = Some(tokio::spawn(learn(self.state.clone())).abort_handle());
        }
        Ok(())
    }

    fn nobody(&self, slot: u16) -> StoreError {
        self.state.doubt.notify_one();
        self.unavailable(&format!("no node serves slot {slot}"))
    }

    fn unavailable(&self, reason: &str) -> StoreError {
        StoreError::Unavailable { server: self.state.server.clone(), reason: reason.into() }
    }
}

enum Redirect {
    Moved(Address),
    Ask(Address),
}

/// One command to one node; `ASKING` goes before it where the node has only just been given the key.
async fn send(node: &Node, ask: &Ask, is_asking: bool, deadline: Instant) -> Result<Value, StoreError> {
    if !is_asking {
        return node.send(&Request::One(&ask.command), ask.is_repeatable, deadline).await;
    }
    let both = [&Command::new("ASKING"), &ask.command];
    match node.send(&Request::Many(&both), ask.is_repeatable, deadline).await? {
        Value::Array(mut values) if values.len() == 2 => Ok(values.swap_remove(1)),
        other => Err(unexpected(&node.state.server, "ASKING", &other)),
    }
}

/// Keeps the map up to date until the task is aborted.
async fn learn(state: Arc<State>) {
    let config = &state.config;
    let mut backoff = Backoff::new(config.probe_first, config.probe_longest, super::keeper::seed());
    loop {
        match state.learn_from_anyone().await {
            Ok(map) => {
                backoff.reset();
                state.replace(map);
                // Rest a little: many callers meet the same change at once.
                sleep(LEARN_AT_MOST_EVERY).await;
                let _ = timeout(LEARN_AT_LEAST_EVERY, state.doubt.notified()).await;
            }
            Err(reason) => {
                let had_map = matches!(&*state.map.borrow(), Knowledge::Map(_));
                tracing::warn!(server = %state.server, reason, had_map, "no node of the Cluster tells its slots");
                if !had_map {
                    state.map.send_replace(Knowledge::Failed(reason.into()));
                }
                sleep(backoff.wait()).await;
            }
        }
    }
}

impl State {
    /// Asks the nodes known and the seeds, one after the other, for the first map that is one.
    async fn learn_from_anyone(&self) -> Result<Map, String> {
        let mut known: Vec<(Address, Arc<Node>)> = match &*self.map.borrow() {
            Knowledge::Map(map) => map.nodes.clone(),
            _ => Vec::new(),
        };
        known.extend(self.strays.lock().iter().cloned());
        for seed in &self.seeds {
            if !known.iter().any(|(address, _)| address == seed) {
                known.push((seed.clone(), self.new_node(seed)));
            }
        }
        let mut reasons = Vec::new();
        for (address, node) in &known {
            let deadline = Instant::now() + self.config.connect_timeout + self.config.response_timeout;
            let mut command = Command::new("CLUSTER");
            command.arg("SLOTS");
            let answer = node.send(&Request::One(&command), true, deadline).await;
            let answer = answer.and_then(|value| accepted(&node.state.server, value));
            let told = |error| match error {
                StoreError::Unavailable { reason, .. } => format!("{address}: {reason}"),
                error => error.to_string(),
            };
            match answer.map_err(told).and_then(|value| parse_slots(&value, address)) {
                Ok(ranges) => return Ok(self.map_of(ranges, &known)),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }

    /// A map of `ranges`, with the nodes that are `known` already.
    fn map_of(&self, ranges: Vec<SlotRange>, known: &[(Address, Arc<Node>)]) -> Map {
        let mut map = Map { nodes: Vec::new(), slots: vec![NOBODY; SLOTS].into() };
        for SlotRange { first, last, master } in ranges {
            let place = map.nodes.iter().position(|(address, _)| *address == master).unwrap_or_else(|| {
                let node = known.iter().find(|(address, _)| *address == master).map(|(_, node)| node.clone());
                map.nodes.push((master.clone(), node.unwrap_or_else(|| self.new_node(&master))));
                map.nodes.len() - 1
            });
            map.slots[usize::from(first)..=usize::from(last)].fill(place as u16);
        }
        map
    }

    fn replace(&self, map: Map) {
        self.strays.lock().clear();
        let has_changed = match &*self.map.borrow() {
            Knowledge::Map(old) => !old.is_same(&map),
            _ => true,
        };
        if !has_changed {
            return;
        }
        tracing::info!(server = %self.server, masters = map.nodes.len(), "learnt who holds which slots of the Cluster");
        self.map.send_replace(Knowledge::Map(Arc::new(map)));
        // A near tier hears of a key from the node that held it when it was read.
        if let Some(watch) = &self.watch {
            watch.lost();
        }
    }

    fn new_node(&self, address: &Address) -> Arc<Node> {
        let server = format!("redis {address}").into();
        let finder = Finder::At(address.clone(), self.dialer.clone());
        Arc::new(Node::new(server, &self.config, finder, self.watch.clone()))
    }
}

impl Map {
    fn node(&self, slot: u16) -> Option<Arc<Node>> {
        let place = self.slots[usize::from(slot)];
        self.nodes.get(usize::from(place)).map(|(_, node)| node.clone())
    }

    fn is_same(&self, other: &Self) -> bool {
        let addresses = |map: &Self| map.nodes.iter().map(|(address, _)| address.clone()).collect::<Vec<_>>();
        self.slots == other.slots && addresses(self) == addresses(other)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(learner) = self.learner.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            learner.abort();
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("server", &self.state.server).finish_non_exhaustive()
    }
}

const NOBODY: u16 = u16::MAX;
/// Redirections followed for one command.
const REDIRECTS_MAX: usize = 5;
/// Nodes outside the map remembered at a time: more than a Cluster moves to at once.
const STRAYS_MAX: usize = 16;
const LEARN_AT_MOST_EVERY: Duration = Duration::from_millis(100);
const LEARN_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
