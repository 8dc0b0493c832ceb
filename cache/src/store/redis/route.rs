//! Which server a command goes to.

use std::sync::Arc;

use redis::Value;
use tokio::time::Instant;

use super::{
    cluster::Cluster,
    command::Command,
    config::{RedisConfig, Topology},
    dial::Dialer,
    keeper::Finder,
    node::{Node, Request},
    sentinel::Sentinels,
    watch::Watch,
};
use crate::store::StoreError;

/// One server, or the servers of a Cluster.
#[derive(Debug)]
pub(super) enum Route {
    One(Arc<Node>),
    Cluster(Cluster),
}

/// A command, which of its words decides where it goes, and whether it may be sent twice.
pub(super) struct Ask {
    pub(super) command: Command,
    key: Key,
    pub(super) is_repeatable: bool,
}

/// What decides where a command goes. Only a Cluster asks.
enum Key {
    /// The word at this place, the command itself being 0.
    Word(usize),
    /// This one, of which the command says nothing.
    Other(Vec<u8>),
}

impl Ask {
    /// A command that does the same when it arrives twice; its first argument is its key.
    pub(super) fn repeatable(command: Command) -> Self {
        Self { command, key: Key::Word(1), is_repeatable: true }
    }

    /// A command whose answer tells whether it was the first; its first argument is its key.
    pub(super) fn once(command: Command) -> Self {
        Self { command, key: Key::Word(1), is_repeatable: false }
    }

    /// `EVAL` of a script with one key, which does the same when it arrives twice.
    pub(super) fn script(command: Command) -> Self {
        Self { command, key: Key::Word(3), is_repeatable: true }
    }

    /// A command without a key that goes where `self` goes.
    pub(super) fn beside(&self, command: Command) -> Self {
        Self { command, key: Key::Other(self.key().to_vec()), is_repeatable: true }
    }

    /// The name of the key that decides where it goes.
    pub(super) fn key(&self) -> &[u8] {
        match &self.key {
            Key::Other(name) => name,
            Key::Word(place) => self.command.word(*place).unwrap_or_default(),
        }
    }
}

impl Route {
    /// The way to what `config` names; nothing is connected yet.
    pub(super) fn new(
        server: &Arc<str>,
        config: &RedisConfig,
        watch: Option<&Arc<Watch>>,
    ) -> Result<Self, StoreError> {
        let dialer = Arc::new(Dialer::new(config)?);
        let one = |finder| Self::One(Arc::new(Node::new(server.clone(), config, finder, watch.cloned())));
        Ok(match &config.topology {
            Topology::Single(address) => one(Finder::At(address.clone(), dialer)),
            Topology::Sentinel { sentinels, master, user, password } => {
                let to_sentinels = Dialer::for_sentinels(config, user.as_deref(), password.as_deref())?;
                let sentinels = Sentinels {
                    addresses: sentinels.clone(),
                    master: master.clone(),
                    dialer: Arc::new(to_sentinels),
                };
                one(Finder::Sentinels(sentinels, dialer))
            }
            Topology::Cluster(seeds) => {
                Self::Cluster(Cluster::new(server.clone(), config, seeds.clone(), dialer, watch.cloned()))
            }
        })
    }

    /// The answer to one command; an error of the server is an `Err` too.
    pub(super) async fn ask(&self, ask: Ask, deadline: Instant) -> Result<Value, StoreError> {
        match self {
            Self::One(node) => {
                let value = node.send(&Request::One(&ask.command), ask.is_repeatable, deadline).await?;
                accepted(&node.state.server, value)
            }
            // Boxed, as its state is large and would be part of every future.
            Self::Cluster(cluster) => Box::pin(cluster.ask(&ask, deadline)).await,
        }
    }

    /// The answers to many, in their order, over as few round trips as there are servers.
    pub(super) async fn ask_each(&self, asks: Vec<Ask>, deadline: Instant) -> Vec<Result<Value, StoreError>> {
        match self {
            Self::One(node) => {
                let asks: Vec<&Ask> = asks.iter().collect();
                let answers = ask_node(node, &asks, deadline).await.into_iter();
                answers.map(|answer| answer.and_then(|value| accepted(&node.state.server, value))).collect()
            }
            Self::Cluster(cluster) => Box::pin(cluster.ask_each(asks, deadline)).await,
        }
    }

    /// Every server that holds keys.
    pub(super) async fn masters(&self, deadline: Instant) -> Result<Vec<Arc<Node>>, StoreError> {
        match self {
            Self::One(node) => Ok(vec![node.clone()]),
            Self::Cluster(cluster) => cluster.masters(deadline).await,
        }
    }

    /// Those of them that are known now.
    pub(super) fn known_masters(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) => vec![node.clone()],
            Self::Cluster(cluster) => cluster.known_masters(),
        }
    }
}

/// All of `asks` to one server in one go, in parts where there are more than [`PIPELINE_MAX`]; its errors are values.
pub(super) async fn ask_node(
    node: &Node,
    asks: &[&Ask],
    deadline: Instant,
) -> Vec<Result<Value, StoreError>> {
    let mut answers = Vec::with_capacity(asks.len());
    for part in asks.chunks(PIPELINE_MAX) {
        let commands: Vec<&Command> = part.iter().map(|ask| &ask.command).collect();
        let is_repeatable = part.iter().all(|ask| ask.is_repeatable);
        match node.send(&Request::Many(&commands), is_repeatable, deadline).await {
            Ok(Value::Array(values)) if values.len() == part.len() => {
                answers.extend(values.into_iter().map(Ok));
            }
            Ok(value) => {
                let error = unexpected(&node.state.server, "a pipeline", &value);
                answers.extend(part.iter().map(|_| Err(error.clone())));
            }
            Err(error) => answers.extend(part.iter().map(|_| Err(error.clone()))),
        }
    }
    answers
}

/// `value` unless it is an error of the server.
pub(super) fn accepted(server: &Arc<str>, value: Value) -> Result<Value, StoreError> {
    match value {
        Value::ServerError(error) => Err(StoreError::Refused {
            server: server.clone(),
            code: error.code().into(),
            detail: error.details().unwrap_or_default().into(),
        }),
        value => Ok(value),
    }
}

/// An answer of the wrong kind, without its contents.
pub(super) fn unexpected(server: &Arc<str>, command: &'static str, value: &Value) -> StoreError {
    let found = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::VerbatimString { .. } => "a string",
        Value::Okay => "OK",
        Value::Array(_) | Value::Set(_) => "a list",
        Value::Map(_) | Value::Attribute { .. } => "a map",
        Value::Push { .. } => "a push message",
        Value::ServerError(_) => "an error",
        _ => "another type",
    };
    StoreError::Unexpected { server: server.clone(), command, found }
}

/// Commands sent in one go. More would make the first of them wait for the last of a long reply.
pub(super) const PIPELINE_MAX: usize = 512;
