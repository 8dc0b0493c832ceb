//! Who may pass: `Basic` authentication with hashed passwords, without paying for the hash on every request.
//!
//! ```text
//!   credentials ─► remembered? ─ yes ─────────────────────────────────► user
//!                      │ no
//!                      ├─ too many failures from this client ─────────► 429
//!                      └─ check (tens of ms, on a thread of its own) ─┬► user, remembered for a minute
//!                                                                     └► 401 / 407, one failure more
//! ```
//!
//! A name that does not exist is checked against somebody else's hash and then refused, so that its answer takes as long
//! as that of a wrong password. What is remembered is a keyed digest of name and password, never the password. At most
//! [`REMEMBERED_MAX`] credentials and [`CLIENTS_MAX`] clients are kept, and [`CHECKS_MAX`] checks run at once: argon2
//! takes 19 MiB each.
//!
//! The decisions take `now`; only [`Auth::admit`] waits. A reverse proxy reads `Authorization` (and
//! `Proxy-Authorization`, which goproxy's clients send) and answers 401; a forward proxy reads `Proxy-Authorization`
//! and answers 407. Credentials that were used here are removed from the request.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2s256, Digest};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, PROXY_AUTHORIZATION};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::Refusal;
use super::password::Password;

/// The users, and what is remembered about them.
#[derive(Debug)]
pub struct Auth {
    users: Vec<(Arc<str>, Password)>,
    by_name: HashMap<Arc<str>, usize>,
    is_forward: bool,
    failures_max: u32,
    /// Chosen per process: nobody outside can predict a digest or which hash a missing name is checked against.
    key: RandomState,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
    checks: Semaphore,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    until: Instant,
}

impl Auth {
    /// For a reverse or a forward proxy with these users. Of several with one name the last counts.
    /// A client may fail `failures_max` times a minute.
    #[must_use]
    pub fn new(users: Vec<(String, Password)>, is_forward: bool, failures_max: u32) -> Self {
        let users: Vec<(Arc<str>, Password)> =
            users.into_iter().map(|(name, password)| (name.into(), password)).collect();
        let by_name = users.iter().enumerate().map(|(at, (name, _))| (Arc::clone(name), at)).collect();
        Self {
            users,
            by_name,
            is_forward,
            failures_max,
            key: RandomState::new(),
            remembered: Mutex::default(),
            failures: Mutex::default(),
            checks: Semaphore::new(CHECKS_MAX),
        }
    }

    /// Does the request bring credentials at all?
    #[must_use]
    pub fn is_tried(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(PROXY_AUTHORIZATION) || !self.is_forward && headers.contains_key(AUTHORIZATION)
    }

    /// The user whose credentials the request brings; they are removed from it.
    ///
    /// # Errors
    /// When there are none, they are wrong, or this client has tried too often.
    pub async fn admit(
        self: &Arc<Self>,
        headers: &mut HeaderMap,
        client: IpAddr,
        now: Instant,
    ) -> Result<Arc<str>, Refusal> {
        let refused = || Refusal::Credentials { is_forward: self.is_forward };
        let field = self.field(headers).ok_or_else(refused)?;
        let credentials = Credentials::read(headers, &field).ok_or_else(refused)?;
        headers.remove(field);
        let digest = self.digest(&credentials);
        if let (true, Some(user)) = (self.is_remembered(&digest, now), self.by_name.get(&*credentials.name)) {
            return Ok(Arc::clone(&self.users[*user].0));
        }
        self.check_rate(client, now)?;
        let _permit = self.checks.acquire().await.map_err(|_| refused())?;
        let this = Arc::clone(self);
        let checked = tokio::task::spawn_blocking(move || this.check(&credentials)).await.unwrap_or(None);
        match checked {
            Some(user) => {
                self.remember(digest, now);
                Ok(user)
            }
            None => {
                self.note_failure(client, now);
                Err(refused())
            }
        }
    }

    /// The one field with credentials for this proxy; none when there are several lines to choose from.
    fn field(&self, headers: &HeaderMap) -> Option<HeaderName> {
        let name = if self.is_forward || !headers.contains_key(AUTHORIZATION) {
            PROXY_AUTHORIZATION
        } else {
            AUTHORIZATION
        };
        (headers.get_all(&name).iter().count() == 1).then_some(name)
    }

    /// Slow on purpose: runs the hash, also for a name that does not exist.
    fn check(&self, credentials: &Credentials) -> Option<Arc<str>> {
        let known = self.by_name.get(&*credentials.name).copied();
        let decoy = self.key.hash_one(&credentials.name) as usize % self.users.len().max(1);
        let (name, password) = self.users.get(known.unwrap_or(decoy))?;
        let is_right = password.is(&credentials.password);
        (is_right && known.is_some()).then(|| Arc::clone(name))
    }

