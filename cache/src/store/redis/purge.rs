//! Forgetting many keys without ever making the server stand still.
//!
//! ```text
//!     SCAN cursor MATCH shop:v:{/shoes/* COUNT 512  ──►  UNLINK × n  ──►  next cursor …      each step a few hundred µs
//! ```
//!
//! `SCAN` promises every key that is there from its start to its end; keys written meanwhile may be met or not. A purge
//! walks the whole server's keys, those of other namespaces too: O(keys on the server), in small steps. A tag knows its
//! keys: O(keys with that tag).

use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    client::Redis,
    command::Command,
    commands::unlink_ask,
    names::pattern,
    node::{Node, Request},
    route::{Ask, accepted, unexpected},
    watch::Change,
};
use crate::store::StoreError;

impl Redis {
    /// Forgets all entries whose keys start with `prefix`.
    pub(in crate::store) async fn purge_prefix(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        self.check_key(prefix)?;
        self.within_purge_timeout(self.scan_away(self.names.entry_prefix(prefix)), Change::Prefix(prefix))
            .await
    }

    /// Forgets entries, tags and locks of the namespace; the entries are counted.
    pub(in crate::store) async fn purge_everything(&self) -> Result<u64, StoreError> {
        self.within_purge_timeout(self.scan_away(self.names.everything()), Change::Everything).await
    }

    /// Forgets all entries noted under `tag`.
    pub(in crate::store) async fn purge_tag(&self, tag: &str) -> Result<u64, StoreError> {
        self.within_purge_timeout(self.tag_away(self.names.tag(tag)), Change::Everything).await
    }

    async fn within_purge_timeout(
        &self,
        purge: impl Future<Output = Result<u64, StoreError>>,
        change: Change<'_>,
    ) -> Result<u64, StoreError> {
        let limit = self.shared.config.purge_timeout;
        let server = self.shared.server.clone();
        let deadline = Instant::now() + limit;
        let forgotten =
            timeout_at(deadline, purge).await.unwrap_or(Err(StoreError::TimedOut { server, limit }));
        // Also after a purge that got half way.
        self.announce(change).await?;
        forgotten
    }

    async fn scan_away(&self, prefix: Vec<u8>) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for node in self.shared.route.masters(self.deadline()).await? {
            let mut cursor = b"0".to_vec();
            loop {
                let (next, names) = self.scan(&node, &cursor, &prefix).await?;
                deleted += self.unlink(names).await?;
                if next == b"0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(deleted)
    }

    /// One step: the next cursor, and the names found.
    async fn scan(
        &self,
        node: &Node,
        cursor: &[u8],
        prefix: &[u8],
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), StoreError> {
        let mut command = Command::new("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern(prefix)).arg("COUNT").arg(STEP);
        let server = &node.state.server;
        let answer = node
            .send(&Request::One(&command), true, self.deadline())
            .await
            .and_then(|value| accepted(server, value));
        let answer = match self.counted(answer)? {
            Value::Array(answer) => answer,
            other => return Err(unexpected(server, "SCAN", &other)),
        };
        match <[Value; 2]>::try_from(answer) {
            Ok([Value::BulkString(next), Value::Array(names)]) => {
                let mut names = strings(names);
                // The pattern says the same, in the server's language; this is ours.
                names.retain(|name| name.starts_with(prefix));
                Ok((next, names))
            }
            _ => Err(unexpected(server, "SCAN", &Value::Array(Vec::new()))),
        }
    }

    /// Unlinks `names`; how many of them were entries.
    async fn unlink(&self, names: Vec<Vec<u8>>) -> Result<u64, StoreError> {
        let are_entries: Vec<bool> =
            names.iter().map(|name| self.names.key_of_entry(name).is_some()).collect();
        let asks = names.iter().map(|name| unlink_ask(name)).collect();
        let mut deleted = 0;
        for (answer, is_entry) in
            self.shared.route.ask_each(asks, self.deadline()).await.into_iter().zip(are_entries)
        {
            let count = self.number("UNLINK", answer)?;
            if is_entry {
                deleted += count as u64;
            }
        }
        Ok(deleted)
    }

    async fn tag_away(&self, set: Vec<u8>) -> Result<u64, StoreError> {
        let mut deleted = 0;
        let mut count = Command::new("ZCARD");
        count.arg(&set);
        let answer = self.shared.route.ask(Ask::repeatable(count), self.deadline()).await;
        // Those put with this tag while we work may stay: the purge would never end under steady writing.
        let mut left = self.number("ZCARD", answer)?;
        while left > 0 {
            let mut range = Command::new("ZRANGE");
            range.arg(&set).arg(0).arg(STEP - 1);
            let answer = self.shared.route.ask(Ask::repeatable(range), self.deadline()).await;
            let keys = match self.counted(answer)? {
                Value::Array(keys) => strings(keys),
                other => return Err(unexpected(&self.shared.server, "ZRANGE", &other)),
            };
            if keys.is_empty() {
                break;
            }
            left -= keys.len() as i64;
            deleted += self.unlink(keys.iter().map(|key| self.names.entry(key)).collect()).await?;
            let mut remove = Command::new("ZREM");
            remove.arg(&set).arg(&keys);
            let answer = self.shared.route.ask(Ask::repeatable(remove), self.deadline()).await;
            self.number("ZREM", answer)?;
        }
        Ok(deleted)
    }
}

fn strings(values: Vec<Value>) -> Vec<Vec<u8>> {
    let string = |value| match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    values.into_iter().filter_map(string).collect()
}

/// Keys looked at, or unlinked, in one step.
const STEP: usize = 512;
