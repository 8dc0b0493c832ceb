//! Doubly linked lists by index: the order of entries, without pointers.
//!
//! All lists of one policy share one column of links; a slot is in at most one list at a time.
//!
//! ```text
//!     slot     0      1      2      3
//!     links  [2,NIL][NIL,2][1,0]  [ - ]        list { head: 1, tail: 0, len: 3 }  =  1 → 2 → 0
//! ```
//!
//! Every operation is O(1); 8 bytes a slot.

/// No slot.
pub(crate) const NIL: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    /// Towards the head.
    prev: u32,
    /// Towards the tail.
    next: u32,
}

/// One list: the head is the newest end, the tail the next to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) len: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL, len: 0 };
}

/// The links of all slots.
#[derive(Debug, Default)]
pub(crate) struct Links {
    column: Vec<Link>,
}

impl Links {
    /// Makes room for `slots` slots in all, and no more.
    pub(crate) fn reserve(&mut self, slots: usize) {
        self.column.reserve_exact(slots.saturating_sub(self.column.len()));
    }

    /// Makes `slot` known; it must be a known slot or the next one.
    #[inline]
    pub(crate) fn open(&mut self, slot: u32) {
        if slot as usize == self.column.len() {
            self.column.push(Link { prev: NIL, next: NIL });
        }
    }

    #[inline(always)]
    pub(crate) fn push_head(&mut self, list: &mut List, slot: u32) {
        self.column[slot as usize] = Link { prev: NIL, next: list.head };
        match list.head {
            NIL => list.tail = slot,
            head => self.column[head as usize].prev = slot,
        }
        list.head = slot;
        list.len += 1;
    }

    #[inline(always)]
    pub(crate) fn unlink(&mut self, list: &mut List, slot: u32) {
        let Link { prev, next } = self.column[slot as usize];
        match prev {
            NIL => list.head = next,
            prev => self.column[prev as usize].next = next,
        }
        match next {
            NIL => list.tail = prev,
            next => self.column[next as usize].prev = prev,
        }
        list.len -= 1;
    }

    /// As `unlink` and `push_head`, which a list that has a head other than `slot` can do in fewer steps.
    #[inline]
    pub(crate) fn move_to_head(&mut self, list: &mut List, slot: u32) {
        let head = list.head;
        if head == slot {
            return;
        }
        let Link { prev, next } = self.column[slot as usize];
        self.column[prev as usize].next = next;
        match next {
            NIL => list.tail = prev,
            next => self.column[next as usize].prev = prev,
        }
        self.column[head as usize].prev = slot;
        self.column[slot as usize] = Link { prev: NIL, next: head };
        list.head = slot;
    }

    /// Puts a whole list before the head of another; its members are that one's from now on.
    pub(crate) fn push_all(&mut self, list: &mut List, front: List) {
        if front.len == 0 {
            return;
        }
        match list.head {
            NIL => list.tail = front.tail,
            head => {
                self.column[head as usize].prev = front.tail;
                self.column[front.tail as usize].next = head;
            }
        }
        list.head = front.head;
        list.len += front.len;
    }

    /// The neighbour towards the tail.
    pub(crate) fn older(&self, slot: u32) -> u32 {
        self.column[slot as usize].next
    }

    /// The neighbour towards the head.
    pub(crate) fn newer(&self, slot: u32) -> u32 {
        self.column[slot as usize].prev
    }

    /// The slot to leave next, passing over `keep`.
    #[inline]
    pub(crate) fn tail_except(&self, list: &List, keep: u32) -> u32 {
        if list.tail != NIL && list.tail == keep { self.newer(keep) } else { list.tail }
    }

    /// The entry of slot `from`, a member of `list`, now lives in slot `to`, which is in no list.
    pub(crate) fn renumber(&mut self, list: &mut List, from: u32, to: u32) {
        let link = self.column[from as usize];
        self.column[to as usize] = link;
        match link.prev {
            NIL => list.head = to,
            prev => self.column[prev as usize].next = to,
        }
        match link.next {
            NIL => list.tail = to,
            next => self.column[next as usize].prev = to,
        }
    }

    /// Forgets the last slot, which is in no list.
    pub(crate) fn pop(&mut self) {
        self.column.pop();
    }

    pub(crate) fn len(&self) -> usize {
        self.column.len()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.column.capacity() * size_of::<Link>()
    }

    /// The members from head to tail; panics if the links do not agree with one another.
    pub(crate) fn validate(&self, list: &List) -> Vec<u32> {
        let (mut members, mut prev, mut at) = (Vec::new(), NIL, list.head);
        while at != NIL {
            assert!(members.len() < self.column.len(), "a list has a loop");
            assert_eq!(self.column[at as usize].prev, prev, "slot {at} points back to the wrong neighbour");
            members.push(at);
            prev = at;
            at = self.column[at as usize].next;
        }
        assert_eq!((list.tail, list.len as usize), (prev, members.len()), "a list's tail or length is wrong");
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_moves_and_renumbering() {
        let (mut links, mut list) = (Links::default(), List::EMPTY);
        for slot in 0..4 {
            links.open(slot);
            links.push_head(&mut list, slot);
        }
        assert_eq!(links.validate(&list), [3, 2, 1, 0]);
        links.move_to_head(&mut list, 0);
        links.unlink(&mut list, 2);
        assert_eq!(links.validate(&list), [0, 3, 1]);
        links.renumber(&mut list, 3, 2);
        links.pop();
        assert_eq!(links.validate(&list), [0, 2, 1]);
        assert_eq!(links.tail_except(&list, 1), 2);
        assert_eq!(links.tail_except(&list, 0), 1);
    }
}
