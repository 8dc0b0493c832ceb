//! Lists of operations on a store, and what a `HashMap` makes of them.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use cache::store::{Keep, Store};
use proptest::prelude::*;

type Key = Vec<u8>;

#[derive(Debug, Clone)]
pub enum Op {
    Get(Key),
    GetMany(Vec<Key>),
    Put(Key, Vec<u8>, Vec<&'static str>),
    PutIfAbsent(Key, Vec<u8>, Vec<&'static str>),
    /// Put for a millisecond, and wait until it is over.
    PutBriefly(Key),
    Touch(Key),
    Delete(Key),
    DeleteByPrefix(Key),
    DeleteByTag(&'static str),
    Clear,
}

/// Few keys, so that they meet; bytes that names, patterns and escapes care about.
pub fn operations() -> impl Strategy<Value = Vec<Op>> {
    let key = || prop::collection::vec(prop::sample::select(&b"a*}^"[..]), 0..3);
    let value = || prop::collection::vec(any::<u8>(), 0..40);
    let tags = || prop::sample::subsequence(vec!["x", "y", "{z}"], 0..=2);
    let operation = prop_oneof![
        8 => key().prop_map(Op::Get),
        2 => prop::collection::vec(key(), 0..6).prop_map(Op::GetMany),
        8 => (key(), value(), tags()).prop_map(|(key, value, tags)| Op::Put(key, value, tags)),
        4 => (key(), value(), tags()).prop_map(|(key, value, tags)| Op::PutIfAbsent(key, value, tags)),
        1 => key().prop_map(Op::PutBriefly),
        2 => key().prop_map(Op::Touch),
        3 => key().prop_map(Op::Delete),
        1 => key().prop_map(Op::DeleteByPrefix),
        1 => prop::sample::select(vec!["x", "y", "{z}"]).prop_map(Op::DeleteByTag),
        1 => Just(Op::Clear),
    ];
    prop::collection::vec(operation, 1..60)
}

/// Runs `operations` on `store`, empty at first, and on the model; both must answer alike at each step.
pub async fn agree(store: &dyn Store, operations: &[Op]) {
    let mut model = Model::default();
    for operation in operations {
        model.step(store, operation).await;
    }
    for (key, (value, _)) in &model.now {
        assert_eq!(store.get(key).await.unwrap().as_deref(), Some(&value[..]), "{key:?} at the end");
    }
    let held = store.clear().await.unwrap();
    assert_eq!(held, model.now.len() as u64, "entries at the end");
}

#[derive(Default)]
struct Model {
    now: HashMap<Key, (Vec<u8>, Vec<&'static str>)>,
    /// Tags that a key has had: a purge may take it for any of them.
    ever: HashMap<Key, BTreeSet<&'static str>>,
}

impl Model {
    async fn step(&mut self, store: &dyn Store, operation: &Op) {
        let hour = Keep::for_ttl(Duration::from_secs(3_600));
        match operation {
            Op::Get(key) => assert_eq!(store.get(key).await.unwrap(), self.value(key), "{operation:?}"),
            Op::GetMany(keys) => {
                let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let expected: Vec<_> = keys.iter().map(|key| self.value(key)).collect();
                assert_eq!(store.get_many(&asked).await.unwrap(), expected, "{operation:?}");
            }
            Op::Put(key, value, tags) => {
                store.put(key, value.clone().into(), hour.tagged(tags)).await.unwrap();
                self.put(key, value, tags);
            }
            Op::PutIfAbsent(key, value, tags) => {
                let was_kept =
                    store.put_if_absent(key, value.clone().into(), hour.tagged(tags)).await.unwrap();
                assert_eq!(was_kept, !self.now.contains_key(key), "{operation:?}");
                self.ever.entry(key.clone()).or_default().extend(tags);
                if was_kept {
                    self.put(key, value, tags);
                }
            }
            Op::PutBriefly(key) => {
                store.put(key, Bytes::from("brief"), Keep::for_ttl(Duration::from_millis(1))).await.unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
                assert_eq!(store.get(key).await.unwrap(), None, "{operation:?}");
                self.now.remove(key);
            }
            Op::Touch(key) => {
                let was_there = store.touch(key, Duration::from_secs(60)).await.unwrap();
                assert_eq!(was_there, self.now.contains_key(key), "{operation:?}");
            }
            Op::Delete(key) => {
                let was_there = store.delete(key).await.unwrap();
                assert_eq!(was_there, self.now.remove(key).is_some(), "{operation:?}");
            }
            Op::DeleteByPrefix(prefix) => {
                let before = self.now.len();
                self.now.retain(|key, _| !key.starts_with(prefix));
                let deleted = store.delete_by_prefix(prefix).await.unwrap();
                assert_eq!(deleted, (before - self.now.len()) as u64, "{operation:?}");
            }
            Op::DeleteByTag(tag) => self.delete_by_tag(store, tag).await,
            Op::Clear => {
                assert_eq!(store.clear().await.unwrap(), self.now.len() as u64, "{operation:?}");
                self.now.clear();
            }
        }
    }

    async fn delete_by_tag(&mut self, store: &dyn Store, tag: &'static str) {
        let before = self.now.len();
        self.now.retain(|_, (_, tags)| !tags.contains(&tag));
        let deleted = store.delete_by_tag(tag).await.unwrap();
        // Those that had the tag once may be gone: the store decides, and then it is settled.
        for (key, _) in self.ever.iter().filter(|(_, tags)| tags.contains(tag)) {
            if self.now.contains_key(key) && store.get(key).await.unwrap().is_none() {
                self.now.remove(key);
            }
        }
        assert_eq!(deleted, (before - self.now.len()) as u64, "delete_by_tag {tag}");
    }

    fn put(&mut self, key: &Key, value: &[u8], tags: &[&'static str]) {
        self.now.insert(key.clone(), (value.to_vec(), tags.to_vec()));
        self.ever.entry(key.clone()).or_default().extend(tags);
    }

    fn value(&self, key: &Key) -> Option<Bytes> {
        self.now.get(key).map(|(value, _)| value.clone().into())
    }
}
