//! May a request be sent again?
//!
//! A request that failed may have been carried out all the same. It is repeated only when that does no harm: the
//! method is idempotent (RFC 9110 §9.2.2), or nothing of the request reached the member; and only when its body is
//! still there to be sent.

use http::Method;

/// How far a failed attempt got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No connection: the member has seen nothing.
    Nothing,
    /// Something was written; the member may have acted.
    Member,
}

/// Whether a request with `method`, whose body is still whole, may be sent to another member.
pub(crate) fn may_repeat(method: &Method, reached: Reached, attempts_so_far: usize) -> bool {
    attempts_so_far < ATTEMPTS_MAX && (reached == Reached::Nothing || is_idempotent(method))
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}

/// Attempts for one request, the first included.
const ATTEMPTS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_is_never_sent_twice() {
        assert!(may_repeat(&Method::POST, Reached::Nothing, 1));
        assert!(!may_repeat(&Method::POST, Reached::Member, 1));
        assert!(!may_repeat(&Method::PATCH, Reached::Member, 1));
        assert!(may_repeat(&Method::GET, Reached::Member, 1));
        assert!(may_repeat(&Method::PUT, Reached::Member, 1));
    }

    #[test]
    fn attempts_are_limited() {
        assert!(may_repeat(&Method::GET, Reached::Member, ATTEMPTS_MAX - 1));
        assert!(!may_repeat(&Method::GET, Reached::Member, ATTEMPTS_MAX));
    }
}
