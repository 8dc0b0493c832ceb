//! Opening one connection: socket, TLS, login, and a first question to see that somebody answers.

use std::{future::Future, io, pin::Pin, sync::Arc};

use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::{
    address::Address,
    config::{RedisConfig, RedisTls},
    cork::{self, Corked},
    frames::Framed,
};
use crate::store::{StoreError, entry::HEADER_LEN};

/// What moves a connection's bytes; it ends when the connection does.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How to open connections: everything but the address.
pub(super) struct Dialer {
    login: RedisConnectionInfo,
    tls: Option<Tls>,
    bulk_max: usize,
}

struct Tls {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl Dialer {
    /// Reads the certificates; a file that is none is a fault of the configuration.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, StoreError> {
        let mut login = RedisConnectionInfo::default()
            .set_db(i64::from(config.database))
            .set_lib_name("evenly", env!("CARGO_PKG_VERSION"));
        if let Some(password) = &config.password {
            login = login.set_password(password);
        }
        if let Some(user) = &config.user {
            login = login.set_username(user);
        }
        let tls = match &config.tls {
            None => None,
            Some(tls) => Some(Tls::new(tls).map_err(|what| StoreError::Config { what: what.into() })?),
        };
        // A string in a reply is an entry, a key, or a message about them.
        let bulk_max = config.max_value_bytes.max(4 * config.max_key_bytes) + HEADER_LEN + 1024;
        Ok(Self { login, tls, bulk_max })
    }

    /// The same with another login and no database: for Sentinels.
    pub(super) fn for_sentinels(
        config: &RedisConfig,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Result<Self, StoreError> {
        let mut dialer = Self::new(config)?;
        dialer.login = RedisConnectionInfo::default().set_lib_name("evenly", env!("CARGO_PKG_VERSION"));
        if let Some(password) = password {
            dialer.login = dialer.login.set_password(password);
        }
        if let Some(user) = user {
            dialer.login = dialer.login.set_username(user);
        }
        Ok(dialer)
    }

    /// Opens a connection to `address`. With `pushes` it speaks RESP3, and what the server says unasked goes there.
    pub(super) async fn dial(
        &self,
        address: &Address,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<(MultiplexedConnection, Driver), String> {
        let shown = |error: io::Error| error.to_string();
        match (address, &self.tls) {
            (Address::Unix(path), _) => {
                let stream = UnixStream::connect(path).await.map_err(shown)?;
                self.log_in(stream, pushes).await
            }
            (Address::Tcp { host, port }, None) => {
                self.log_in(tcp(host, *port).await.map_err(shown)?, pushes).await
            }
            (Address::Tcp { host, port }, Some(tls)) => {
                let stream = tcp(host, *port).await.map_err(shown)?;
                let name = tls.server_name.as_ref().unwrap_or(host);
                let name = ServerName::try_from(name.clone())
                    .map_err(|_| format!("{name:?} is no server name for TLS"))?;
                let stream =
                    tls.connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
                self.log_in(stream, pushes).await
            }
        }
    }

    async fn log_in<S>(
        &self,
        stream: S,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<(MultiplexedConnection, Driver), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut login = self.login.clone();
        // Time limits are ours (`Node::send`): one deadline from the caller's first word to the answer's last.
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(QUEUED_MAX)
            .set_write_backpressure_boundary(WRITE_MAX);
        if let Some(pushes) = pushes {
            login = login.set_protocol(ProtocolVersion::RESP3);
            config = config.set_push_sender(Pushes(pushes));
        }
        let stream = Framed::new(Corked::new(stream), self.bulk_max);
        let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config)
            .await
            .map_err(|error| self.login_fault(&error))?;
        Ok((connection, Box::pin(driver)))
    }

    /// What is wrong with a login, in words that say what to change.
    fn login_fault(&self, error: &RedisError) -> String {
        if error.kind() != ErrorKind::AuthenticationFailed {
            return error.to_string();
        }
        let user = self.login.username().unwrap_or("default");
        format!("the login as user {user:?} is refused: wrong password, or no such user (WRONGPASS)")
    }
}

struct Pushes(Arc<dyn AsyncPushSender>);

impl AsyncPushSender for Pushes {
    fn send(&self, info: redis::PushInfo) -> Result<(), redis::aio::SendError> {
        self.0.send(info)
    }
}

/// Asks whether `connection` still pairs questions with their own answers.
pub(super) async fn ping(connection: &mut MultiplexedConnection, nonce: u64) -> Result<(), String> {
    let nonce = format!("evenly-{nonce:016x}");
    let mut command = redis::cmd("PING");
    command.arg(&nonce);
    match connection.send_packed_command(&command).await {
        Ok(Value::BulkString(echo)) if echo == nonce.as_bytes() => Ok(()),
        Ok(Value::ServerError(error)) if error.code() == "NOPERM" => Ok(()),
        Ok(Value::ServerError(error)) if error.code() == "NOAUTH" => {
            Err("it asks for a password, and none was given (NOAUTH)".to_owned())
        }
        Ok(Value::ServerError(error)) => {
            Err(format!("PING: {} {}", error.code(), error.details().unwrap_or("")))
        }
        Ok(_) => Err("PING was answered with something else: replies are out of step".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Tls {
    fn new(tls: &RedisTls) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?
            .with_root_certificates(roots(tls)?);
        let config = match &tls.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let fault = |error: rustls::pki_types::pem::Error| format!("{}: {error}", key.display());
                let key = PrivateKeyDer::from_pem_file(key).map_err(fault)?;
                builder
                    .with_client_auth_cert(certificates(chain)?, key)
                    .map_err(|error| format!("{}: {error}", chain.display()))?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server_name: tls.server_name.clone() })
    }
}

fn roots(tls: &RedisTls) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
        None => {
            // Some systems carry a root that does not parse; the others are still good.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("this system has no trusted roots for TLS; name a CA file".to_owned());
            }
        }
    }
    Ok(roots)
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    if certificates.is_empty() {
        return Err(format!("{}: no certificate inside", file.display()));
    }
    Ok(certificates)
}

/// Requests handed to a connection's task and not yet written; more wait with their callers.
const QUEUED_MAX: usize = 1024;
/// Bytes gathered before no more are taken until some are written.
const WRITE_MAX: usize = 4 * cork::ENOUGH;