    fn digest(&self, credentials: &Credentials) -> [u8; 32] {
        Blake2s256::new()
            .chain_update(self.key.hash_one("first half of the key").to_ne_bytes())
            .chain_update(self.key.hash_one("second half of the key").to_ne_bytes())
            .chain_update((credentials.name.len() as u64).to_ne_bytes())
            .chain_update(credentials.name.as_bytes())
            .chain_update(&credentials.password)
            .finalize()
            .into()
    }

    fn is_remembered(&self, digest: &[u8; 32], now: Instant) -> bool {
        self.remembered.lock().get(digest).is_some_and(|until| *until > now)
    }

    fn remember(&self, digest: [u8; 32], now: Instant) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, until| *until > now);
        }
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(digest, now + REMEMBERED_FOR);
        }
    }

    fn check_rate(&self, client: IpAddr, now: Instant) -> Result<(), Refusal> {
        match self.failures.lock().get(&network(client)) {
            Some(failures) if failures.count >= self.failures_max && failures.until > now => {
                let wait = failures.until - now;
                Err(Refusal::TooManyFailures { retry_after_s: wait.as_secs() + 1 })
            }
            _ => Ok(()),
        }
    }

    fn note_failure(&self, client: IpAddr, now: Instant) {
        let mut failures = self.failures.lock();
        if failures.len() >= CLIENTS_MAX {
            failures.retain(|_, failures| failures.until > now);
        }
        if failures.len() >= CLIENTS_MAX {
            // So many clients fail at once that counting them one by one no longer helps.
            failures.clear();
        }
        let entry = failures.entry(network(client)).or_insert(Failures { count: 0, until: now + WINDOW });
        if entry.until <= now {
            *entry = Failures { count: 0, until: now + WINDOW };
        }
        entry.count = entry.count.saturating_add(1);
    }
}

/// A name and a password, as `Basic` sends them (RFC 7617).
#[derive(PartialEq, Eq)]
struct Credentials {
    name: String,
    password: Vec<u8>,
}

impl Credentials {
    fn read(headers: &HeaderMap, field: &HeaderName) -> Option<Self> {
        let value = headers.get(field)?.as_bytes();
        let (scheme, encoded) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let mut decoded = STANDARD.decode(encoded.trim_ascii_start()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let password = decoded.split_off(colon + 1);
        decoded.pop();
        let name = String::from_utf8(decoded).ok()?;
        let is_short = name.len() <= CREDENTIAL_LEN_MAX && password.len() <= CREDENTIAL_LEN_MAX;
        (is_short && !name.chars().any(char::is_control)).then_some(Self { name, password })
    }
}

/// Whom failures are counted for: an IPv4 address, or the IPv6 network that one customer has.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from(u128::from(address) & (!0 << 64)).into(),
    }
}

