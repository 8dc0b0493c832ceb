use std::io;

use super::{Known, Place, Role};

pub(super) const KNOWN: Known = Known {
    name: "evenly",
    program: "evenly",
    roles: &[Role::Pass, Role::Cache, Role::H2c, Role::Tls],
    is_countable: true,
    arguments,
    environment: &[],
};

fn arguments(place: &Place<'_>) -> io::Result<Vec<String>> {
    let Place { role, port, origin, .. } = place;
    // [server] wants a port of its own: any free one beside the one for TLS.
    let (plain, tls) = match role {
        Role::Tls => {
            let (chain, key) = (place.certificate, place.key);
            let tls = format!("[tls]\nport = \"127.0.0.1:{port}\"\ncertificate = {chain:?}\nkey = {key:?}\n");
            (format!("unix:{}", place.path("plain.sock")), tls)
        }
        _ => (format!("127.0.0.1:{port}"), String::new()),
    };
    let (is_cache, logs) = (*role == Role::Cache, place.path("logs"));
    let text = format!(
        "[server]\nport = \"{plain}\"\nproxy_pass = [\"127.0.0.1:{origin}\"]\ncache = {is_cache}\n\
         access_log = \"combined\"\nlog_path = \"{logs}\"\n{tls}"
    );
    Ok(vec!["run".into(), "--config".into(), place.write("cfg.toml", &text)?])
}
