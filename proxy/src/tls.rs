//! TLS on both sides, by rustls.
//!
//! ```text
//!   client ── ClientHello: a.test, h2 ──► certificate by name, ALPN h2 or http/1.1 ──► the same connection as without
//!   proxy  ── https://member ──► verified with the platform's roots, or the authorities of `ca`
//! ```
//!
//! Which certificate a client gets is decided by the names inside the certificates; a client that names none, or an
//! unknown one, gets the first. A reload takes effect with the next handshake.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, verify_server_name},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::config::{ClientTlsConfig, Listen, TlsConfig};

/// A listener's side: where it stands and what it shows.
#[derive(Debug)]
pub(crate) struct ServerTls {
    pub(crate) listen: Listen,
    pub(crate) config: Arc<ServerConfig>,
}

impl ServerTls {
    pub(crate) fn build(config: &TlsConfig) -> Result<Self, TlsError> {
        Ok(Self { listen: config.listen.clone(), config: server(config)? })
    }
}

/// What a listener needs to answer handshakes.
fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut keys = Vec::new();
    for pair in &config.certificates {
        keys.push(Arc::new(certified_key(&provider, &pair.certificate, &pair.key)?));
    }
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(Path::new(""), error))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates { keys }));
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// What connections to members need.
#[derive(Debug, Clone)]
pub(crate) struct MemberTls {
    /// For HTTP/1.1 only.
    pub(crate) one: Arc<ClientConfig>,
    /// Offers HTTP/2 as well; absent when it is not wanted.
    pub(crate) either: Option<Arc<ClientConfig>>,
}

impl MemberTls {
    pub(crate) fn build(config: &ClientTlsConfig) -> Result<Self, TlsError> {
        let one = client(config)?;
        let either = config.http2.then(|| {
            let mut either = one.clone();
            either.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            // A session resumed is one of the same protocol.
            either.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
            Arc::new(either)
        });
        Ok(Self { one: Arc::new(one), either })
    }
}

fn client(config: &ClientTlsConfig) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| TlsError::new(file, error))?;
            }
        }
        // A root that cannot be read is one authority less: who is signed by it will not be believed.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(Path::new(""), error))?
        .with_root_certificates(roots);
    let client = match &config.identity {
        Some(pair) => builder
            .with_client_auth_cert(certificates(&pair.certificate)?, private_key(&pair.key)?)
            .map_err(|error| TlsError::new(&pair.certificate, error))?,
        None => builder.with_no_client_auth(),
    };
    Ok(client)
}

/// The name that a member's certificate must bear.
pub(crate) fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(io::Error::other)
}

/// The certificates of a listener.
#[derive(Debug)]
struct Certificates {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            self.keys.iter().find(|key| bears(key, &name))
        });
        named.or(self.keys.first()).cloned()
    }
}

fn bears(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().ok().and_then(|it| ParsedCertificate::try_from(it).ok());
    parsed.is_some_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

fn certified_key(provider: &CryptoProvider, chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let certified = CertifiedKey::from_der(certificates(chain)?, private_key(key)?, provider);
    certified.map_err(|error| TlsError::new(chain, error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| TlsError::new(file, error))?.collect();
    let chain = chain.map_err(|error| TlsError::new(file, error))?;
    if chain.is_empty() { Err(TlsError::new(file, "no certificate in it")) } else { Ok(chain) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| TlsError::new(file, error))
}

/// Members whose TLS sessions are remembered.
const SESSIONS_MAX: usize = 256;

/// A file that TLS needs and cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    file: PathBuf,
    why: String,
}

impl TlsError {
    fn new(file: &Path, why: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.why)
    }
}

impl std::error::Error for TlsError {}
