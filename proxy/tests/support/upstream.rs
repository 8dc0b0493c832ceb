//! An upstream on a real socket. Its paths say what it does:
//!
//! | path | answer |
//! |---|---|
//! | `/delay/MS` | its name, after a while |
//! | `/gate` | its name, once [`Upstream::open_gate`] was called |
//! | `/bytes/N` | N bytes, streamed |
//! | `/status/N` | that status |
//! | `/echo` | the request's body, streamed back |
//! | `/max-age/N` | its name, fresh for N seconds |
//! | `/headers` | the request's head as it arrived |
//! | anything else | its name |

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use super::{eventually, free_port};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// A running upstream; all its connections break when it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    pub name: &'static str,
    hits: Arc<AtomicU64>,
    gate: watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Upstream {
    pub fn start(name: &'static str) -> Upstream {
        Upstream::start_at(name, SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    /// Starts at a given place, as after a restart.
    pub fn start_at(name: &'static str, address: SocketAddr) -> Upstream {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let hits = Arc::new(AtomicU64::new(0));
        let inside = runtime.enter();
        let mut opened = None;
        // The one before it may not have let go yet.
        eventually("the upstream's place is free", || {
            let socket = match address {
                SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
                SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
            };
            let socket = socket.unwrap();
            socket.set_reuseaddr(true).unwrap();
            opened = socket.bind(address).and_then(|()| socket.listen(1024)).ok();
            opened.is_some()
        });
        let listener = opened.unwrap();
        let counted = Arc::clone(&hits);
        let gate = watch::Sender::new(false);
        let to_pass = gate.clone();
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                stream.set_nodelay(true).unwrap();
                let (counted, to_pass) = (Arc::clone(&counted), to_pass.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let is_check =
                            request.headers().get("user-agent").is_some_and(|it| it == "evenly-health-check");
                        counted.fetch_add(u64::from(!is_check), Relaxed);
                        let gate = to_pass.subscribe();
                        async move { Ok::<_, Infallible>(answer(name, request, gate).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        drop(inside);
        Upstream { address, name, hits, gate, runtime: Some(runtime) }
    }

    /// Requests of clients seen since it started; checks are none.
    pub fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }

    /// Connections that are open to it.
    pub fn connections(&self) -> usize {
        let address = self.address.to_string();
        let output = Command::new("ss").args(["-Htn", "state", "established", "dst", &address]).output();
        let output = output.expect("this test needs ss: apt-get install iproute2").stdout;
        String::from_utf8(output).unwrap().lines().count()
    }

    /// Lets the answers to `/gate` go.
    pub fn open_gate(&self) {
        self.gate.send_replace(true);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(
    name: &'static str,
    request: Request<Incoming>,
    mut gate: watch::Receiver<bool>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (verb, argument) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let number: u64 = argument.parse().unwrap_or(0);
    let builder = Response::builder().header("x-backend", name);
    match verb {
        "delay" => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            builder.body(full(name))
        }
        "gate" => {
            // An error means that the upstream ends, and its connections with it.
            let _ = gate.wait_for(|is_open| *is_open).await;
            builder.body(full(name))
        }
        "bytes" => builder.header("content-length", number).body(Zeros { left: number }.boxed_unsync()),
        "status" => builder.status(u16::try_from(number).unwrap()).body(full(name)),
        "echo" => {
            let kind = request.headers().get("content-type").cloned();
            let builder =
                kind.into_iter().fold(builder, |builder, kind| builder.header("content-type", kind));
            builder.body(request.into_body().boxed_unsync())
        }
        "max-age" => builder.header("cache-control", format!("max-age={number}")).body(full(name)),
        "headers" => {
            let line = format!("{} {}\n", request.method(), request.uri());
            let lines = request.headers().iter().map(|(n, v)| format!("{n}: {}\n", v.to_str().unwrap()));
            builder.body(full(&(line + &lines.collect::<String>())))
        }
        _ => builder.body(full(name)),
    }
    .unwrap()
}

fn full(text: &str) -> Body {
    Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed_unsync()
}

/// `left` zero bytes, made as they are asked for.
struct Zeros {
    left: u64,
}

impl hyper::body::Body for Zeros {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        static PIECE: [u8; 65_536] = [0; 65_536];
        let size = self.left.min(PIECE.len() as u64);
        self.left -= size;
        let piece = Bytes::from_static(&PIECE[..size as usize]);
        Poll::Ready((size > 0).then(|| Ok(Frame::data(piece))))
    }
}
