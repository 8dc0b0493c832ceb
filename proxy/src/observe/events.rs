//! What went wrong lately, and what was changed: the last hundred, repeated ones counted.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

/// One thing that happened, as often as it did in a row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Event {
    /// Seconds since 1970, of the last time.
    pub(crate) at: u64,
    pub(crate) kind: EventKind,
    pub(crate) text: String,
    pub(crate) times: u64,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventKind {
    /// A request could not be answered, or a member is out of service.
    Error,
    /// A member is back.
    Health,
    /// The configuration was replaced, or was not.
    Reload,
    /// Somebody asked for something through the admin API.
    Admin,
}

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    recent: Mutex<VecDeque<Event>>,
}

impl Events {
    /// Something happened that must be seen.
    pub(crate) fn tell(&self, now: SystemTime, kind: EventKind, text: impl Into<String>) {
        push(&mut self.recent.lock(), now, kind, text.into());
    }

    /// A request failed. Under a flood of failures some are not noted: nobody waits for a lock here.
    pub(crate) fn note(&self, now: SystemTime, text: impl FnOnce() -> String) {
        if let Some(mut recent) = self.recent.try_lock() {
            push(&mut recent, now, EventKind::Error, text());
        }
    }

    /// Newest first, by the last time of each.
    pub(crate) fn latest(&self) -> Vec<Event> {
        let mut latest: Vec<Event> = self.recent.lock().iter().rev().cloned().collect();
        latest.sort_by_key(|event| Reverse(event.at));
        latest
    }
}

fn push(recent: &mut VecDeque<Event>, now: SystemTime, kind: EventKind, mut text: String) {
    let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // One flood must not wash everything else away: a text that stands among the last few is counted there.
    let known =
        recent.iter_mut().rev().take(LOOKED_AT).find(|event| event.kind == kind && event.text == text);
    if let Some(event) = known {
        event.times += 1;
        event.at = at;
        return;
    }
    if text.len() > TEXT_LEN_MAX {
        let end = (0..=TEXT_LEN_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    recent.push_back(Event { at, kind, text, times: 1 });
    if recent.len() > EVENTS_MAX {
        recent.pop_front();
    }
}

const EVENTS_MAX: usize = 100;
/// Different errors that may take turns and still be counted.
const LOOKED_AT: usize = 16;
const TEXT_LEN_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn repeated_events_are_counted_and_old_ones_leave() {
        let events = Events::default();
        events.tell(UNIX_EPOCH, EventKind::Reload, "fine");
        for _ in 0..1000 {
            events.note(UNIX_EPOCH, || "a: refused".to_owned());
            events.note(UNIX_EPOCH, || "b: refused".to_owned());
        }
        let latest = events.latest();
        assert_eq!(latest.len(), 3, "a flood takes no more room than its kinds");
        assert_eq!((latest[0].text.as_str(), latest[0].times), ("b: refused", 1000));
        events.note(UNIX_EPOCH + Duration::from_secs(1), || "a: refused".to_owned());
        assert_eq!(events.latest()[0].text, "a: refused", "it happened last");
        for n in 0..EVENTS_MAX {
            events.tell(UNIX_EPOCH, EventKind::Admin, format!("{n} {}", "ü".repeat(1000)));
        }
        let latest = events.latest();
        assert_eq!(latest.len(), EVENTS_MAX);
        assert!(
            latest.iter().all(|event| event.kind == EventKind::Admin && event.text.len() <= TEXT_LEN_MAX)
        );
    }
}
