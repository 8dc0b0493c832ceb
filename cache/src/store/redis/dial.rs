//! Opening one connection: socket, TLS, login, and a first question to see that somebody answers.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
};

use redis::Value;
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
    command::Command,
    config::{RedisConfig, RedisTls},
    login::Login,
    watch::Watch,
    wire::{Driver, Wire},
};
use crate::store::{StoreError, entry::HEADER_LEN};

/// What moves a connection's bytes; it ends when the connection does.
pub(super) type Moving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How to open connections: everything but the address.
pub(super) struct Dialer {
    login: Login,
    tls: Option<Tls>,
    string_max: usize,
}

struct Tls {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl Dialer {
    /// Reads the certificates; a file that is none is a fault of the configuration.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, StoreError> {
        let login =
            Login { user: config.user.clone(), password: config.password.clone(), database: config.database };
        let tls = match &config.tls {
            None => None,
            Some(tls) => Some(Tls::new(tls).map_err(|what| StoreError::Config { what: what.into() })?),
        };
        // A string in a reply is an entry, a key, or a message about them.
        let string_max = config.max_value_bytes.max(4 * config.max_key_bytes) + HEADER_LEN + 1024;
        Ok(Self { login, tls, string_max })
    }

    /// The same with another login and no database: for Sentinels.
    pub(super) fn for_sentinels(
        config: &RedisConfig,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Result<Self, StoreError> {
        let mut dialer = Self::new(config)?;
        let [user, password] = [user, password].map(|word| word.map(str::to_owned));
        dialer.login = Login { user, password, database: 0 };
        Ok(dialer)
    }

    /// Opens a connection to `address`. With an `ear` it speaks RESP3, and what the server says unasked goes there.
    pub(super) async fn dial(
        &self,
        address: &Address,
        ear: Option<Arc<Watch>>,
    ) -> Result<(Wire, Moving), String> {
        let shown = |error: io::Error| error.to_string();
        match (address, &self.tls) {
            (Address::Unix(path), _) => {
                let stream = UnixStream::connect(path).await.map_err(shown)?;
                self.log_in(stream, ear).await
            }
            (Address::Tcp { host, port }, None) => {
                self.log_in(tcp(host, *port).await.map_err(shown)?, ear).await
            }
            (Address::Tcp { host, port }, Some(tls)) => {
                let stream = tcp(host, *port).await.map_err(shown)?;
                let name = tls.server_name.as_ref().unwrap_or(host);
                let name = ServerName::try_from(name.clone())
                    .map_err(|_| format!("{name:?} is no server name for TLS"))?;
                let stream =
                    tls.connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
                self.log_in(stream, ear).await
            }
        }
    }

    async fn log_in<S>(&self, stream: S, ear: Option<Arc<Watch>>) -> Result<(Wire, Moving), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let speaks_resp3 = ear.is_some();
        let (wire, driver) = Driver::new(stream, self.string_max, ear);
        let mut driver: Moving = Box::pin(driver);
        {
            let mut login = pin!(self.login.send(&wire, speaks_resp3));
            tokio::select! {
                outcome = &mut login => outcome?,
                // A server that refuses a login may close the connection with the same breath.
                () = &mut driver => login.await?,
            }
        }
        Ok((wire, driver))
    }
}

/// Asks whether `wire` still pairs questions with their own answers.
pub(super) async fn ping(wire: &Wire, nonce: u64) -> Result<(), String> {
    let nonce = format!("evenly-{nonce:016x}");
    let mut command = Command::new("PING");
    command.arg(&nonce);
    match wire.send(&command).await {
        Ok(Value::BulkString(echo)) if echo == nonce.as_bytes() => Ok(()),
        Ok(Value::ServerError(error)) if error.code() == "NOPERM" => Ok(()),
        Ok(Value::ServerError(error)) if error.code() == "NOAUTH" => {
            Err("it asks for a password, and none was given (NOAUTH)".to_owned())
        }
        Ok(Value::ServerError(error)) => {
            Err(format!("PING: {} {}", error.code(), error.details().unwrap_or("")))
        }
        Ok(_) => Err("PING was answered with something else: replies are out of step".to_owned()),
        Err(broken) => Err(broken.to_string()),
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
