//! `evenly status`, `reload`, `drain`, `purge`: a running proxy is asked over its admin listener.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::{Failure, load, println_out, runtime};
use crate::config::{AdminConfig, Config, Listen, Secret};

/// Which running proxy is meant.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// Its file, for [admin] [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its admin listener, instead of a file
    ///
    /// Its token, if it has one, is taken from the environment: EVENLY_ADMIN_TOKEN.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    admin: Option<Listen>,
}

/// Which stored responses go.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct What {
    /// One target, with all its variants
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Every target that begins so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Every response with this Surrogate-Key or Cache-Tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

/// Says how it is; a failure unless requests are welcome. Without an admin listener there is only the one question whether
/// it listens at all.
pub(super) fn status(running: Running) -> Result<(), Failure> {
    let admin = match admin_of(running)? {
        Ok(admin) => admin,
        Err((file, config)) => return is_there(&file, &config.server.listen),
    };
    let status = asked(&admin, "/api/status", None)?;
    if status["error"].is_string() {
        return told(&status);
    }
    describe(&status).iter().for_each(|line| println_out(line));
    match status["ready"].as_bool() {
        Some(true) => Ok(()),
        _ => {
            Err(Failure::Runtime("evenly: not ready: it drains, or a group has nobody in service".to_owned()))
        }
    }
}

fn is_there(file: &Path, place: &Listen) -> Result<(), Failure> {
    let connected = match place {
        Listen::Tcp(address) => std::net::TcpStream::connect_timeout(address, LIMIT).map(drop),
        Listen::Unix(socket) => std::os::unix::net::UnixStream::connect(socket).map(drop),
    };
    match connected {
        Ok(()) => {
            println_out(&format!(
                "it listens on {place}; {} has no [admin] section to ask for more",
                file.display()
            ));
            Ok(())
        }
        Err(error) => Err(Failure::Runtime(format!("evenly: {place}: {error}"))),
    }
}

fn describe(status: &Value) -> Vec<String> {
    let ms = |value: &Value| value.as_f64().map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let percent = |value: &Value| 100.0 * value.as_f64().unwrap_or_default();
    let state = if status["ready"].as_bool() == Some(true) { "ready" } else { "not ready" };
    let mut lines = vec![format!(
        "evenly {} · {state} · {} requests, {} failed, {} in flight · p50 {}, p99 {}",
        status["version"].as_str().unwrap_or_default(),
        status["requests"],
        status["failures"],
        status["in_flight"],
        ms(&status["p50_ms"]),
        ms(&status["p99_ms"]),
    )];
    for group in status["groups"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        lines.push(format!("\n{}, balanced by {}", text(&group["name"]), text(&group["balance"])));
        let members = group["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        let width = members.iter().map(|member| text(&member["id"]).len()).max().unwrap_or_default();
        for member in members {
            let health = match (member["draining"].as_bool(), member["up"].as_bool()) {
                (Some(true), _) => "draining",
                (_, Some(true)) => "up",
                _ => "down",
            };
            lines.push(format!(
                "  {:<width$}  {health:<8}  weight {:>3}  {:>5.1} % of {:>5.1} %  {:>7.1} /s  {:>4} in flight  p50 {}, p99 {}",
                text(&member["id"]),
                member["weight"].as_u64().unwrap_or_default(),
                percent(&member["share"]),
                percent(&member["quota"]),
                member["rate"].as_f64().unwrap_or_default(),
                member["in_flight"].as_u64().unwrap_or_default(),
                ms(&member["p50_ms"]),
                ms(&member["p99_ms"]),
            ));
        }
    }
    lines
}

pub(super) fn reload(running: Running) -> Result<(), Failure> {
    ask(running, "/api/reload", &json!({}))
}

pub(super) fn drain(running: Running, member: &str, undo: bool) -> Result<(), Failure> {
    let verb = if undo { "undrain" } else { "drain" };
    ask(running, "/api/members", &json!({ verb: member }))
}

pub(super) fn purge(running: Running, what: &What) -> Result<(), Failure> {
    let asked = match what {
        What { url: Some(url), .. } => json!({ "url": url }),
        What { prefix: Some(prefix), .. } => json!({ "prefix": prefix }),
        What { tag: Some(tag), .. } => json!({ "tag": tag }),
        What { .. } => json!({ "all": true }),
    };
    ask(running, "/api/purge", &asked)
}

fn ask(running: Running, path: &str, body: &Value) -> Result<(), Failure> {
    let admin = admin_of(running)?.map_err(|(file, _)| {
        let file = file.display();
        Failure::Usage(format!("evenly: {file} has no [admin] section, so nobody listens for this"))
    })?;
    told(&asked(&admin, path, Some(body))?)
}

/// Where to ask; the file and what it says if it has no such place.
fn admin_of(running: Running) -> Result<Result<AdminConfig, (PathBuf, Config)>, Failure> {
    if let Some(listen) = running.admin {
        // Not an argument: those are seen by everybody on the machine.
        let token = std::env::var("EVENLY_ADMIN_TOKEN").ok().map(Secret::from);
        return Ok(Ok(AdminConfig { listen, token }));
    }
    let (file, config) = load(running.config)?;
    Ok(config.admin.clone().ok_or((file, config)))
}

/// The answer to a POST of `body`, or to a GET.
fn asked(admin: &AdminConfig, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    runtime()?.block_on(async {
        let place = admin.listen.to_string();
        match tokio::time::timeout(LIMIT, exchange(admin, path, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::Runtime(format!("evenly: {place}: {error}"))),
            Err(_) => {
                let limit = LIMIT.as_secs();
                Err(Failure::Runtime(format!("evenly: {place}: no answer within {limit} s")))
            }
        }
    })
}

fn told(answer: &Value) -> Result<(), Failure> {
    match (answer["done"].as_str(), answer["error"].as_str()) {
        (Some(done), _) => {
            println_out(done);
            Ok(())
        }
        (None, Some(error)) => Err(Failure::Runtime(format!("evenly: {error}"))),
        (None, None) => Err(Failure::Runtime(format!("evenly: not an answer of evenly: {answer}"))),
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(admin: &AdminConfig, path: &str, body: Option<&Value>) -> Result<Value, Error> {
    // A proxy that was started before its file had the section listens to clients, and to no operator.
    let absent = |error| format!("{error}; was evenly started, and with this [admin]?");
    match &admin.listen {
        Listen::Tcp(address) => {
            send(TcpStream::connect(address).await.map_err(absent)?, admin, path, body).await
        }
        Listen::Unix(socket) => {
            send(UnixStream::connect(socket).await.map_err(absent)?, admin, path, body).await
        }
    }
}

async fn send<S>(stream: S, admin: &AdminConfig, path: &str, body: Option<&Value>) -> Result<Value, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let host = match &admin.listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(_) => "localhost".to_owned(),
    };
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = &admin.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    let body = body.map(ToString::to_string).unwrap_or_default();
    let answer = sender.send_request(request.body(Full::<bytes::Bytes>::from(body))?).await?;
    let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?;
    Ok(serde_json::from_slice(&body.to_bytes())?)
}

const LIMIT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;
