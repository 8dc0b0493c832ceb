//! An id for each request: the client's own if it can be trusted to stay one word, else a new one.
//!
//! It is passed on to the member, returned to the client, and stands in the access log: so one request can be
//! followed through many programs.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request with `headers`; afterwards it stands there once.
pub(crate) fn settle(headers: &mut HeaderMap) -> HeaderValue {
    if !headers.contains_key(REQUEST_ID) {
        let id = make();
        headers.insert(REQUEST_ID, id.clone());
        return id;
    }
    let mut given = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (given.next(), given.next())
        && is_word(id.as_bytes())
    {
        return id.clone();
    }
    let id = make();
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// 128 bits that nobody guesses and nobody else makes.
fn make() -> HeaderValue {
    let (one, two) = SOURCE.with(|(random, count)| {
        let number = count.get();
        count.set(number.wrapping_add(2));
        (random.hash_one(number), random.hash_one(number + 1))
    });
    let mut text = [0; 32];
    for (letters, half) in text.chunks_exact_mut(16).zip([one, two]) {
        for (pair, byte) in letters.chunks_exact_mut(2).zip(half.to_le_bytes()) {
            pair.copy_from_slice(&[HEX[usize::from(byte & 15)], HEX[usize::from(byte >> 4)]]);
        }
    }
    HeaderValue::from_bytes(&text).expect("hexadecimal digits are allowed in a field")
}

fn is_word(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(byte);
    (1..=ID_LEN_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

thread_local! {
    /// Random keys of this thread, and how many ids it made.
    static SOURCE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const ID_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_clients_id_is_kept_if_it_is_one_word() {
        for id in ["a", "7f3c-11", "Root=1-67891233-abcdef012345678912345678"] {
            let mut headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))]);
            assert_eq!(settle(&mut headers), id);
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
            assert_eq!(headers.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&made]);
        }
        let mut twice = HeaderMap::new();
        twice.append(REQUEST_ID, HeaderValue::from_static("a"));
        twice.append(REQUEST_ID, HeaderValue::from_static("b"));
        let made = settle(&mut twice);
        assert_eq!(twice.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&made]);
    }

    #[test]
    fn ids_do_not_repeat() {
        let made: HashSet<HeaderValue> = (0..10_000).map(|_| settle(&mut HeaderMap::new())).collect();
        assert_eq!(made.len(), 10_000);
    }
}
