//! What our keys are called on the server.
//!
//! ```text
//!     shop:v:{/shoes/7}     the entry of key "/shoes/7"          a string
//!     shop:l:{/shoes/7}     who makes that entry now             a string, for a second, see `lock`
//!     shop:i                invalidations                        a channel, where the server has no tracking
//!     shop:t:{sale}         the keys put with tag "sale"         a sorted set, by expiry
//! ```
//!
//! Everything of one key lies between braces, so that in a Cluster it lies in one slot, and keys spread over all of
//! them. `}` in a key would end the hash tag early and let whoever chooses keys choose one slot for all of them, so it is
//! escaped (`^)`, and `^` as `^^`). The escape works byte by byte: the name of a prefix is a prefix of the names.
//! A namespace never reaches into another: `:`, braces and `%` in its name are escaped too.

/// The names of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    namespace: String,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        let mut escaped = String::with_capacity(namespace.len());
        for c in namespace.chars() {
            match c {
                ':' | '{' | '}' | '%' => escaped.push_str(&format!("%{:02X}", c as u32)),
                _ => escaped.push(c),
            }
        }
        Self { namespace: escaped }
    }

    /// The entry of `key`.
    pub(crate) fn entry(&self, key: &[u8]) -> Vec<u8> {
        self.braced(ENTRY, key, true)
    }

    /// The same, written to `out`.
    pub(crate) fn write_entry(&self, key: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.namespace.as_bytes());
        out.extend_from_slice(ENTRY);
        write_escaped(key, out);
        out.push(b'}');
    }

    /// The length of an entry's name.
    pub(crate) fn entry_len(&self, key: &[u8]) -> usize {
        let escaped = key.iter().filter(|byte| is_escaped(**byte)).count();
        self.namespace.len() + ENTRY.len() + key.len() + escaped + 1
    }

    /// What the entries of all keys starting with `prefix` start with; with an empty one, all entries.
    pub(crate) fn entry_prefix(&self, prefix: &[u8]) -> Vec<u8> {
        self.braced(ENTRY, prefix, false)
    }

    /// The key of an entry's name, if it is one of ours.
    pub(crate) fn key_of_entry(&self, name: &[u8]) -> Option<Vec<u8>> {
        let escaped =
            name.strip_prefix(self.namespace.as_bytes())?.strip_prefix(ENTRY)?.strip_suffix(b"}")?;
        unescape(escaped)
    }

    /// The lock of `key`.
    pub(crate) fn lock(&self, key: &[u8]) -> Vec<u8> {
        self.braced(b":l:{", key, true)
    }

    /// The keys put with `tag`.
    pub(crate) fn tag(&self, tag: &str) -> Vec<u8> {
        self.braced(b":t:{", tag.as_bytes(), true)
    }

    /// The channel of invalidations.
    pub(crate) fn channel(&self) -> Vec<u8> {
        [self.namespace.as_bytes(), b":i"].concat()
    }

    /// What every name of the namespace starts with.
    pub(crate) fn everything(&self) -> Vec<u8> {
        [self.namespace.as_bytes(), b":"].concat()
    }

    fn braced(&self, kind: &[u8], key: &[u8], is_whole: bool) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.namespace.len() + kind.len() + key.len() + 1);
        name.extend_from_slice(self.namespace.as_bytes());
        name.extend_from_slice(kind);
        write_escaped(key, &mut name);
        if is_whole {
            name.push(b'}');
        }
        name
    }
}

/// `prefix` as a pattern for `SCAN … MATCH`: itself, then anything.
pub(super) fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

/// Between the namespace and an entry's key.
const ENTRY: &[u8] = b":v:{";

fn write_escaped(key: &[u8], out: &mut Vec<u8>) {
    for part in key.split_inclusive(|byte| is_escaped(*byte)) {
        match part.split_last() {
            Some((b'}', before)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(b"^)");
            }
            Some((b'^', before)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(b"^^");
            }
            _ => out.extend_from_slice(part),
        }
    }
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'}' | b'^')
}

fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'^' => match bytes.next()? {
                b')' => key.push(b'}'),
                b'^' => key.push(b'^'),
                _ => return None,
            },
            b'}' => return None,
            _ => key.push(byte),
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_as_documented() {
        let names = Names::new("shop");
        assert_eq!(names.entry(b"/shoes/7"), b"shop:v:{/shoes/7}");
        assert_eq!(names.lock(b"/shoes/7"), b"shop:l:{/shoes/7}");
        assert_eq!(names.tag("sale"), b"shop:t:{sale}");
        assert_eq!(names.channel(), b"shop:i");
        assert_eq!(names.entry(b"a}b^c{d"), b"shop:v:{a^)b^^c{d}");
        assert_eq!(Names::new("a:b{c}%").entry(b""), b"a%3Ab%7Bc%7D%25:v:{}");
    }

    #[test]
    fn patterns_mean_themselves() {
        assert_eq!(pattern(b"a*b?[c]\\^-"), br"a\*b\?\[c\]\\\^\-*");
    }

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_name(namespace in "[a-z:{}%]{1,8}", key: Vec<u8>) {
            let names = Names::new(&namespace);
            let mut written = Vec::new();
            names.write_entry(&key, &mut written);
            prop_assert_eq!(&written, &names.entry(&key));
            prop_assert_eq!(names.entry_len(&key), written.len());
            prop_assert_eq!(names.key_of_entry(&written), Some(key));
        }

        #[test]
        fn different_keys_and_namespaces_never_share_a_name(
            a in ("[a:{}%]{1,3}", "[a:{}^)]{0,3}"),
            b in ("[a:{}%]{1,3}", "[a:{}^)]{0,3}"),
        ) {
            prop_assume!(a != b);
            let name = |(namespace, key): &(String, String)| Names::new(namespace).entry(key.as_bytes());
            prop_assert_ne!(name(&a), name(&b));
            if a.0 != b.0 {
                prop_assert!(!name(&a).starts_with(&Names::new(&b.0).everything()));
            }
        }

        #[test]
        fn the_name_of_a_prefix_is_a_prefix(key: Vec<u8>, at: prop::sample::Index) {
            let names = Names::new("n");
            let prefix = &key[..at.index(key.len() + 1)];
            prop_assert!(names.entry(&key).starts_with(&names.entry_prefix(prefix)));
        }

        #[test]
        fn the_hash_tag_is_the_whole_key(key in prop::collection::vec(any::<u8>(), 1..40)) {
            let name = Names::new("n").entry(&key);
            let open = name.iter().position(|&byte| byte == b'{').unwrap();
            let close = open + name[open..].iter().position(|&byte| byte == b'}').unwrap();
            prop_assert_eq!(close, name.len() - 1);
        }

        #[test]
        fn unescaping_never_panics(name: Vec<u8>) {
            let _ = Names::new("n").key_of_entry(&[b"n:v:{", &name[..], b"}"].concat());
        }
    }
}
