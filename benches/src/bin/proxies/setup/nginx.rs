use std::{fs, io, path::Path};

use super::{Known, Place, Role};
use crate::{
    process::{Process, free_ports},
    rival::Running,
};

pub(super) const QUIET: Known = Known {
    name: "nginx",
    program: "nginx",
    roles: &[Role::Pass, Role::Cache, Role::H2c, Role::Tls],
    is_countable: true,
    arguments: |place| arguments(place, "off"),
    environment: &[],
};

pub(super) const LOGGING: Known = Known {
    name: "nginx-log",
    arguments: |place| arguments(place, "access.log combined buffer=64k flush=1s"),
    ..QUIET
};

fn arguments(place: &Place<'_>, log: &str) -> io::Result<Vec<String>> {
    let Place { role, port, origin, .. } = place;
    let folder = place.folder.display();
    let listen = match role {
        Role::H2c => " http2",
        Role::Tls => " ssl",
        Role::Pass | Role::Cache => "",
    };
    let tls = match role {
        Role::Tls => format!(
            "ssl_certificate {}; ssl_certificate_key {};",
            place.certificate.display(),
            place.key.display()
        ),
        _ => String::new(),
    };
    let cache = if *role == Role::Cache { "proxy_cache c; proxy_cache_lock on;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {folder}/{what};\n"))
        .concat();
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/pid;\n\
         events {{ worker_connections 15000; }}\n\
         http {{\n{temporary}access_log {log};\nkeepalive_requests 1000000000; keepalive_timeout 600;\n\
         client_body_buffer_size 64k;\n\
         proxy_cache_path {folder}/cache keys_zone=c:10m;\n\
         upstream m {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096{listen}; {tls}\n\
         location / {{ proxy_pass http://m; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; {cache} }} }}\n}}\n"
    );
    let conf = place.write("nginx.conf", &text)?;
    Ok(["-p", &place.path(""), "-e", &place.path("error.log"), "-c", &conf].map(str::to_owned).into())
}

/// The member: nginx on core 1.
///
/// # Errors
/// When it does not start.
pub(crate) fn origin(folder: &Path) -> io::Result<Running> {
    let folder = folder.join("origin");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("10k"), vec![b'x'; 10 << 10])?;
    fs::write(folder.join("1m"), vec![b'x'; 1 << 20])?;
    let [port] = free_ports()?;
    let place = |name: &str| folder.join(name).display().to_string();
    let small = "x".repeat(1024);
    let conf = format!(
        "daemon off; master_process off; worker_processes 1; pid {0}/pid;\n\
         events {{ worker_connections 15000; }}\n\
         http {{\naccess_log off; sendfile on; tcp_nopush on; open_file_cache max=10; client_max_body_size 100m;\n\
         keepalive_requests 1000000000; keepalive_timeout 600; add_header Cache-Control max-age=3600;\n\
         client_body_temp_path {0}/b; client_body_buffer_size 64k;\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; root {0};\n\
         location = /1k {{ return 200 {small}; }} location = /post {{ return 200 ok; }} }}\n}}\n",
        folder.display()
    );
    fs::write(folder.join("nginx.conf"), conf)?;
    let own =
        ["nginx", "-p", &place(""), "-e", &place("error.log"), "-c", &place("nginx.conf")].map(str::to_owned);
    Ok(Running { process: Process::start(&own, 1, &[port], &folder.join("said"))?, port })
}