/// Credentials that are remembered at most.
pub const REMEMBERED_MAX: usize = 4096;
/// How long right credentials pass without the hash being run again.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// Clients whose failures are counted at most.
pub const CLIENTS_MAX: usize = 16 * 1024;
/// Hashes that run at once.
pub const CHECKS_MAX: usize = 4;
/// In which time `failures_max` counts.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Longest name and longest password.
const CREDENTIAL_LEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn auth(is_forward: bool) -> Arc<Auth> {
        let users = vec![
            ("alice".to_owned(), Password::plain("s3cret:with:colons")),
            (
                "böb".to_owned(),
                "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie".parse().unwrap(),
            ),
        ];
        Arc::new(Auth::new(users, is_forward, 3))
    }

    fn with(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    async fn admit(auth: &Arc<Auth>, headers: &mut HeaderMap, now: Instant) -> Result<String, StatusCode> {
        let client = IpAddr::from([192, 0, 2, 1]);
        auth.admit(headers, client, now)
            .await
            .map(|user| user.to_string())
            .map_err(|refusal| refusal.status())
    }

    async fn try_once(fields: &[(&'static str, &str)]) -> Result<String, StatusCode> {
        admit(&auth(false), &mut with(fields), Instant::now()).await
    }

    #[tokio::test]
    async fn right_credentials_pass_and_are_taken_off() {
        for (credentials, user) in
            [("alice:s3cret:with:colons", "alice"), ("böb:correctbatteryhorsestapler", "böb")]
        {
            let auth = auth(false);
            let mut headers = with(&[("authorization", &basic(credentials)), ("accept", "*/*")]);
            assert_eq!(admit(&auth, &mut headers, Instant::now()).await.unwrap(), user);
            assert_eq!(headers, with(&[("accept", "*/*")]));
        }
        let lower = basic("alice:s3cret:with:colons").replace("Basic", "bAsIc");
        assert!(try_once(&[("authorization", &lower)]).await.is_ok());
        let proxy = basic("alice:s3cret:with:colons");
        assert!(try_once(&[("proxy-authorization", &proxy)]).await.is_ok(), "goproxy's clients");
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let good = basic("alice:s3cret:with:colons");
        for fields in [
            &[][..],
            &[("authorization", "Basic !!!!")],
            &[("authorization", "Basic")],
            &[("authorization", "Basic YWxpY2U=")],
            &[("authorization", "Bearer YWxpY2U6eA==")],
            &[("authorization", &basic("alice:"))],
            &[("authorization", &basic("nobody:s3cret:with:colons"))],
            &[("authorization", &basic(":"))],
            &[("authorization", &basic("alice\0:s3cret:with:colons"))],
            &[("authorization", &basic("alice:x")), ("authorization", &good)],
            &[("authorization", &good), ("authorization", &good)],
        ] {
            assert_eq!(try_once(fields).await, Err(StatusCode::UNAUTHORIZED), "{fields:?}");
        }
    }

    #[tokio::test]
    async fn a_forward_proxy_asks_with_407_and_leaves_authorization_alone() {
        let good = basic("alice:s3cret:with:colons");
        let auth = auth(true);
        let mut headers = with(&[("authorization", &good)]);
        let refused = admit(&auth, &mut headers, Instant::now()).await;
        assert_eq!(refused, Err(StatusCode::PROXY_AUTHENTICATION_REQUIRED));
        let mut headers = with(&[("authorization", "Basic other"), ("proxy-authorization", &good)]);
        assert!(admit(&auth, &mut headers, Instant::now()).await.is_ok());
        assert_eq!(headers, with(&[("authorization", "Basic other")]));
    }

    #[tokio::test]
    async fn failures_are_counted_and_forgotten_but_known_credentials_pass() {
        let (auth, now) = (auth(false), Instant::now());
        let good = basic("alice:s3cret:with:colons");
        let bad = basic("alice:guess");
        assert!(admit(&auth, &mut with(&[("authorization", &good)]), now).await.is_ok());
        for _ in 0..3 {
            let answer = admit(&auth, &mut with(&[("authorization", &bad)]), now).await;
            assert_eq!(answer, Err(StatusCode::UNAUTHORIZED));
        }
        let answer = admit(&auth, &mut with(&[("authorization", &bad)]), now).await;
        assert_eq!(answer, Err(StatusCode::TOO_MANY_REQUESTS));
        assert!(admit(&auth, &mut with(&[("authorization", &good)]), now).await.is_ok(), "remembered");
        let answer = admit(&auth, &mut with(&[("authorization", &bad)]), now + WINDOW).await;
        assert_eq!(answer, Err(StatusCode::UNAUTHORIZED));
    }

    #[tokio::test]
    async fn what_is_remembered_ends() {
        let (auth, now) = (auth(false), Instant::now());
        let good = basic("böb:correctbatteryhorsestapler");
        admit(&auth, &mut with(&[("authorization", &good)]), now).await.unwrap();
        let credentials = Credentials::read(&with(&[("authorization", &good)]), &AUTHORIZATION).unwrap();
        let digest = auth.digest(&credentials);
        assert!(auth.is_remembered(&digest, now + REMEMBERED_FOR - Duration::from_secs(1)));
        assert!(!auth.is_remembered(&digest, now + REMEMBERED_FOR));
    }

    #[test]
    fn one_customers_addresses_are_one() {
        let net = |text: &str| network(text.parse().unwrap());
        assert_eq!(net("2001:db8:1:2:3::4"), net("2001:db8:1:2:ffff::"));
        assert_ne!(net("2001:db8:1:2::"), net("2001:db8:1:3::"));
        assert_eq!(net("::ffff:192.0.2.1"), net("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn name_and_password_come_out_as_they_went_in(name in "[^:\\p{Cc}]{0,20}", password in "\\PC{0,20}") {
            let headers = with(&[("authorization", &basic(&format!("{name}:{password}")))]);
            let read = Credentials::read(&headers, &AUTHORIZATION);
            let is_same = read == Some(Credentials { name, password: password.into_bytes() });
            prop_assert!(is_same);
        }

        #[test]
        fn any_field_is_read_without_a_panic(value in "(Basic )?[ -~]{0,40}") {
            let _ = Credentials::read(&with(&[("authorization", &value)]), &AUTHORIZATION);
        }
    }
}
