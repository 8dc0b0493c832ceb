//! An id for each request: the client's own if it can be trusted to stay one word, else a new one.
//!
//! It is passed on to the member, returned to the client, and stands in the access log: so one request can be
//! followed through many programs.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

/// The field.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request with `headers`; afterwards it stands there once.
///
/// It is marked as one that HTTP/2 does not index: no two are alike, and each would push something out of the table of
/// fields that is (there, one request in ten instructions went into comparing ids).
pub(crate) fn settle(headers: &mut HeaderMap) -> HeaderValue {
    let make = || SOURCE.with_borrow_mut(Source::make);
    match headers.entry(REQUEST_ID) {
        Entry::Vacant(place) => {
            let id = make();
            place.insert(id.clone());
            id
        }
        Entry::Occupied(mut place) => {
            let mut given = place.iter_mut();
            if let (Some(id), None) = (given.next(), given.next())
                && is_word(id.as_bytes())
            {
                id.set_sensitive(true);
                return id.clone();
            }
            let id = make();
            place.insert(id.clone());
            id
        }
    }
}

/// Where the ids of a thread come from.
#[derive(Default)]
struct Source {
    random: RandomState,
    made: u64,
    /// Ids are parts of blocks: each of its own would be two allocations, the second for being held twice.
    block: BytesMut,
}

impl Source {
    /// 128 bits that nobody guesses and nobody else makes.
    fn make(&mut self) -> HeaderValue {
        let halves = [self.made, self.made + 1].map(|number| self.random.hash_one(number));
        self.made += 2;
        if self.block.capacity() < ID_LEN {
            self.block = BytesMut::with_capacity(BLOCK_IDS * ID_LEN);
        }
        for half in halves {
            self.block.extend_from_slice(&hexadecimal(half));
        }
        let id = HeaderValue::from_maybe_shared(self.block.split().freeze());
        let mut id = id.expect("hexadecimal digits are allowed in a field");
        id.set_sensitive(true);
        id
    }
}

/// Sixteen digits at once, the lowest first.
fn hexadecimal(number: u64) -> [u8; 16] {
    let every = |byte: u8| u128::from_le_bytes([byte; 16]);
    let mut nibbles = u128::from(number);
    for (shift, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, every(15)),
    ] {
        nibbles = (nibbles | nibbles << shift) & mask;
    }
    let letters = (nibbles + every(6)) >> 4 & every(1);
    (nibbles + every(b'0') + letters * u128::from(b'a' - b'9' - 1)).to_le_bytes()
}

fn is_word(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(byte);
    (1..=ID_LEN_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

thread_local! {
    static SOURCE: RefCell<Source> = RefCell::default();
}

const ID_LEN: usize = 32;
/// One id that is still held holds as many.
const BLOCK_IDS: usize = 32;
/// Of a client's own.
const ID_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_clients_id_is_kept_if_it_is_one_word() {
        for id in ["a", "7f3c-11", "Root=1-67891233-abcdef012345678912345678"] {
            let mut headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))]);
            let settled = settle(&mut headers);
            assert_eq!(settled, id);
            assert!(settled.is_sensitive() && headers[REQUEST_ID].is_sensitive(), "not indexed by HTTP/2");
        }
    }

    #[test]
    fn what_could_confuse_a_log_is_replaced() {
        let long = "a".repeat(ID_LEN_MAX + 1);
        for id in ["", "a b", "a\"b", "a,b", "é", &long] {
            let mut headers =
                HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap())]);
            let made = settle(&mut headers);
            assert_eq!(made.len(), 32, "{id}");
            assert!(made.is_sensitive(), "not indexed by HTTP/2");
            assert_eq!(headers.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&made]);
        }
        let mut twice = HeaderMap::new();
        twice.append(REQUEST_ID, HeaderValue::from_static("a"));
        twice.append(REQUEST_ID, HeaderValue::from_static("b"));
        let made = settle(&mut twice);
        assert_eq!(twice.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&made]);
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0x9a9a_9a9a_9a9a_9a9a, u64::MAX] {
            let digits: String = hexadecimal(number).into_iter().rev().map(char::from).collect();
            assert_eq!(digits, format!("{number:016x}"));
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let made: HashSet<HeaderValue> = (0..10_000).map(|_| settle(&mut HeaderMap::new())).collect();
        assert_eq!(made.len(), 10_000);
    }
}
