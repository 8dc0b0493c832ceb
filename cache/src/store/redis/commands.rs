//! What is sent: the commands of the store, built in as few steps as the client library allows.

use std::sync::atomic::Ordering::Relaxed;

use redis::{Cmd, RedisWrite, ToRedisArgs, ToSingleRedisArg};
use tokio::time::Instant;

use super::{
    backoff::{jittered, mix},
    client::{Redis, now_ms},
    names::Names,
    route::Ask,
};
use crate::store::{Keep, StoreError, entry};

impl Redis {
    pub(super) fn get_ask(&self, key: &[u8]) -> Ask {
        // One byte over the limit at most: too large a value must not end the connection that all share.
        self.range_ask(key, entry::HEADER_LEN + self.shared.config.max_value_bytes)
    }

    /// The entry of `key` up to its byte `last`.
    pub(super) fn range_ask(&self, key: &[u8], last: usize) -> Ask {
        let name = self.name(key);
        let mut command = Cmd::with_capacity(4, 24 + name.len());
        command.arg("GETRANGE").arg(name).arg(0).arg(last);
        Ask::repeatable(command)
    }

    pub(super) fn set_ask(
        &self,
        key: &[u8],
        value: &[u8],
        keep: Keep<'_>,
        if_absent: bool,
    ) -> Result<Ask, StoreError> {
        self.check_key(key)?;
        let max = self.shared.config.max_value_bytes;
        if value.len() > max {
            return Err(StoreError::ValueTooLarge { len: value.len(), max });
        }
        let ttl_ms = self.jittered(keep.checked_ttl_ms()?);
        let name = self.name(key);
        let mut command = Cmd::with_capacity(6, name.len() + entry::HEADER_LEN + value.len() + 32);
        command.arg("SET").arg(name);
        command.arg(Sealed { header: entry::header(key, value, now_ms() + ttl_ms), value });
        command.arg("PX").arg(ttl_ms);
        Ok(if if_absent {
            command.arg("NX");
            Ask::once(command)
        } else {
            Ask::repeatable(command)
        })
    }

    /// The name of `key`'s entry, to be written where it is needed.
    pub(super) fn name<'a>(&'a self, key: &'a [u8]) -> EntryName<'a> {
        EntryName { names: &self.names, key }
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
            let mut ask = |build: &dyn Fn(&mut Cmd)| {
                let mut command = Cmd::new();
                build(&mut command);
                asks.push(Ask::repeatable(command));
            };
            ask(&|command| {
                command.arg("ZREMRANGEBYSCORE").arg(&name).arg("-inf").arg(now);
            });
            ask(&|command| {
                command.arg("ZADD").arg(&name).arg(now + ttl_ms).arg(key);
            });
            // A new set has no end and takes this one; an older set takes it if it is later (`GT` alone treats
            // "no end" as later than any).
            for condition in ["NX", "GT"] {
                ask(&|command| {
                    command.arg("PEXPIRE").arg(&name).arg(ttl_ms).arg(condition);
                });
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

pub(super) fn unlink_ask(name: impl ToSingleRedisArg) -> Ask {
    let mut command = redis::cmd("UNLINK");
    command.arg(name);
    Ask::repeatable(command)
}

/// What an entry is called, as an argument: written in place, without a string of its own.
pub(super) struct EntryName<'a> {
    names: &'a Names,
    key: &'a [u8],
}

impl EntryName<'_> {
    /// At least.
    fn len(&self) -> usize {
        self.names.entry_len(self.key)
    }
}

impl ToRedisArgs for EntryName<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        // Into memory: cannot fail.
        let _ = self.names.write_entry(self.key, &mut out.writer_for_next_arg());
    }
}

impl ToSingleRedisArg for EntryName<'_> {}

/// Header and value as one argument, so that the value is copied once.
struct Sealed<'a> {
    header: [u8; entry::HEADER_LEN],
    value: &'a [u8],
}

impl ToRedisArgs for Sealed<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        use std::io::Write as _;
        let mut argument = out.writer_for_next_arg();
        // Into memory: cannot fail.
        let _ = argument.write_all(&self.header);
        let _ = argument.write_all(self.value);
    }
}

impl ToSingleRedisArg for Sealed<'_> {}
