//! How each proxy is set up: one worker, one member, no more than is needed for what it is to do.
//!
//! | name | what |
//! |---|---|
//! | `evenly` | everything on: sanitiser, p2c, access log to a file, metrics, timeouts, request ids, health checks |
//! | `nginx` | no access log, 64 connections kept to its member |
//! | `nginx-log` | the same with an access log, buffered |
//! | `haproxy` | one thread, no log |
//! | `hyper` | `hyper_proxy.rs` here: hyper's server and hyper-util's client, nothing else |

use std::{fs, io, path::Path};

use crate::process::{Process, free_ports};

/// A proxy to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Rival {
    /// What tables call it.
    pub(crate) name: String,
    kind: Kind,
    program: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Evenly,
    Nginx { logs: bool },
    Haproxy,
    Hyper,
}

/// What a rival can be asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Each request goes to the member.
    Pass,
    /// Answers are kept.
    Cache,
    /// Like `Pass`, for clients that speak HTTP/2 without TLS.
    H2c,
}

/// A rival at work.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Rival {
    /// The rivals there are; `evenly` and `hyper` are the programs of those two.
    pub(crate) fn all(evenly: &str, hyper: &str) -> Vec<Rival> {
        [
            ("nginx", Kind::Nginx { logs: false }, "nginx"),
            ("nginx-log", Kind::Nginx { logs: true }, "nginx"),
            ("haproxy", Kind::Haproxy, "haproxy"),
            ("hyper", Kind::Hyper, hyper),
            ("evenly", Kind::Evenly, evenly),
        ]
        .map(|(name, kind, program)| Rival { name: name.to_owned(), kind, program: program.to_owned() })
        .into()
    }

    /// Another build of evenly, for a comparison of before and after.
    pub(crate) fn other_evenly(name: &str, program: &str) -> Rival {
        Rival { name: name.to_owned(), kind: Kind::Evenly, program: program.to_owned() }
    }

    /// Whether it can be what is asked.
    pub(crate) fn plays(&self, role: Role) -> bool {
        role != Role::Cache || self.kind != Kind::Hyper
    }

    /// Starts it on core 0 before the member at `origin`, under `wrapper` if there is one.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(
        &self,
        role: Role,
        origin: u16,
        folder: &Path,
        wrapper: &[String],
    ) -> io::Result<Running> {
        let folder = folder.join(format!("{}-{role:?}", self.name));
        fs::create_dir_all(&folder)?;
        let [port] = free_ports()?;
        let place = |name: &str| folder.join(name).display().to_string();
        let own: Vec<String> = match self.kind {
            Kind::Evenly => {
                fs::write(folder.join("cfg.toml"), evenly(port, origin, role, &place("logs")))?;
                vec!["run".into(), "--config".into(), place("cfg.toml")]
            }
            Kind::Nginx { logs } => {
                fs::write(folder.join("nginx.conf"), nginx(port, origin, role, &folder, logs))?;
                vec![
                    "-p".into(),
                    place(""),
                    "-e".into(),
                    place("error.log"),
                    "-c".into(),
                    place("nginx.conf"),
                ]
            }
            Kind::Haproxy => {
                fs::write(folder.join("haproxy.cfg"), haproxy(port, origin, role))?;
                vec!["-db".into(), "-f".into(), place("haproxy.cfg")]
            }
            Kind::Hyper => vec![port.to_string(), origin.to_string()],
        };
        let program: Vec<String> = wrapper.iter().cloned().chain([self.program.clone()]).chain(own).collect();
        Ok(Running { process: Process::start(&program, 0, &[port], &folder.join("said"))?, port })
    }
}

fn evenly(port: u16, origin: u16, role: Role, logs: &str) -> String {
    let is_cache = role == Role::Cache;
    format!(
        "[server]\nport = \"127.0.0.1:{port}\"\nproxy_pass = [\"127.0.0.1:{origin}\"]\ncache = {is_cache}\n\
         access_log = \"combined\"\nlog_path = \"{logs}\"\n"
    )
}

fn nginx(port: u16, origin: u16, role: Role, folder: &Path, logs: bool) -> String {
    let log = if logs { "access.log combined buffer=64k flush=1s" } else { "off" };
    let h2 = if role == Role::H2c { " http2" } else { "" };
    let cache = if role == Role::Cache { "proxy_cache c; proxy_cache_lock on;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {}/{what};\n", folder.display()))
        .concat();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {0}/pid;\n\
         events {{ worker_connections 15000; }}\n\
         http {{\n{temporary}access_log {log};\nkeepalive_requests 1000000000; keepalive_timeout 600;\n\
         client_body_buffer_size 64k;\n\
         proxy_cache_path {0}/cache keys_zone=c:10m;\n\
         upstream m {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096{h2};\n\
         location / {{ proxy_pass http://m; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; {cache} }} }}\n}}\n",
        folder.display()
    )
}

fn haproxy(port: u16, origin: u16, role: Role) -> String {
    let cache =
        if role == Role::Cache { "http-request cache-use c\nhttp-response cache-store c\n" } else { "" };
    let proto = if role == Role::H2c { " proto h2" } else { "" };
    format!(
        "global\nnbthread 1\nmaxconn 9000\n\
         defaults\nmode http\ntimeout connect 2s\ntimeout client 600s\ntimeout server 60s\nhttp-reuse always\noption forwardfor\n\
         cache c\ntotal-max-size 64\nmax-object-size 100000\nmax-age 3600\n\
         frontend f\nbind 127.0.0.1:{port} backlog 4096{proto}\ndefault_backend b\n\
         backend b\n{cache}server s 127.0.0.1:{origin} pool-max-conn 64\n"
    )
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
