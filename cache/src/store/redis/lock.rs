//! A short lock in Redis, for one of many processes to do what need be done once.
//!
//! `SET shop:l:{key} token NX PX lease`. It is advice, not exclusion: a holder that is away for longer than its lease
//! shares it with the next. The token keeps a late holder from touching its successor's lock.

use std::time::Duration;

use redis::Value;

use super::{
    client::Redis,
    command::Command,
    route::{Ask, unexpected},
};
use crate::store::StoreError;

/// What came of an attempt to take a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Taken,
    /// By another, for so long unless it renews it.
    Held(Duration),
}

impl Redis {
    /// Takes the lock of `key` for `lease`, unless somebody holds it.
    pub(in crate::store) async fn lock(
        &self,
        key: &[u8],
        token: &str,
        lease: Duration,
    ) -> Result<Lock, StoreError> {
        self.check_key(key)?;
        let name = self.names.lock(key);
        let mut set = Command::new("SET");
        set.arg(&name).arg(token).arg("NX").arg("PX").arg(millis(lease));
        let mut left = Command::new("PTTL");
        left.arg(&name);
        let asks = vec![Ask::once(set), Ask::once(left)];
        let mut answers = self.shared.route.ask_each(asks, self.deadline()).await.into_iter();
        let mut next =
            || self.counted(answers.next().expect("as many answers as questions, and there were two"));
        match (next()?, next()?) {
            (Value::Okay, _) => Ok(Lock::Taken),
            // Negative when it ended in between.
            (Value::Nil, Value::Int(left)) => Ok(Lock::Held(Duration::from_millis(left.max(0) as u64))),
            (other, _) => Err(unexpected(&self.shared.server, "SET", &other)),
        }
    }

    /// Holds it for another `lease` from now. False when it was lost.
    pub(in crate::store) async fn renew(
        &self,
        key: &[u8],
        token: &str,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let script = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                      return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
        let mut command = self.script(script, key, token);
        command.arg(millis(lease));
        self.run(command).await
    }

    /// Gives it back. False when it was lost before.
    pub(in crate::store) async fn unlock(&self, key: &[u8], token: &str) -> Result<bool, StoreError> {
        let script =
            "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('DEL', KEYS[1])";
        self.run(self.script(script, key, token)).await
    }

    fn script(&self, script: &str, key: &[u8], token: &str) -> Command {
        let mut command = Command::new("EVAL");
        command.arg(script).arg(1).arg(self.names.lock(key)).arg(token);
        command
    }

    async fn run(&self, command: Command) -> Result<bool, StoreError> {
        let answer = self.shared.route.ask(Ask::script(command), self.deadline()).await;
        Ok(self.number("EVAL", answer)? == 1)
    }
}

fn millis(lease: Duration) -> u64 {
    (lease.as_millis() as u64).max(1)
}
