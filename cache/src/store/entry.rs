//! One value as it lies in Redis: never taken for a value unless every byte of the story fits.
//!
//! Keys in a shared server are written by other versions, other programs and, on a bad day, by a connection whose
//! replies have slipped by one. So a value travels in an envelope that says what it is and whose it is:
//!
//! ```text
//!      0        3       4            8              16             24             32             40
//!     ┌────────┬───────┬────────────┬──────────────┬──────────────┬──────────────┬──────────────┬─────────┐
//!     │ "evn"  │version│ key length │ value length │ expiry, ms   │ xxh3 of the  │ xxh3 of the  │ value   │
//!     │        │  = 1  │ u32        │ u64          │ since 1970   │ key          │ value, seeded│ …       │
//!     └────────┴───────┴────────────┴──────────────┴──────────────┴──────────────┴─with the key─┴─────────┘
//!       all numbers little-endian
//! ```
//!
//! Anything odd is a miss with a name ([`Oddity`]): the caller counts it and writes over it. The expiry is the
//! writer's; the server's own time to live decides first, and the field only matters when that was lost (`PERSIST`, a
//! restored dump). It lies outside the checksum, so that `touch` can move it on the server: a damaged one can end an
//! entry early or leave the end to the server, it cannot make a wrong value.
//!
//! Cost: 40 bytes an entry and one pass over the value. The checksum finds damage and mix-ups, not forgery: who can
//! write to the server can write entries.

use bytes::{BufMut, Bytes};
use twox_hash::XxHash3_64;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before the value.
pub(super) const HEADER_LEN: usize = 40;

/// Where the expiry lies: `touch` writes it on the server.
#[cfg(test)]
const EXPIRY_AT: usize = 16;

const MAGIC: [u8; 3] = *b"evn";
const VERSION: u8 = 1;

/// Why stored bytes are no value for the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// Shorter than a header, or than the header says.
    Short,
    /// Longer than the header says.
    Long,
    /// Not written by this library.
    Foreign,
    /// Written by another version of it.
    OtherVersion,
    /// An entry of another key: the connection's replies have slipped, or somebody renamed keys.
    OtherKey,
    /// The checksum does not fit the value.
    Corrupt,
    /// A key that holds no string.
    WrongType,
}

impl Oddity {
    /// Every kind, in the order in which statistics list them.
    pub const ALL: [Self; 7] = [
        Self::Short,
        Self::Long,
        Self::Foreign,
        Self::OtherVersion,
        Self::OtherKey,
        Self::Corrupt,
        Self::WrongType,
    ];

    /// The kind in a word, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
            Self::Foreign => "foreign",
            Self::OtherVersion => "other_version",
            Self::OtherKey => "other_key",
            Self::Corrupt => "corrupt",
            Self::WrongType => "wrong_type",
        }
    }
}

/// A stored value that fits its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Bytes,
    /// Milliseconds since 1970.
    pub(super) expires_at_ms: u64,
}

/// Writes the header for `value` under `key`; the value's own bytes follow it.
pub(super) fn header(key: &[u8], value: &[u8], expires_at_ms: u64) -> [u8; HEADER_LEN] {
    let key_hash = xxh3_64(key);
    let mut header = [0; HEADER_LEN];
    let mut rest = &mut header[..];
    rest.put_slice(&MAGIC);
    rest.put_u8(VERSION);
    // Keys are far shorter than 4 GiB (`RedisConfig::max_key_bytes`); the hash tells the rest.
    rest.put_u32_le(key.len() as u32);
    rest.put_u64_le(value.len() as u64);
    rest.put_u64_le(expires_at_ms);
    rest.put_u64_le(key_hash);
    rest.put_u64_le(value_hash(value, key_hash));
    header
}

/// The value in `stored`, without copying it; or what is odd about it. Expired entries are `Ok`: the caller decides.
pub(super) fn open(key: &[u8], stored: &Bytes) -> Result<Entry, Oddity> {
    let head = Head::read(key, stored)?;
    let value = stored.slice(HEADER_LEN..);
    match (value.len() as u64).cmp(&head.value_len) {
        std::cmp::Ordering::Less => return Err(Oddity::Short),
        std::cmp::Ordering::Greater => return Err(Oddity::Long),
        std::cmp::Ordering::Equal => {}
    }
    if value_hash(&value, head.key_hash) != head.checksum {
        return Err(Oddity::Corrupt);
    }
    Ok(Entry { value, expires_at_ms: head.expires_at_ms })
}

/// What is odd about the first bytes of an entry of `key`, for those who do not want to fetch the value.
pub(super) fn check_head(key: &[u8], stored: &[u8]) -> Result<(), Oddity> {
    Head::read(key, stored).map(|_| ())
}

