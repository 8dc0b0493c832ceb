//! Ketama: the ring as others draw it, point for point, to share keys with nginx and with memcached clients.
//!
//! ```text
//!     nginx        base = crc32(host \0 port)      point j = crc32(base, point j−1)      160 · weight of them
//!     libketama    md5("host:port-k") = 4 points   k < ⌊ share of weight · 40 · members ⌋      (feature `libketama`)
//! ```
//!
//! A key belongs to the first point at or after crc32 (nginx) or the first four bytes of md5 (libketama) of its
//! bytes; a query that brings only a hash stands at its top 32 bits. Ids are `host:port`, as in nginx's `server`
//! line. With the same servers and weights every key goes where `hash $key consistent;` sends it (`tests/golden.rs`:
//! 3,000 picks of nginx 1.22.1). When two servers claim one place, nginx leaves the winner to its sort; here it is
//! the smaller id.
//!
//! Pick and memory: the [`Ring`](super::Ring)'s, with a slower hash. nginx's points depend on a member's own weight
//! alone, so only its own keys move; libketama's depend on the whole set, so a few more do. Not for anything new: use
//! `Ring`. Sources: nginx, `ngx_http_upstream_hash_module.c`; R. Jones, libketama, 2007.
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::Ketama};
//!
//! let members = Members::new([("127.1.0.1:9001", 1), ("127.1.0.2:9001", 1), ("127.1.0.3:9001", 1)])?;
//! let ketama = Ketama::nginx(members)?;
//! let pick = |key: &str| ketama.pick(&Query::for_key(key.as_bytes()), &mut Rng::new(0));
//! assert_eq!([pick("k0-b6589fc6ab"), pick("k1-356a192b79")], [Some(0), Some(2)]); // as nginx does
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crc32fast::Hasher;

use super::circle::Circle;
use super::ring::{RING_POINTS_MAX, changed_circle, explain_circle};
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::members::{Member, Members};
use crate::query::Query;
use crate::rng::Rng;

/// Whose points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum KetamaScheme {
    /// nginx's `hash … consistent`.
    #[default]
    Nginx,
    /// libketama's, as memcached clients use it.
    #[cfg(feature = "libketama")]
    Libketama,
}

/// A ring with nginx's or libketama's points; see the module's page.
#[derive(Debug)]
pub struct Ketama {
    members: Members,
    circle: Circle,
    scheme: KetamaScheme,
}

impl Ketama {
    /// nginx's ring.
    ///
    /// # Errors
    /// If there would be more than [`RING_POINTS_MAX`] points.
    pub fn nginx(members: Members) -> Result<Self, EditError> {
        Self::new(members, KetamaScheme::Nginx)
    }

    /// libketama's ring.
    ///
    /// # Errors
    /// If there would be more than [`RING_POINTS_MAX`] points.
    #[cfg(feature = "libketama")]
    pub fn libketama(members: Members) -> Result<Self, EditError> {
        Self::new(members, KetamaScheme::Libketama)
    }

    /// The ring of a scheme.
    ///
    /// # Errors
    /// If there would be more than [`RING_POINTS_MAX`] points.
    pub fn new(members: Members, scheme: KetamaScheme) -> Result<Self, EditError> {
        let mut points = Vec::new();
        match scheme {
            KetamaScheme::Nginx => {
                let found = members.total_weight() * NGINX_POINTS;
                if found > RING_POINTS_MAX {
                    return Err(EditError::TooManyPoints { found, max: RING_POINTS_MAX });
                }
                points.reserve_exact(found as usize);
                for (index, member) in members.iter().enumerate() {
                    put_nginx(&mut points, member, index, 0..member.weight());
                }
            }
            #[cfg(feature = "libketama")]
            KetamaScheme::Libketama => libketama::put_all(&mut points, &members),
        }
        Ok(Self { members, circle: Circle::new(points), scheme })
    }

    #[inline]
    fn place_of(&self, query: &Query<'_>) -> Option<u32> {
        match query.key() {
            Some(key) => Some(match self.scheme {
                KetamaScheme::Nginx => crc32fast::hash(key),
                #[cfg(feature = "libketama")]
                KetamaScheme::Libketama => libketama::place(key),
            }),
            None => query.position().map(|position| (position >> 32) as u32),
        }
    }

