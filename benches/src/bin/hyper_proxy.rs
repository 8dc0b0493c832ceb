//! The plainest proxy that hyper makes: its server, hyper-util's pooled client, hop-by-hop fields removed, and no more.
//! `hyper_proxy PORT ORIGIN_PORT`; one thread.

use std::{convert::Infallible, net::Ipv4Addr};

use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Request, Response, Uri, body::Bytes, body::Incoming, header::HeaderName, service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::TcpListener;

type Origin = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Full<Bytes>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let ports: Vec<u16> = std::env::args().skip(1).filter_map(|port| port.parse().ok()).collect();
    let [port, origin] = ports[..] else {
        return Err(std::io::Error::other("usage: hyper_proxy PORT ORIGIN_PORT"));
    };
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Origin = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| forward(client.clone(), origin, request));
            // A client that breaks off is its own affair.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn forward(client: Origin, origin: u16, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let to = format!("http://127.0.0.1:{origin}{path}").parse::<Uri>();
    let answer = match to {
        Ok(to) => {
            *request.uri_mut() = to;
            *request.version_mut() = hyper::Version::HTTP_11;
            strip(request.headers_mut());
            client.request(request).await.ok()
        }
        Err(_) => None,
    };
    Ok(match answer {
        Some(mut answer) => {
            strip(answer.headers_mut());
            answer.map(Either::Left)
        }
        None => {
            let mut refused = Response::new(Either::Right(Full::default()));
            *refused.status_mut() = hyper::StatusCode::BAD_GATEWAY;
            refused
        }
    })
}

fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [HeaderName; 4] =
    [hyper::header::CONNECTION, hyper::header::TE, hyper::header::TRANSFER_ENCODING, hyper::header::UPGRADE];