struct Head {
    value_len: u64,
    expires_at_ms: u64,
    key_hash: u64,
    checksum: u64,
}

impl Head {
    fn read(key: &[u8], stored: &[u8]) -> Result<Self, Oddity> {
        let Some((head, _)) = stored.split_at_checked(HEADER_LEN) else {
            let is_ours = stored.starts_with(&MAGIC);
            return Err(if is_ours { Oddity::Short } else { Oddity::Foreign });
        };
        if head[..3] != MAGIC {
            return Err(Oddity::Foreign);
        }
        if head[3] != VERSION {
            return Err(Oddity::OtherVersion);
        }
        let u64_at = |at: usize| {
            u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes inside a 40-byte header"))
        };
        let key_len = u32::from_le_bytes(head[4..8].try_into().expect("four bytes inside a 40-byte header"));
        let head = Self {
            value_len: u64_at(8),
            expires_at_ms: u64_at(16),
            key_hash: u64_at(24),
            checksum: u64_at(32),
        };
        if key_len != key.len() as u32 || head.key_hash != xxh3_64(key) {
            return Err(Oddity::OtherKey);
        }
        Ok(head)
    }
}

/// xxh3 of a value: a megabyte at times, so by the hasher that looks for AVX2 when it runs. Keys are short.
fn value_hash(value: &[u8], key_hash: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(key_hash, value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::*;

    fn sealed(key: &[u8], value: &[u8], expires_at_ms: u64) -> Vec<u8> {
        let mut bytes = header(key, value, expires_at_ms).to_vec();
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn layout_is_frozen() {
        // Two versions of this library share servers: these bytes change only together with VERSION.
        let bytes = sealed(b"key", b"value", 0x0102_0304_0506_0708);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            format!(
                "65766e01{}{}{}{:016x}{:016x}76616c7565",
                "03000000",
                "0500000000000000",
                "0807060504030201",
                xxh3_64(b"key").swap_bytes(),
                xxh3_64_with_seed(b"value", xxh3_64(b"key")).swap_bytes()
            )
        );
        assert_eq!(xxh3_64(b"key"), 0xBBEA_0D63_A051_65E3, "as the reference implementation in C has it");
        assert_eq!(bytes[EXPIRY_AT..EXPIRY_AT + 8], 0x0102_0304_0506_0708_u64.to_le_bytes());
    }

    #[test]
    fn each_kind_of_damage_has_its_name() {
        let good = sealed(b"key", b"value", 9);
        let open = |bytes: &[u8]| open(b"key", &Bytes::copy_from_slice(bytes)).unwrap_err();
        let edited = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        assert_eq!(open(b""), Oddity::Foreign);
        assert_eq!(open(b"a plain string that somebody else put under our key"), Oddity::Foreign);
        assert_eq!(open(&good[..HEADER_LEN - 1]), Oddity::Short);
        assert_eq!(open(&good[..good.len() - 1]), Oddity::Short);
        assert_eq!(open(&[&good[..], b"!"].concat()), Oddity::Long);
        assert_eq!(open(&edited(3)), Oddity::OtherVersion);
        assert_eq!(open(&sealed(b"kez", b"value", 9)), Oddity::OtherKey);
        assert_eq!(open(&sealed(b"", b"value", 9)), Oddity::OtherKey);
        assert_eq!(open(&edited(HEADER_LEN)), Oddity::Corrupt);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(key: Vec<u8>, value: Vec<u8>, expires_at_ms: u64) {
            let entry = open(&key, &sealed(&key, &value, expires_at_ms).into());
            prop_assert_eq!(entry, Ok(Entry { value: value.into(), expires_at_ms }));
        }

        #[test]
        fn one_flipped_bit_never_makes_another_value(key: Vec<u8>, value: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
            let mut bytes = sealed(&key, &value, 7);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            match open(&key, &bytes.into()) {
                Ok(entry) => {
                    prop_assert!((EXPIRY_AT..EXPIRY_AT + 8).contains(&at), "byte {at} was not noticed");
                    prop_assert_eq!(entry.value, value);
                }
                Err(_) => prop_assert!(!(EXPIRY_AT..EXPIRY_AT + 8).contains(&at)),
            }
        }

        #[test]
        fn an_entry_never_opens_under_another_key(key: Vec<u8>, other: Vec<u8>, value: Vec<u8>) {
            prop_assume!(key != other);
            prop_assert_eq!(open(&other, &sealed(&key, &value, 7).into()), Err(Oddity::OtherKey));
        }

        #[test]
        fn no_bytes_panic(key: Vec<u8>, stored: Vec<u8>) {
            prop_assert!(open(&key, &stored.into()).is_err());
        }
    }
}
