//! Stored passwords: how they are written in a configuration, and whether a given one is right.
//!
//! | written | kind | one check costs |
//! |---|---|---|
//! | `$argon2id$v=19$m=…` | argon2id (what [`hash`] writes) | tens of milliseconds, 19 MiB |
//! | `$2b$…`, `$2y$…`, `$2a$…` | bcrypt | by its cost number |
//! | `$apr1$…` | Apache's MD5, for old htpasswd files | well under a millisecond: weak |
//! | anything else | plain text | next to nothing: whoever reads the file has it |
//!
//! ```
//! use evenly::admit::password::{Password, hash};
//!
//! let stored: Password = hash("s3cret:with:colons")?.parse()?;
//! assert!(stored.is("s3cret:with:colons".as_bytes()));
//! assert!(!stored.is(b"guess"));
//! # Ok::<(), evenly::admit::password::PasswordError>(())
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use blake2::{Blake2s256, Digest};
use md5::Md5;
use subtle::ConstantTimeEq;

/// A stored password.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Argon2,
    Bcrypt,
    Apr1,
}

impl Password {
    /// A password stored as it is, whatever it looks like.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self { kind: Kind::Plain, text: text.to_owned() }
    }

    /// Is `given` this password? Takes the same time for every wrong one.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        match self.kind {
            // Digests have one length, so that not even the length of the password shows in the time.
            Kind::Plain => is_same(&Blake2s256::digest(&self.text), &Blake2s256::digest(given)),
            Kind::Argon2 => PasswordHash::new(&self.text)
                .is_ok_and(|hash| Argon2::default().verify_password(given, &hash).is_ok()),
            Kind::Bcrypt => bcrypt::verify(given, &self.text).unwrap_or(false),
            Kind::Apr1 => {
                let salt = self.text.split('$').nth(2).unwrap_or_default();
                is_same(apr1(given, salt.as_bytes()).as_bytes(), self.text.as_bytes())
            }
        }
    }

    /// Can whoever reads the configuration read the password?
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.kind == Kind::Plain
    }
}

impl FromStr for Password {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let kind = if text.is_empty() {
            return Err(PasswordError::Empty);
        } else if text.starts_with("$argon2") {
            PasswordHash::new(text).map_err(|_| PasswordError::Hash("argon2"))?;
            Kind::Argon2
        } else if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            text.parse::<bcrypt::HashParts>().map_err(|_| PasswordError::Hash("bcrypt"))?;
            Kind::Bcrypt
        } else if let Some(rest) = text.strip_prefix("$apr1$") {
            let (salt, digest) = rest.split_once('$').ok_or(PasswordError::Hash("apr1"))?;
            if salt.is_empty() || salt.len() > 8 || digest.len() != 22 {
                return Err(PasswordError::Hash("apr1"));
            }
            Kind::Apr1
        } else if ["$1$", "$5$", "$6$", "$y$", "{SHA}"].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(PasswordError::Unsupported);
        } else {
            Kind::Plain
        };
        Ok(Self { kind, text: text.to_owned() })
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password({:?})", self.kind)
    }
}

/// Hashes a password with argon2id and a salt from the operating system.
///
/// # Errors
/// When it is empty, or the system gives no random bytes.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    let hash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|_| PasswordError::Hash("argon2"))?;
    Ok(hash.to_string())
}

/// Reads a file as Apache's `htpasswd` writes it: `name:hash` a line, `#` for comments.
///
/// # Errors
/// When it cannot be read, or a line is not of that form.
pub fn read_htpasswd(file: &Path) -> Result<Vec<(String, Password)>, HtpasswdError> {
    let wrong = |line, why: String| HtpasswdError { file: file.to_owned(), line, why };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(0, error.to_string()))?;
    let mut users = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or_else(|| wrong(at + 1, "no \":\"".to_owned()))?;
        let password = hash.parse().map_err(|error: PasswordError| wrong(at + 1, error.to_string()))?;
        users.push((name.to_owned(), password));
    }
    Ok(users)
}

/// Why a file of users cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtpasswdError {
    file: PathBuf,
    /// From 1; 0 for the whole file.
    line: usize,
    why: String,
}

impl fmt::Display for HtpasswdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.why)
    }
}

impl std::error::Error for HtpasswdError {}

/// What is wrong with a stored password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordError {
    /// It is empty.
    Empty,
    /// It starts like a hash of this kind and is none.
    Hash(&'static str),
    /// A hash of a kind that is not read.
    Unsupported,
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("password is empty"),
            Self::Hash(kind) => write!(f, "password starts like a hash of {kind} but is none"),
            Self::Unsupported => f.write_str("password hash is not argon2, bcrypt or apr1"),
        }
    }
}

