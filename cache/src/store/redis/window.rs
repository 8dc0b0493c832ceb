//! How much to ask for at a time: no more replies than the server can hold at hand.
//!
//! A server builds the replies to all that it has read, and each lies in its memory until it is sent. Of a hundred bytes
//! thousands may lie there. Of a megabyte 256 make it slower, as they fit no cache of its processor, and cost it a quarter
//! of a gigabyte, for which it may throw out entries (they count towards `maxmemory`). So while replies are long, only as
//! many requests are under way as have [`HELD_MAX`] bytes of replies, but always [`LEAST`]; the others wait here. It costs them
//! nothing: replies come in order, one after the other.
//!
//! How long the next replies will be is taken from the last.

use redis::Value;

/// How long replies are.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// An average in which each reply weighs a quarter of what is left.
    reply_len: usize,
}

impl Window {
    /// A reply has come.
    pub(super) fn note(&mut self, reply: &Value) {
        let len = if let Value::BulkString(string) = reply { string.len() } else { 0 };
        self.reply_len = self.reply_len - self.reply_len / 4 + len / 4;
    }

    /// Whether another request may join `under_way`.
    pub(super) fn has_room(&self, under_way: usize) -> bool {
        under_way < LEAST || under_way.saturating_mul(self.reply_len) < HELD_MAX
    }
}

/// Bytes of replies to have the server hold.
const HELD_MAX: usize = 4 << 20;
/// Requests that may always be under way: one to be answered while another's reply travels.
const LEAST: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lens: impl IntoIterator<Item = usize>) -> Window {
        let mut window = Window::default();
        lens.into_iter().for_each(|len| window.note(&Value::BulkString(vec![0; len])));
        window
    }

    fn room(window: &Window) -> usize {
        (0..).find(|under_way| !window.has_room(*under_way)).expect("it ends while replies have a length")
    }

    #[test]
    fn long_replies_leave_room_for_few_and_short_ones_for_all() {
        assert!(Window::default().has_room(usize::MAX));
        assert_eq!(room(&after([1 << 20; 100])), 4);
        assert_eq!(room(&after([10_000; 100])), 420);
        assert!(room(&after([100; 100])) > 40_000);
        assert_eq!(room(&after([100 << 20; 9])), LEAST);
    }

    #[test]
    fn the_last_replies_decide() {
        let mut window = after([1 << 20; 9]);
        for _ in 0..99 {
            window.note(&Value::Okay);
        }
        assert!(window.has_room(1_000_000));
        assert!(room(&after([100, 100, 1 << 20, 1 << 20])) < 12);
    }
}
