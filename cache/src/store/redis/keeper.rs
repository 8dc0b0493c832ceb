//! The task that keeps a connection to one server: it dials, watches, and dials again.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    address::Address,
    backoff::{Backoff, split_mix},
    breaker::Circuit,
    dial::{Dialer, ping},
    lanes::Lanes,
    node::{Line, Link, State},
    sentinel::{Sentinels, check_is_master},
    wire::Wire,
};

/// Where the server is, asked anew for each connection.
pub(super) enum Finder {
    /// Always there.
    At(Address, Arc<Dialer>),
    /// Where the Sentinels say, if it is a master.
    Sentinels(Sentinels, Arc<Dialer>),
}

impl Finder {
    async fn find(&self) -> Result<(Address, &Dialer), String> {
        match self {
            Self::At(address, dialer) => Ok((address.clone(), dialer)),
            Self::Sentinels(sentinels, dialer) => Ok((sentinels.find().await?, dialer)),
        }
    }
}

/// Keeps `state` connected until the task is aborted.
pub(super) async fn keep(state: Arc<State>) {
    let mut chance = seed();
    let limits = state.limits;
    let mut backoff = Backoff::new(limits.probe_first, limits.probe_longest, split_mix(&mut chance));
    let mut id = 0;
    loop {
        id += 1;
        let reason = match timeout(limits.connect, open(&state, id, split_mix(&mut chance))).await {
            Ok(Ok((line, driver))) => {
                let since = line.since;
                state.breaker.set(Circuit::Closed);
                state.counts.connects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tracing::info!(server = %state.server, "connected to the cache server");
                state.link.send_replace(Link::Up(line.clone()));
                let reason = watch_over(&state, line, driver, &mut chance).await;
                if let Some(watch) = &state.watch {
                    watch.lost();
                }
                let was_settled = since.elapsed() >= SETTLED;
                if was_settled {
                    backoff.reset();
                    if matches!(&*state.link.borrow(), Link::Connecting) {
                        continue;
                    }
                }
                reason
            }
            Ok(Err(reason)) => reason,
            Err(_) => format!("no connection within {:?}, with name lookup, TLS and login", limits.connect),
        };
        down(&state, &reason);
        sleep(backoff.wait()).await;
        state.breaker.set(Circuit::HalfOpen);
    }
}

/// A connection that has answered and that hears of changes, and the task that moves its bytes.
async fn open(state: &State, id: u64, nonce: u64) -> Result<(Arc<Line>, Driving), String> {
    let (wire, driver) = dial(state).await?;
    ping(&wire, nonce).await?;
    if let Finder::Sentinels(..) = state.finder {
        check_is_master(&wire).await?;
    }
    if let Some(watch) = &state.watch {
        watch.begin(&wire).await?;
    }
    let lanes = Arc::new(Lanes::new(wire.clone()));
    Ok((Arc::new(Line { wire, lanes, id, since: Instant::now() }), driver))
}

/// A connection that is logged in.
pub(super) async fn dial(state: &State) -> Result<(Wire, Driving), String> {
    let (address, dialer) = state.finder.find().await?;
    let (wire, driver) = dialer.dial(&address, state.watch.clone()).await?;
    Ok((wire, Driving(tokio::spawn(driver))))
}

/// Returns when `line` is of no use any more, with the reason; callers no longer see it by then.
async fn watch_over(state: &State, line: Arc<Line>, mut driver: Driving, chance: &mut u64) -> String {
    let silence_max = state.limits.response * SILENCE_FACTOR;
    loop {
        let reason = tokio::select! {
            _ = &mut driver.0 => "the connection was closed".to_owned(),
            () = state.broken.notified() => match &*state.link.borrow() {
                // A permit left over from the line before.
                Link::Up(up) if up.id == line.id => continue,
                Link::Down(reason) => reason.to_string(),
                _ => "the connection broke".to_owned(),
            },
            () = sleep(state.limits.ping_every) => {
                line.lanes.close_idle(state);
                let answer = timeout(silence_max, ping(&line.wire, split_mix(chance))).await;
                match answer {
                    Ok(Ok(())) => continue,
                    Ok(Err(reason)) => reason,
                    Err(_) => format!("silent for {silence_max:?}"),
                }
            }
        };
        state.lost(&line);
        return reason;
    }
}

fn down(state: &State, reason: &str) {
    state.breaker.set(Circuit::Open);
    let was_down = matches!(&*state.link.borrow(), Link::Down(_));
    if !was_down {
        tracing::warn!(server = %state.server, reason, "no connection to the cache server");
    }
    state.link.send_replace(Link::Down(reason.into()));
}

/// A connection's task, ended with its owner.
pub(super) struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Different in each process and for each server, for waits and nonces that differ.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// A connection that lasted this long was a good one: the next wait starts from the shortest.
pub(super) const SETTLED: Duration = Duration::from_secs(2);
/// Response time-outs without an answer to a ping after which a connection counts as dead.
const SILENCE_FACTOR: u32 = 5;
