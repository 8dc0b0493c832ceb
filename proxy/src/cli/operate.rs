//! `evenly reload`, `drain`, `purge`: a running proxy is asked over its admin listener.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::{Failure, load, println_out, runtime};
use crate::config::{AdminConfig, Listen};

/// Which running proxy is meant.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// Its file, for [admin] [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its admin listener, instead of a file
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
    let admin = match running.admin {
        Some(listen) => AdminConfig { listen, token: None },
        None => {
            let (file, config) = load(running.config)?;
            config.admin.ok_or_else(|| {
                let file = file.display();
                Failure::Usage(format!("evenly: {file} has no [admin] section, so nobody listens for this"))
            })?
        }
    };
    runtime()?.block_on(async {
        let place = admin.listen.to_string();
        match tokio::time::timeout(LIMIT, exchange(&admin, path, body)).await {
            Ok(Ok(answer)) => told(&answer),
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

async fn exchange(admin: &AdminConfig, path: &str, body: &Value) -> Result<Value, Error> {
    match &admin.listen {
        Listen::Tcp(address) => send(TcpStream::connect(address).await?, admin, path, body).await,
        Listen::Unix(socket) => send(UnixStream::connect(socket).await?, admin, path, body).await,
    }
}

async fn send<S>(stream: S, admin: &AdminConfig, path: &str, body: &Value) -> Result<Value, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let host = match &admin.listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(_) => "localhost".to_owned(),
    };
    let mut request =
        Request::post(path).header(header::HOST, host).header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = &admin.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    let answer = sender.send_request(request.body(Full::<bytes::Bytes>::from(body.to_string()))?).await?;
    let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?;
    Ok(serde_json::from_slice(&body.to_bytes())?)
}

const LIMIT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;