    #[inline]
    fn place(&self, query: &Query<'_>, rng: &mut Rng) -> u32 {
        self.place_of(query).unwrap_or_else(|| (rng.next_u64() >> 32) as u32)
    }
}

impl Balancer for Ketama {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        self.circle.pick(self.place(query, rng), &self.members, query, rng)
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        // libketama's points depend on the whole set.
        if self.scheme == KetamaScheme::Nginx && members.total_weight() * NGINX_POINTS <= RING_POINTS_MAX {
            let circle = changed_circle(&self.circle, &self.members, &members, put_nginx);
            if let Some(circle) = circle {
                return Ok(Box::new(Self { members, circle, scheme: self.scheme }));
            }
        }
        Ok(Box::new(Self::new(members, self.scheme)?))
    }

    fn candidates(&self, query: &Query<'_>, rng: &mut Rng) -> Vec<usize> {
        self.circle.order(self.place(query, rng), &self.members, query)
    }

    fn home(&self, query: &Query<'_>) -> Option<usize> {
        self.circle.owner(self.place_of(query)?)
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let place = self.place(query, &mut rng.clone());
        explain_circle(&self.circle, place, &self.members, self.pick(query, rng))
    }
}

/// Each point follows from the one before, so those of the weight that is not asked for are worked out too.
fn put_nginx(points: &mut Vec<u64>, member: &Member, index: usize, weights: Range<u32>) {
    let (host, port) = host_and_port(member.id());
    let mut base = Hasher::new();
    base.update(host.as_bytes());
    base.update(&[0]);
    base.update(port.as_bytes());
    let base = base.finalize();
    let mut point = 0_u32;
    let first = u64::from(weights.start) * NGINX_POINTS;
    for j in 0..u64::from(weights.end) * NGINX_POINTS {
        let mut hasher = Hasher::new_with_initial(base);
        hasher.update(&point.to_le_bytes());
        point = hasher.finalize();
        if j >= first {
            points.push(u64::from(point) << 32 | index as u64);
        }
    }
}

/// As nginx takes a server's name apart: digits after the last colon are the port.
fn host_and_port(id: &str) -> (&str, &str) {
    if let Some(path) = id.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("unix:")).map(|_| &id[5..]) {
        return (path, "");
    }
    match id.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (id, ""),
    }
}

const NGINX_POINTS: u64 = 160;

#[cfg(feature = "libketama")]
mod libketama {
    use alloc::format;
    use alloc::vec::Vec;

    use md5::{Digest, Md5};

    use crate::members::Members;

    /// At most 160 points a member, so no limit is needed.
    pub(super) fn put_all(points: &mut Vec<u64>, members: &Members) {
        for (index, member) in members.iter().enumerate() {
            // In libketama's own types, to round where it rounds: the share is a float, the product a double, its
            // floor that of a float.
            let share = member.weight() as f32 / members.total_weight() as f32;
            let digests = (f64::from(share) * 40.0 * members.len() as f64) as f32 as u32;
            for k in 0..digests {
                let digest = Md5::digest(format!("{}-{k}", member.id()));
                let words = digest
                    .chunks_exact(4)
                    .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
                points.extend(words.map(|point| u64::from(point) << 32 | index as u64));
            }
        }
    }

    pub(super) fn place(key: &[u8]) -> u32 {
        let digest = Md5::digest(key);
        u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn names_are_taken_apart_as_nginx_does() {
        assert_eq!(host_and_port("127.0.0.1:80"), ("127.0.0.1", "80"));
        assert_eq!(host_and_port("[::1]:80"), ("[::1]", "80"));
        assert_eq!(host_and_port("backend"), ("backend", ""));
        assert_eq!(host_and_port("backend:http"), ("backend:http", ""));
        assert_eq!(host_and_port("UNIX:/run/a:1"), ("/run/a:1", ""));
        assert_eq!(host_and_port("é:1"), ("é", "1"));
    }
}
