//! Whether a client of HTTP/2 takes what there is for it.
//!
//! There a client says how much it will take (WINDOW_UPDATE, RFC 9113 §5.2). One that says nothing more makes no write
//! wait: hyper only does not ask the answer's body for its next piece, and nobody's timer is looked at. So the bodies
//! tell here when they are asked, and one look at a time sees who was forgotten:
//!
//! ```text
//!   answers under way, none waits for its member, none was asked    for write_timeout      → the connection ends
//!   an answer is older than request_timeout, and another write_timeout                     → the connection ends
//! ```
//!
//! Cost: a lock without contention for each piece of an answer, and a timer a connection.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// What is known of the answers of one connection.
#[derive(Debug, Default)]
pub(super) struct Uptake {
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// When those under way began, the oldest first.
    began: BTreeMap<u64, Instant>,
    next: u64,
    /// How many of them wait for their member.
    starved: usize,
    /// How often one was asked for its next piece.
    asked: u64,
}

impl Uptake {
    /// Follows the body of an answer.
    pub(super) fn follow<B>(self: &Arc<Self>, body: B) -> Taken<B> {
        let mut answers = self.answers.lock();
        let number = answers.next;
        answers.next += 1;
        answers.began.insert(number, Instant::now());
        Taken { body, number, is_starved: false, uptake: Arc::clone(self) }
    }

    /// Ends when the client has taken nothing for `silence_max`, or not all of an answer in `total_max` and as long again.
    pub(super) async fn refused(&self, silence_max: Duration, total_max: Duration) {
        let look = silence_max / LOOKS;
        let (mut asked, mut silent) = (0, Duration::ZERO);
        loop {
            sleep(look).await;
            let answers = self.answers.lock();
            let Some((_, oldest)) = answers.began.first_key_value() else {
                silent = Duration::ZERO;
                continue;
            };
            if answers.starved > 0 || answers.asked != asked {
                (asked, silent) = (answers.asked, Duration::ZERO);
            } else {
                silent += look;
            }
            if silent >= silence_max || oldest.elapsed() > total_max + silence_max {
                return;
            }
        }
    }
}

/// A body that tells when it is asked.
#[derive(Debug)]
pub(super) struct Taken<B> {
    body: B,
    number: u64,
    is_starved: bool,
    uptake: Arc<Uptake>,
}

impl<B: Body + Unpin> Body for Taken<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let was_starved = std::mem::replace(&mut this.is_starved, polled.is_pending());
        let mut answers = this.uptake.answers.lock();
        answers.asked += 1;
        answers.starved = answers.starved + usize::from(this.is_starved) - usize::from(was_starved);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Taken<B> {
    fn drop(&mut self) {
        let mut answers = self.uptake.answers.lock();
        answers.began.remove(&self.number);
        answers.starved -= usize::from(self.is_starved);
    }
}

/// How often it is looked within the time that a client may take nothing.
const LOOKS: u32 = 4;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use http_body_util::{Empty, Full};
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Whether `uptake` is refused within three seconds, where one of silence is allowed.
    async fn is_refused(uptake: &Uptake, total_max: Duration) -> bool {
        timeout(3 * SECOND, uptake.refused(SECOND, total_max)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_asks_for_is_refused() {
        let uptake = Arc::new(Uptake::default());
        assert!(!is_refused(&uptake, HOUR).await, "nothing is under way");
        let forgotten = uptake.follow(Full::new(Bytes::from_static(b"x")));
        assert!(is_refused(&uptake, HOUR).await);
        drop(forgotten);
        assert!(!is_refused(&uptake, HOUR).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_member_refuses_nothing_until_all_time_is_over() {
        let uptake = Arc::new(Uptake::default());
        let (waiting, forgotten) = (Never, Empty::<Bytes>::new());
        let (mut waiting, forgotten) = (uptake.follow(waiting), uptake.follow(forgotten));
        poll_fn(|cx| Poll::Ready(Pin::new(&mut waiting).poll_frame(cx).is_pending())).await;
        assert!(!is_refused(&uptake, HOUR).await);
        assert!(is_refused(&uptake, SECOND).await, "but not for ever");
        drop((waiting, forgotten));
        assert_eq!(uptake.answers.lock().starved, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_now_and_then_takes_something() {
        let uptake = Arc::new(Uptake::default());
        let mut slow = uptake.follow(Full::new(Bytes::from_static(b"x")));
        let asks = async {
            for _ in 0..8 {
                sleep(SECOND / 2).await;
                poll_fn(|cx| Pin::new(&mut slow).poll_frame(cx)).await;
            }
        };
        tokio::select! {
            () = uptake.refused(SECOND, HOUR) => panic!("it was asked twice a second"),
            () = asks => {}
        }
    }

    /// A member that says nothing.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }
}
