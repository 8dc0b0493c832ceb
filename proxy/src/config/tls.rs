//! The keys of `[tls]` and `[upstream_tls]`.

use std::path::PathBuf;

use toml::Spanned;

use super::{Listen, reader::Section};

/// `[tls]`: a listener that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// `port`
    pub listen: Listen,
    /// `certificate` and `key`, and those of `[[tls.more]]`. The first is for clients that name no host.
    pub certificates: Vec<CertificateFiles>,
    /// `redirect`: requests without TLS are sent here.
    pub redirect: bool,
    /// `proxy_protocol`: trusted peers say first who connected to them.
    pub proxy_protocol: bool,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the host's own certificate first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// `[upstream_tls]`: how `https://` members are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTlsConfig {
    /// `ca`: PEM file of the authorities; the platform's when absent.
    pub ca: Option<PathBuf>,
    /// `certificate` and `key`: what members may ask for.
    pub identity: Option<CertificateFiles>,
    /// `http2`: whether members may choose HTTP/2.
    pub http2: bool,
}

impl Default for ClientTlsConfig {
    fn default() -> Self {
        ClientTlsConfig { ca: None, identity: None, http2: true }
    }
}

pub(super) fn read_tls(mut tls: Section<'_, '_>) -> Option<TlsConfig> {
    let listen = tls.parsed("port", "\":8443\", \"127.0.0.1:8443\", \"[::1]:8443\" or \"unix:/path\"");
    let mut certificates: Vec<CertificateFiles> = read_files(&mut tls).into_iter().collect();
    for mut more in tls.sections("more") {
        certificates.extend(read_files(&mut more));
        more.finish();
    }
    let redirect = tls.boolean("redirect").unwrap_or(false);
    let proxy_protocol = tls.boolean("proxy_protocol").unwrap_or(false);
    let place = tls.place("port").unwrap_or(Spanned::new(0..0, ()));
    if listen.is_none() || certificates.is_empty() {
        let help = "port = \":8443\", certificate = \"chain.pem\", key = \"key.pem\"";
        tls.fault(&place, "[tls] needs port, certificate and key", Some(help.to_owned()));
    }
    tls.finish();
    Some(TlsConfig { listen: listen?, certificates, redirect, proxy_protocol })
}

pub(super) fn read_client_tls(mut tls: Section<'_, '_>) -> ClientTlsConfig {
    let ca = tls.string("ca").map(|file| file.into_inner().into());
    let identity = read_files(&mut tls);
    let http2 = tls.boolean("http2").unwrap_or(ClientTlsConfig::default().http2);
    tls.finish();
    ClientTlsConfig { ca, identity, http2 }
}

fn read_files(section: &mut Section<'_, '_>) -> Option<CertificateFiles> {
    let (certificate, key) = (section.string("certificate"), section.string("key"));
    if let (Some(alone), None) | (None, Some(alone)) = (&certificate, &key) {
        section.fault(alone, "certificate and key go together", None);
    }
    Some(CertificateFiles { certificate: certificate?.into_inner().into(), key: key?.into_inner().into() })
}
