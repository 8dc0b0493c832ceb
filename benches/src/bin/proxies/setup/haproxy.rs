use std::{fs, io};

use super::{Known, Place, Role};

pub(super) const KNOWN: Known = Known {
    name: "haproxy",
    program: "haproxy",
    roles: &[Role::Pass, Role::Cache, Role::H2c, Role::Tls],
    is_countable: true,
    arguments,
    environment: &[],
};

fn arguments(place: &Place<'_>) -> io::Result<Vec<String>> {
    let Place { role, port, origin, .. } = place;
    let cache = match role {
        Role::Cache => "http-request cache-use c\nhttp-response cache-store c\n",
        _ => "",
    };
    let bind = match role {
        Role::H2c => " proto h2".to_owned(),
        Role::Tls => {
            // It wants both in one file.
            let both = fs::read_to_string(place.certificate)? + &fs::read_to_string(place.key)?;
            format!(" ssl crt {}", place.write("both.pem", &both)?)
        }
        Role::Pass | Role::Cache => String::new(),
    };
    let text = format!(
        "global\nnbthread 1\nmaxconn 9000\n\
         defaults\nmode http\ntimeout connect 2s\ntimeout client 600s\ntimeout server 60s\nhttp-reuse always\noption forwardfor\n\
         cache c\ntotal-max-size 64\nmax-object-size 100000\nmax-age 3600\n\
         frontend f\nbind 127.0.0.1:{port} backlog 4096{bind}\ndefault_backend b\n\
         backend b\n{cache}server s 127.0.0.1:{origin} pool-max-conn 64\n"
    );
    Ok(vec!["-db".into(), "-f".into(), place.write("haproxy.cfg", &text)?])
}