impl std::error::Error for PasswordError {}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// Apache's `$apr1$`: MD5 crypt with another prefix, 1000 rounds.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        first.update(&inner[..left.min(16)]);
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &b"\0"[..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let (start, end) = if round % 2 == 1 { (password, &digest[..]) } else { (&digest[..], password) };
        next.update(start);
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(end);
        digest = next.finalize();
    }
    let mut out = format!("$apr1${}$", String::from_utf8_lossy(salt));
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        push_base64(&mut out, [digest[a], digest[b], digest[c]], 4);
    }
    push_base64(&mut out, [0, 0, digest[11]], 2);
    out
}

/// Crypt's own base 64: least significant digit first.
fn push_base64(out: &mut String, [high, middle, low]: [u8; 3], digits: usize) {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut value = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    for _ in 0..digits {
        out.push(char::from(DIGITS[value & 63]));
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> Password {
        text.parse().unwrap()
    }

    /// Made by `openssl passwd -apr1`.
    const APR1_VECTORS: [(&str, &str); 5] = [
        ("$apr1$Z1aB9.xx$DM593JSOBR8lG8uuNilD//", "password"),
        ("$apr1$Z1aB9.xx$zwiJjy6zB9DcNMyMkz230/", "a"),
        ("$apr1$Z1aB9.xx$RwFrN46I7PKFpVhjXBMxV0", "s3cret:with:colons"),
        ("$apr1$Z1aB9.xx$RDDoUswq8f4rA5locQlR60", "a much longer password than sixteen bytes"),
        ("$apr1$ab$S8K6Sgp3W8c9Jb6LxgywZ.", ""),
    ];

    /// bcrypt's and argon2's are from the known answers of the crates' own tests.
    #[test]
    fn hashes_made_elsewhere_are_understood() {
        for (hash, password) in APR1_VECTORS {
            assert!(stored(hash).is(password.as_bytes()), "{password}");
            assert!(!stored(hash).is(b"wrong"));
        }
        let bcrypt = stored("$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie");
        assert!(bcrypt.is(b"correctbatteryhorsestapler") && !bcrypt.is(b"wrong"));
        let argon2 =
            stored("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4");
        assert!(argon2.is(b"password") && !argon2.is(b"wrong"));
    }

    #[test]
    fn a_hash_of_ours_is_argon2id_and_salted() {
        let (one, other) = (hash("pässwörd:x").unwrap(), hash("pässwörd:x").unwrap());
        assert!(one.starts_with("$argon2id$") && one != other);
        assert!(stored(&one).is("pässwörd:x".as_bytes()) && !stored(&one).is(b"p"));
        assert_eq!(hash(""), Err(PasswordError::Empty));
    }

    #[test]
    fn plain_text_is_compared_whole_and_known_for_what_it_is() {
        assert!(stored("s3cret:with:colons").is(b"s3cret:with:colons"));
        for wrong in ["", "s3cret", "s3cret:with:colons ", "S3cret:with:colons"] {
            assert!(!stored("s3cret:with:colons").is(wrong.as_bytes()), "{wrong}");
        }
        assert!(stored("x").is_plain() && !stored(APR1_VECTORS[0].0).is_plain());
        assert_eq!(format!("{:?}", stored("secret")), "Password(Plain)");
    }

    #[test]
    fn htpasswd_files_are_read_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        std::fs::write(&file, format!("# ours\n\nalice:{}\nbob:plain\n", APR1_VECTORS[0].0)).unwrap();
        let users = read_htpasswd(&file).unwrap();
        assert!(users[0].0 == "alice" && users[0].1.is(b"password") && users[1].1.is_plain());
        std::fs::write(&file, "alice:x\nbob:$6$a$b\n").unwrap();
        assert!(
            read_htpasswd(&file)
                .unwrap_err()
                .to_string()
                .ends_with("users:2: password hash is not argon2, bcrypt or apr1")
        );
        assert!(read_htpasswd(&folder.path().join("none")).is_err());
    }

    #[test]
    fn broken_and_unknown_hashes_are_refused() {
        for text in
            ["", "$argon2id$", "$2b$", "$2b$04$short", "$apr1$", "$apr1$salt$short", "$6$a$b", "{SHA}x"]
        {
            assert!(text.parse::<Password>().is_err(), "{text}");
        }
    }
}
