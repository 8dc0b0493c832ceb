//! What is sent: the commands of the store.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    backoff::{jittered, mix},
    client::{Redis, now_ms},
    command::Command,
    route::Ask,
};
use crate::store::{Keep, StoreError, entry};

impl Redis {
    pub(super) fn get_ask(&self, key: &[u8]) -> Ask {
        // No more than the limit: too large a value comes cut short, and must not end the connection that all share.
        self.range_ask(key, entry::HEADER_LEN + self.shared.config.max_value_bytes - 1)
    }

    /// The entry of `key` up to its byte `last`.
    pub(super) fn range_ask(&self, key: &[u8], last: usize) -> Ask {
        let mut command = Command::with_capacity("GETRANGE", 64 + self.names.entry_len(key));
        command.entry(&self.names, key).arg(0).arg(last);
        Ask::repeatable(command)
    }

    pub(super) fn set_ask(
        &self,
        key: &[u8],
        value: &Bytes,
        keep: Keep<'_>,
        if_absent: bool,
    ) -> Result<Ask, StoreError> {
        self.check_key(key)?;
        let max = self.shared.config.max_value_bytes;
        if value.len() > max {
            return Err(StoreError::ValueTooLarge { len: value.len(), max });
        }
        let ttl_ms = self.jittered(keep.checked_ttl_ms()?);
        let mut command = Command::with_capacity("SET", 96 + self.names.entry_len(key) + entry::HEADER_LEN);
        let header = entry::header(key, value, now_ms() + ttl_ms);
        command.entry(&self.names, key).sealed(&header, value);
        command.arg("PX").arg(ttl_ms);
        Ok(if if_absent {
            command.arg("NX");
            Ask::once(command)
        } else {
            Ask::repeatable(command)
        })
    }

    /// Notes under each tag that `key` has it. Before the entry is written: a purge that sees the entry sees the note.
    pub(super) async fn tag(&self, key: &[u8], keep: Keep<'_>, deadline: Instant) -> Result<(), StoreError> {
        if keep.tags().is_empty() {
            return Ok(());
        }
        let (now, ttl_ms) = (now_ms(), keep.checked_ttl_ms()?);
        let mut asks = Vec::with_capacity(4 * keep.tags().len());
        for tag in keep.tags() {
            let name = self.names.tag(tag);
            let mut ask = |verb, build: &dyn Fn(&mut Command)| {
                let mut command = Command::new(verb);
                command.arg(&name);
                build(&mut command);
                asks.push(Ask::repeatable(command));
            };
            ask("ZREMRANGEBYSCORE", &|command| _ = command.arg("-inf").arg(now));
            ask("ZADD", &|command| _ = command.arg(now + ttl_ms).arg(key));
            // A new set has no end and takes this one; an older set takes it if it is later (`GT` alone treats
            // "no end" as later than any).
            for condition in ["NX", "GT"] {
                ask("PEXPIRE", &|command| _ = command.arg(ttl_ms).arg(condition));
            }
        }
        for answer in self.shared.route.ask_each(asks, deadline).await {
            self.counted(answer)?;
        }
        Ok(())
    }

    pub(super) fn check_key(&self, key: &[u8]) -> Result<(), StoreError> {
        let max = self.shared.config.max_key_bytes;
        if key.len() > max { Err(StoreError::KeyTooLong { len: key.len(), max }) } else { Ok(()) }
    }

    /// When an operation that starts now must be over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.shared.config.response_timeout
    }

    pub(super) fn jittered(&self, ttl_ms: u64) -> u64 {
        let share = self.shared.config.ttl_jitter;
        if share == 0.0 {
            return ttl_ms;
        }
        jittered(ttl_ms, share, mix(self.shared.chance.fetch_add(1, Relaxed)))
    }
}

pub(super) fn unlink_ask(name: &[u8]) -> Ask {
    let mut command = Command::new("UNLINK");
    command.arg(name);
    Ask::repeatable(command)
}
