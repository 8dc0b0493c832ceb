//! How each proxy is set up: one worker, one member, no more than is needed for what it is to do.
//!
//! | file | what |
//! |---|---|
//! | `evenly.rs` | everything on: sanitiser, p2c, access log to a file, metrics, timeouts, request ids, health checks |
//! | `nginx.rs` | no access log, or one that is buffered; 64 connections kept to its member; also the member itself |
//! | `haproxy.rs` | one thread, no log |
//! | `varnish.rs` | one pool of threads, no log beside its shared memory; no TLS |
//! | `caddy.rs` | one processor for Go's scheduler, no log; no cache |
//! | `envoy.rs` | one worker, no log; no cache |
//! | `own.rs` | `pingora_proxy` and `hyper_proxy` here: the plainest that those libraries make |

mod caddy;
mod envoy;
mod evenly;
mod haproxy;
mod nginx;
mod own;
mod varnish;

use std::{fs, io, path::Path};

pub(crate) use nginx::origin;

/// What a rival can be asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Each request goes to the member.
    Pass,
    /// Answers are kept.
    Cache,
    /// Like `Pass`, for clients that speak HTTP/2 without TLS.
    H2c,
    /// Like `Pass`, for clients that speak HTTP/1.1 over TLS.
    Tls,
}

/// What a proxy is to be, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) role: Role,
    pub(crate) port: u16,
    pub(crate) origin: u16,
    /// Its own.
    pub(crate) folder: &'a Path,
    /// PEM files: the certificate, and the key.
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
}

impl Place<'_> {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Writes a file of its configuration and says where it is.
    fn write(&self, name: &str, text: &str) -> io::Result<String> {
        fs::write(self.folder.join(name), text)?;
        Ok(self.path(name))
    }
}

/// A proxy as it is known before it is found.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    /// A program to be found, among those of this workspace too.
    pub(crate) program: &'static str,
    pub(crate) roles: &'static [Role],
    /// Whether callgrind can run it.
    pub(crate) is_countable: bool,
    /// Its command line after the program; writes what configuration it needs.
    pub(crate) arguments: fn(&Place<'_>) -> io::Result<Vec<String>>,
    /// Set for it, as `NAME=value`.
    pub(crate) environment: &'static [&'static str],
}

/// All of them; the first is whom the others are compared with.
pub(crate) const KNOWN: [Known; 9] = [
    nginx::QUIET,
    nginx::LOGGING,
    haproxy::KNOWN,
    varnish::KNOWN,
    caddy::KNOWN,
    envoy::KNOWN,
    own::PINGORA,
    own::HYPER,
    evenly::KNOWN,
];
