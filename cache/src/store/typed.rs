//! Rust values instead of bytes.
//!
//! The bytes in a shared store were written by another process, perhaps by another version of the program. So bytes
//! that do not make a `V` are a miss, counted, and written over by the next `put`: a changed type needs no purge.

use std::{
    error::Error,
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Keep, Store, StoreError};

/// A [`Store`] of `V`s.
///
/// ```
/// use std::time::Duration;
/// use cache::{Policy, store::{Codec, Keep, Memory, Typed}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Shoe { size: u8, colour: String }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache::store::StoreError> {
/// let shoes: Typed<Memory, Shoe> = Typed::new(Memory::new(64 << 20, Policy::Lru)?, Codec::MessagePack);
/// let shoe = Shoe { size: 42, colour: "red".to_owned() };
/// shoes.put(b"/shoes/7", &shoe, Keep::for_ttl(Duration::from_secs(60))).await?;
/// assert_eq!(shoes.get(b"/shoes/7").await?, Some(shoe));
/// # Ok(())
/// # }
/// ```
pub struct Typed<S, V> {
    store: S,
    codec: Codec,
    unreadable: AtomicU64,
    values: PhantomData<fn(V) -> V>,
}

/// How values become bytes.
///
/// ```
/// use cache::store::Codec;
///
/// assert_eq!(Codec::Json.encode(&("shoe", 42))?, br#"["shoe",42]"#);
/// assert_eq!(Codec::MessagePack.encode(&("shoe", 42))?, b"\x92\xA4shoe\x2A");
/// assert_eq!(Codec::Json.decode::<(String, u8)>(b"[\"shoe\", 42]")?, ("shoe".to_owned(), 42));
/// # Ok::<(), cache::store::StoreError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Readable in `redis-cli` and by every language.
    Json,
    /// Smaller and quicker; field names are kept, so that fields can be added.
    MessagePack,
}

impl<S: Store, V: Serialize + DeserializeOwned> Typed<S, V> {
    /// Values in `store`. All who share them must use the same codec.
    pub fn new(store: S, codec: Codec) -> Self {
        Self { store, codec, unreadable: AtomicU64::new(0), values: PhantomData }
    }

    /// The store beneath: for deletes, purges and statistics.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Bytes found that made no `V`, and counted as a miss.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Relaxed)
    }

    /// The value under `key`, or `None`.
    pub async fn get(&self, key: &[u8]) -> Result<Option<V>, StoreError> {
        Ok(self.store.get(key).await?.and_then(|bytes| self.decoded(&bytes)))
    }

    /// The value under each of `keys`, in their order.
    pub async fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<V>>, StoreError> {
        let values = self.store.get_many(keys).await?;
        Ok(values.into_iter().map(|bytes| bytes.and_then(|bytes| self.decoded(&bytes))).collect())
    }

    /// Keeps `value` under `key`, whatever was there before.
    pub async fn put(&self, key: &[u8], value: &V, keep: Keep<'_>) -> Result<(), StoreError> {
        self.store.put(key, self.codec.encode(value)?.into(), keep).await
    }

    /// Keeps `value` under `key` unless something is there. True when it was kept.
    pub async fn put_if_absent(&self, key: &[u8], value: &V, keep: Keep<'_>) -> Result<bool, StoreError> {
        self.store.put_if_absent(key, self.codec.encode(value)?.into(), keep).await
    }

    fn decoded(&self, bytes: &[u8]) -> Option<V> {
        let value = self.codec.decode(bytes).ok();
        if value.is_none() {
            self.unreadable.fetch_add(1, Relaxed);
        }
        value
    }
}

impl Codec {
    /// `value` as bytes. Fails for what the format has no words for, such as a map with keys that are no text in JSON.
    pub fn encode<V: Serialize + ?Sized>(self, value: &V) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Json => serde_json::to_vec(value).map_err(codec_error),
            Self::MessagePack => rmp_serde::to_vec_named(value).map_err(codec_error),
        }
    }

    /// The value in `bytes`, which must hold nothing else.
    pub fn decode<V: DeserializeOwned>(self, bytes: &[u8]) -> Result<V, StoreError> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(codec_error),
            Self::MessagePack => {
                let mut rest = bytes;
                let value = rmp_serde::from_read(&mut rest).map_err(codec_error)?;
                if rest.is_empty() { Ok(value) } else { Err(codec_error("bytes after the end of the value")) }
            }
        }
    }
}

fn codec_error(error: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Codec { source: Arc::from(error.into()) }
}

impl<S: fmt::Debug, V> fmt::Debug for Typed<S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("store", &self.store)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::{Policy, store::Memory};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
        numbers: Vec<i64>,
        nested: Option<BTreeMap<String, bool>>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        name: String,
        #[serde(default)]
        added: u8,
    }

    const MINUTE: Keep<'static> = Keep::for_ttl(Duration::from_secs(60));

    proptest! {
        #[test]
        fn what_is_encoded_decodes(name: String, numbers: Vec<i64>, nested: Option<BTreeMap<String, bool>>) {
            let value = Old { name, numbers, nested };
            for codec in [Codec::Json, Codec::MessagePack] {
                let bytes = codec.encode(&value).unwrap();
                prop_assert_eq!(codec.decode::<Old>(&bytes).unwrap(), value.clone());
                prop_assert!(codec.decode::<Old>(&[&bytes[..], b"\0"].concat()).is_err());
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            for codec in [Codec::Json, Codec::MessagePack] {
                let _ = codec.decode::<Old>(&bytes);
            }
        }
    }

    #[tokio::test]
    async fn a_changed_type_is_a_miss_and_an_added_field_is_none() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let memory = Memory::new(10_000, Policy::Lru).unwrap();
            let old: Typed<Memory, Old> = Typed::new(memory.clone(), codec);
            let new: Typed<Memory, New> = Typed::new(memory.clone(), codec);
            let value = Old { name: "n".to_owned(), numbers: vec![1], nested: None };
            old.put(b"k", &value, MINUTE).await.unwrap();
            assert_eq!(
                new.get(b"k").await.unwrap(),
                Some(New { name: "n".to_owned(), added: 0 }),
                "{codec:?}"
            );
            assert!(!new.put_if_absent(b"k", &New { name: "m".to_owned(), added: 1 }, MINUTE).await.unwrap());
            new.put(b"k", &New { name: "m".to_owned(), added: 1 }, MINUTE).await.unwrap();
            assert_eq!(old.get_many(&[b"k", b"none"]).await.unwrap(), [None, None]);
            assert_eq!(old.unreadable(), 1);
            memory.put(b"k", Bytes::from("\x07 no json"), MINUTE).await.unwrap();
            assert_eq!(new.get(b"k").await.unwrap(), None);
        }
    }

    #[test]
    fn what_json_has_no_words_for_is_an_error() {
        let error = Codec::Json.encode(&BTreeMap::from([((1, 2), 3)])).unwrap_err();
        assert!(matches!(error, StoreError::Codec { .. }) && !error.is_outage(), "{error}");
    }
}
