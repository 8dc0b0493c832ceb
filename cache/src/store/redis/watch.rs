//! Hearing of changes: the server tells each process what the others have written.
//!
//! ```text
//!     CLIENT TRACKING ON BCAST PREFIX shop:v:{ NOLOOP      once per connection, on the one that carries our writes
//!
//!     another process ── SET shop:v:{/shoes/7} ──► server ── >invalidate [shop:v:{/shoes/7}] ──► us
//! ```
//!
//! Broadcasting mode: the server remembers prefixes, not which client read what, so its memory does not grow with ours,
//! and a value that we write ourselves stays followed (the default mode forgets a key once it has been reported or written).
//! The price is a message for every write in the namespace, batched by the server. `NOLOOP` leaves out our own writes,
//! which is why all of them go over the tracked connection.
//!
//! Where the server knows no tracking, or a login may not use it, writers publish what they change on the channel
//! `shop:i`, and only writers that do so are heard. Where neither is allowed, [`Hearing::Nothing`] says so and nothing is
//! kept near.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use redis::{PushKind, Value};

use super::{command::Command, names::Names, wire::Wire};

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Key(&'a [u8]),
    Prefix(&'a [u8]),
    Everything,
}

/// Who wants to hear. Called from the connection's task: must be quick.
pub(crate) trait Listener: Send + Sync {
    fn changed(&self, change: Change<'_>);
}

/// How changes are heard, as of the last connection opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// No connection has been open yet.
    NotYet,
    /// The server tracks the namespace and tells of every change, whoever makes it.
    Tracking,
    /// Writers publish their changes; others are not heard of.
    Channel,
    /// The server allows neither: nothing is kept near.
    Nothing,
}

/// One namespace's ear on the server.
pub(super) struct Watch {
    names: Arc<Names>,
    listener: Arc<dyn Listener>,
    /// Sets our own messages on the channel apart.
    writer: [u8; 8],
    /// Never use tracking, for tests and for servers where it is a burden.
    only_channel: bool,
    hearing: AtomicU8,
}

impl Watch {
    pub(super) fn new(
        names: Arc<Names>,
        listener: Arc<dyn Listener>,
        writer: u64,
        only_channel: bool,
    ) -> Arc<Self> {
        let hearing = AtomicU8::new(0);
        Arc::new(Self { names, listener, writer: writer.to_be_bytes(), only_channel, hearing })
    }

    pub(super) fn hearing(&self) -> Hearing {
        match self.hearing.load(Relaxed) {
            1 => Hearing::Tracking,
            2 => Hearing::Channel,
            3 => Hearing::Nothing,
            _ => Hearing::NotYet,
        }
    }

    /// Starts to hear over a new connection; before it is used for anything else.
    pub(super) async fn begin(&self, wire: &Wire) -> Result<(), String> {
        let hearing = self.subscribe(wire).await?;
        // What changed while we were deaf was not heard.
        self.listener.changed(Change::Everything);
        self.hearing.store(hearing as u8, Relaxed);
        if hearing == Hearing::Nothing {
            tracing::warn!(
                "the cache server allows neither CLIENT TRACKING nor SUBSCRIBE: nothing is kept near"
            );
        }
        Ok(())
    }

    /// A connection is gone, or keys have moved: whatever is kept may be out of date.
    pub(super) fn lost(&self) {
        self.listener.changed(Change::Everything);
    }

    /// The command that tells the others of `change`, where the server does not do it by itself.
    pub(super) fn announcement(&self, change: Change<'_>) -> Option<Command> {
        if self.hearing() != Hearing::Channel {
            return None;
        }
        let (kind, bytes) = match change {
            Change::Key(key) => (b'k', key),
            Change::Prefix(prefix) => (b'p', prefix),
            Change::Everything => (b'p', &b""[..]),
        };
        let mut command = Command::new("PUBLISH");
        command.arg(self.names.channel()).arg([&self.writer, &[kind][..], bytes].concat());
        Some(command)
    }

    async fn subscribe(&self, wire: &Wire) -> Result<Hearing, String> {
        if !self.only_channel {
            let mut command = Command::new("CLIENT");
            command
                .arg("TRACKING")
                .arg("ON")
                .arg("BCAST")
                .arg("PREFIX")
                .arg(self.names.entry_prefix(b""))
                .arg("NOLOOP");
            if answer(wire, &command).await? == Value::Okay {
                return Ok(Hearing::Tracking);
            }
        }
        let mut command = Command::new("SUBSCRIBE");
        command.arg(self.names.channel());
        match answer(wire, &command).await? {
            Value::Push { kind: PushKind::Subscribe, .. } => Ok(Hearing::Channel),
            _ => Ok(Hearing::Nothing),
        }
    }

    /// What the server says unasked.
    pub(super) fn hear(&self, kind: &PushKind, said: &[Value]) {
        match (kind, said) {
            (PushKind::Invalidate, [Value::Array(names)]) => {
                for name in names {
                    let Value::BulkString(name) = name else { continue };
                    if let Some(key) = self.names.key_of_entry(name) {
                        self.listener.changed(Change::Key(&key));
                    }
                }
            }
            // The whole database was flushed.
            (PushKind::Invalidate, _) => self.listener.changed(Change::Everything),
            (PushKind::Message, [_, Value::BulkString(message)]) => self.hear_message(message),
            _ => {}
        }
    }

    fn hear_message(&self, message: &[u8]) {
        match message.split_at_checked(self.writer.len()) {
            Some((writer, _)) if writer == self.writer => {}
            Some((_, [b'k', key @ ..])) => self.listener.changed(Change::Key(key)),
            Some((_, [b'p', prefix @ ..])) => self.listener.changed(Change::Prefix(prefix)),
            // From a later version, or not from us at all.
            _ => self.listener.changed(Change::Everything),
        }
    }
}

async fn answer(wire: &Wire, command: &Command) -> Result<Value, String> {
    wire.send(command).await.map_err(|broken| broken.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Listener for Heard {
        fn changed(&self, change: Change<'_>) {
            self.0.lock().unwrap().push(format!("{change:?}"));
        }
    }

    fn heard(kind: &PushKind, said: &[Value]) -> Vec<String> {
        let listener = Arc::new(Heard::default());
        Watch::new(Arc::new(Names::new("n")), listener.clone(), 7, false).hear(kind, said);
        let heard = listener.0.lock().unwrap();
        heard.clone()
    }

    fn text(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    #[test]
    fn pushes_become_changes() {
        let push = |kind, said: Vec<Value>| heard(&kind, &said);
        let names = Value::Array(vec![text(b"n:v:{a}"), text(b"n:t:{t}"), text(b"n:v:{b^)}"), Value::Nil]);
        assert_eq!(push(PushKind::Invalidate, vec![names]), ["Key([97])", "Key([98, 125])"]);
        assert_eq!(push(PushKind::Invalidate, vec![Value::Nil]), ["Everything"]);
        assert_eq!(push(PushKind::Invalidate, vec![]), ["Everything"]);
        assert_eq!(push(PushKind::Other("news".into()), vec![text(b"x")]), Vec::<String>::new());
        let message = |message: &[u8]| push(PushKind::Message, vec![text(b"n:i"), text(message)]);
        assert_eq!(message(b"\0\0\0\0\0\0\0\x07ka"), Vec::<String>::new(), "our own");
        assert_eq!(message(b"\0\0\0\0\0\0\0\x08ka"), ["Key([97])"]);
        assert_eq!(message(b"\0\0\0\0\0\0\0\x08pa"), ["Prefix([97])"]);
        assert_eq!(message(b"\0\0\0\0\0\0\0\x08?a"), ["Everything"]);
        assert_eq!(message(b"short"), ["Everything"]);
    }
}
