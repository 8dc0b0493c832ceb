//! How long a member has said nothing in the middle of an answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Notices when nothing has come for too long; costs nothing while bytes flow.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) max: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub(super) fn new(max: Duration) -> Self {
        Self { max, timer: None }
    }

    /// Ready when it has lasted too long. Begins with the first call.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let max = self.max;
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + max))).as_mut().poll(cx)
    }

    /// Something came.
    pub(super) fn ended(&mut self) {
        self.timer = None;
    }
}
