//! Certificates for one test: an authority, a server and a client that it vouches for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

pub struct Certificates {
    pub authority: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    pub client: PathBuf,
    pub client_key: PathBuf,
}

impl Certificates {
    /// PEM files in `folder`; the server's for `localhost`.
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names to be wrong");
        params.distinguished_name.push(DnType::CommonName, "the authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the folder can be written");
            path
        };
        let leaf = |name: &str, host: &str| {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a host name");
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            (
                write(&format!("{name}.pem"), certificate.pem()),
                write(&format!("{name}.key"), key.serialize_pem()),
            )
        };
        let (server, server_key) = leaf("server", "localhost");
        let (client, client_key) = leaf("client", "client");
        Self { authority: write("authority.pem", authority.pem()), server, server_key, client, client_key }
    }

    /// What has a server speak TLS on `port`, also with its replicas and Sentinels; it asks for a client's certificate
    /// if `clients` is `yes`.
    pub fn server_options(&self, port: u16, clients: &str) -> Vec<String> {
        let file = |path: &Path| path.to_str().expect("our folder's name is text").to_owned();
        [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", file(&self.server)),
            ("--tls-key-file", file(&self.server_key)),
            ("--tls-ca-cert-file", file(&self.authority)),
            ("--tls-auth-clients", clients.to_owned()),
            ("--tls-replication", "yes".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    /// What a URL says of them; the name, because the servers are known by address and certified as `localhost`.
    pub fn url_options(&self) -> String {
        let (ca, cert, key) = (self.authority.display(), self.client.display(), self.client_key.display());
        format!("ca={ca}&cert={cert}&key={key}&server_name=localhost")
    }
}
