use std::io;

use super::{Known, Place, Role};

pub(super) const KNOWN: Known = Known {
    name: "caddy",
    program: "caddy",
    roles: &[Role::Pass, Role::H2c, Role::Tls],
    is_countable: false,
    arguments,
    environment: &["GOMAXPROCS=1"],
};

fn arguments(place: &Place<'_>) -> io::Result<Vec<String>> {
    let Place { role, port, origin, .. } = place;
    let (scheme, tls) = match role {
        Role::Tls => {
            let (chain, key) = (place.certificate.display(), place.key.display());
            ("https", format!("tls {chain} {key}\n"))
        }
        _ => ("http", String::new()),
    };
    let state = place.path("state");
    let text = format!(
        "{{\nadmin off\nauto_https off\nstorage file_system {state}\nservers {{\nprotocols h1 h2 h2c\n}}\n}}\n\
         {scheme}://127.0.0.1:{port} {{\nbind 127.0.0.1\n{tls}\
         reverse_proxy 127.0.0.1:{origin} {{\ntransport http {{\nkeepalive_idle_conns_per_host 64\n}}\n}}\n}}\n"
    );
    Ok(["run", "--adapter", "caddyfile", "--config", &place.write("Caddyfile", &text)?]
        .map(str::to_owned)
        .into())
}
