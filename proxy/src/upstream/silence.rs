//! How long a member has said nothing in the middle of an answer.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::alarm::Alarm;

/// Notices when nothing has come for too long; costs nothing while bytes flow.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) max: Duration,
    since: Option<Instant>,
}

impl Silence {
    pub(super) fn new(max: Duration) -> Self {
        Self { max, since: None }
    }

    /// Ready when it has lasted too long. Begins with the first call.
    pub(super) fn poll(&mut self, alarm: &mut Option<Alarm>, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + self.max;
        alarm.get_or_insert_with(|| Alarm::new(end)).poll(end, cx)
    }

    /// Something came.
    pub(super) fn ended(&mut self) {
        self.since = None;
    }
}
