//! A gRPC member on a real socket, and a codec that needs no protoc: messages are bytes.
//!
//! | method | does |
//! |---|---|
//! | `/test.Echo/Say` | answers what was said; to `fail`: status 9 and a trailer `x-why` |
//! | `/test.Echo/Chat` | answers each message as it comes; ends when the client has ended |
//! | `/test.Echo/Watch` | one message, then silence |
//! | anything else | HTTP 200 and the version that was spoken |

#![allow(unreachable_pub, reason = "part of the support, for one test file")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use futures_util::Stream;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tonic::{
    Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
    server::{ServerStreamingService, StreamingService, UnaryService},
    transport::Channel,
};

/// What the member has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub requests: AtomicUsize,
    /// Chats and watches that are going on.
    pub chats: AtomicUsize,
}

/// A running member; gone when dropped.
pub struct GrpcMember {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    /// The number of times it has sent GOAWAY to all.
    leaving: watch::Sender<usize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl GrpcMember {
    /// Speaks HTTP/2 by prior knowledge, and HTTP/1.1 to who begins so.
    pub async fn start() -> GrpcMember {
        Self::start_with(None).await
    }

    /// The same over TLS.
    pub async fn start_with(tls: Option<rustls::ServerConfig>) -> GrpcMember {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let leaving = watch::Sender::new(0);
        let tls = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
        let accepting = tokio::spawn({
            let (seen, leaving) = (Arc::clone(&seen), leaving.clone());
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    seen.connections.fetch_add(1, SeqCst);
                    let (seen, leaving, tls) = (Arc::clone(&seen), leaving.subscribe(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, seen, leaving).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(stream, seen, leaving).await;
                                }
                            }
                        }
                    });
                }
            }
        });
        GrpcMember { address, seen, leaving, accepting }
    }

    /// Tells all connections to go elsewhere; what is under way ends well.
    pub fn go_away(&self) {
        self.leaving.send_modify(|times| *times += 1);
    }
}

impl Drop for GrpcMember {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve<S>(stream: S, seen: Arc<Seen>, mut leaving: watch::Receiver<usize>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let seen = Arc::clone(&seen);
        async move { Ok::<_, Infallible>(answer(request, seen).await) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http2().timer(TokioTimer::new()).max_concurrent_streams(50);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = leaving.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Response<tonic::body::Body> {
    seen.requests.fetch_add(1, SeqCst);
    let mut grpc = tonic::server::Grpc::new(Plain);
    match request.uri().path() {
        "/test.Echo/Say" => grpc.unary(Say, request).await,
        "/test.Echo/Watch" => grpc.server_streaming(Watch(seen), request).await,
        "/test.Echo/Chat" => grpc.streaming(Chat(seen), request).await,
        _ => {
            let said = format!("{:?} te={:?}", request.version(), request.headers().get("te"));
            Response::new(tonic::body::Body::new(http_body_util::Full::from(said)))
        }
    }
}

struct Say;

impl UnaryService<Bytes> for Say {
    type Response = Bytes;
    type Future = std::future::Ready<Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let said = request.into_inner();
        std::future::ready(if said == "fail" {
            let mut status = Status::failed_precondition("not today: 100 % busy");
            status.metadata_mut().insert("x-why", MetadataValue::from_static("because"));
            Err(status)
        } else {
            Ok(tonic::Response::new(said))
        })
    }
}

struct Chat(Arc<Seen>);

impl StreamingService<Bytes> for Chat {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = std::future::Ready<Result<tonic::Response<Answers>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        self.0.chats.fetch_add(1, SeqCst);
        let answers = Answers { said: request.into_inner(), seen: Arc::clone(&self.0) };
        std::future::ready(Ok(tonic::Response::new(answers)))
    }
}

struct Watch(Arc<Seen>);

impl ServerStreamingService<Bytes> for Watch {
    type Response = Bytes;
    type ResponseStream = News;
    type Future = std::future::Ready<Result<tonic::Response<News>, Status>>;

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        self.0.chats.fetch_add(1, SeqCst);
        let news = News { is_told: false, seen: Arc::clone(&self.0) };
        std::future::ready(Ok(tonic::Response::new(news)))
    }
}

pub struct News {
    is_told: bool,
    seen: Arc<Seen>,
}

impl Stream for News {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::replace(&mut self.is_told, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Bytes::from_static(b"news"))))
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.seen.chats.fetch_sub(1, SeqCst);
    }
}

pub struct Answers {
    said: Streaming<Bytes>,
    seen: Arc<Seen>,
}

impl Stream for Answers {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let said = std::task::ready!(Pin::new(&mut self.said).poll_next(cx));
        Poll::Ready(said.map(|said| said.map(|said| Bytes::from([&b"re: "[..], &said].concat()))))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.seen.chats.fetch_sub(1, SeqCst);
    }
}

/// A gRPC client of whoever is at an address.
pub struct GrpcClient(tonic::client::Grpc<Channel>);

impl GrpcClient {
    pub async fn connect(address: SocketAddr) -> GrpcClient {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        GrpcClient(tonic::client::Grpc::new(channel))
    }

    pub fn another(&self) -> GrpcClient {
        GrpcClient(self.0.clone())
    }

    pub async fn say(&mut self, what: &'static str) -> Result<tonic::Response<Bytes>, Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static("/test.Echo/Say");
        self.0.unary(tonic::Request::new(Bytes::from(what)), path, Plain).await
    }

    pub async fn chat<S>(&mut self, said: S) -> Result<Streaming<Bytes>, Status>
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static("/test.Echo/Chat");
        Ok(self.0.streaming(tonic::Request::new(said), path, Plain).await?.into_inner())
    }
}

/// Messages are bytes as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Plain;
    type Decoder = Plain;

    fn encoder(&mut self) -> Plain {
        Plain
    }

    fn decoder(&mut self) -> Plain {
        Plain
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}
