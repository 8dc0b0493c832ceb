//! gRPC and HTTP/2 from end to end: a real client (tonic), the proxy, a real member.

mod support;

#[path = "support/grpc.rs"]
mod grpc;

use std::{fs, sync::atomic::Ordering::SeqCst, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use grpc::{GrpcClient, GrpcMember};
use support::Evenly;
use tokio::sync::mpsc;
use tonic::Code;

fn before(member: &GrpcMember, rest: &str) -> Evenly {
    Evenly::start(&format!("proxy_pass = [\"h2://{}\"]", member.address), rest)
}

/// What is sent to it, as a stream of messages.
fn messages() -> (mpsc::UnboundedSender<Bytes>, impl futures_util::Stream<Item = Bytes> + Send) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    (sender, futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("not in 30 s: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_its_answer_its_status_and_its_trailers() {
    let member = GrpcMember::start().await;
    let evenly = before(&member, "");
    let mut client = GrpcClient::connect(evenly.address).await;
    assert_eq!(client.say("hello").await.unwrap().into_inner(), "hello");
    let status = client.say("fail").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not today: 100 % busy"));
    assert_eq!(status.metadata().get("x-why").unwrap(), "because");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_talk_at_the_same_time() {
    let member = GrpcMember::start().await;
    let evenly = before(&member, "");
    let mut client = GrpcClient::connect(evenly.address).await;
    let (say, said) = messages();
    let mut answers = client.chat(said).await.unwrap();
    for n in 0..50 {
        say.send(Bytes::from(format!("{n}"))).unwrap();
        // The next is said when this one is answered: nothing waits for the end of either side.
        assert_eq!(answers.message().await.unwrap().unwrap(), format!("re: {n}"));
    }
    drop(say);
    assert!(answers.message().await.unwrap().is_none());
    assert!(answers.trailers().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_be_silent_in_a_conversation() {
    let member = GrpcMember::start().await;
    let evenly = Evenly::start(
        &format!(
            "proxy_pass = [\"h2://{}\"]\nhttp_read_timeout = 1\nresponse_timeout = 3600",
            member.address
        ),
        "",
    );
    let mut client = GrpcClient::connect(evenly.address).await;
    let (say, said) = messages();
    let mut answers = client.chat(said).await.unwrap();
    say.send(Bytes::from("a")).unwrap();
    answers.message().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    say.send(Bytes::from("b")).unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap(), "re: b");
}

/// A request by the frames of HTTP/2, so that it can be reset.
async fn begin(evenly: &Evenly, path: &str, ended: bool) -> (h2::SendStream<Bytes>, h2::RecvStream) {
    let stream = tokio::net::TcpStream::connect(evenly.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut client = client.ready().await.unwrap();
    let (response, mut sending) = client.send_request(request.body(()).unwrap(), false).unwrap();
    sending.send_data(Bytes::from_static(b"\0\0\0\0\x01a"), ended).unwrap();
    let answer = response.await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut answer = answer.into_body();
    assert!(answer.data().await.unwrap().unwrap().len() > 5);
    (sending, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_felt_by_the_member() {
    let member = GrpcMember::start().await;
    let evenly = before(&member, "");
    for (path, ended) in [("/test.Echo/Chat", false), ("/test.Echo/Watch", true)] {
        let (mut sending, _answer) = begin(&evenly, path, ended).await;
        assert_eq!(member.seen.chats.load(SeqCst), 1);
        sending.send_reset(h2::Reason::CANCEL);
        let what = format!("the member's side of {path} is over");
        eventually(&what, || member.seen.chats.load(SeqCst) == 0).await;
    }
    // Others on the same connection to the member feel nothing.
    let mut client = GrpcClient::connect(evenly.address).await;
    assert_eq!(client.say("hello").await.unwrap().into_inner(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_connections_up_to_a_limit() {
    let member = GrpcMember::start().await;
    let evenly = before(&member, "[queue]\nmax_streams = 20\n[health]\ncheck = \"off\"");
    let client = GrpcClient::connect(evenly.address).await;
    let mut chats = Vec::new();
    for _ in 0..60 {
        let (say, said) = messages();
        let mut answers = client.another().chat(said).await.unwrap();
        say.send(Bytes::from("x")).unwrap();
        answers.message().await.unwrap().unwrap();
        chats.push((say, answers));
    }
    assert_eq!(member.seen.connections.load(SeqCst), 3);
    chats.clear();
    eventually("all chats are over", || member.seen.chats.load(SeqCst) == 0).await;
    let calls = (0..200).map(|_| {
        let mut client = client.another();
        async move { client.say("hello").await.unwrap() }
    });
    let answers: Vec<_> = futures_util::stream::iter(calls).buffer_unordered(40).collect().await;
    assert_eq!(answers.len(), 200);
    assert!(member.seen.connections.load(SeqCst) <= 4, "{:?}", member.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_goes_away_is_asked_on_a_new_connection() {
    let member = GrpcMember::start().await;
    let evenly = before(&member, "[health]\ncheck = \"off\"");
    let mut client = GrpcClient::connect(evenly.address).await;
    let (say, said) = messages();
    let mut under_way = client.another().chat(said).await.unwrap();
    for round in 0..10 {
        // gRPC calls are POST: only what was surely not seen is sent again.
        assert_eq!(client.say("hello").await.unwrap().into_inner(), "hello", "round {round}");
        member.go_away();
    }
    assert!(member.seen.connections.load(SeqCst) > 1);
    say.send(Bytes::from("still here?")).unwrap();
    assert_eq!(under_way.message().await.unwrap().unwrap(), "re: still here?");
}

/// A certificate of 127.0.0.1, and a server that offers `protocols` with it.
fn tls(folder: &std::path::Path, protocols: &[&str]) -> (String, rustls::ServerConfig) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let ca = folder.join("ca.pem");
    fs::write(&ca, made.cert.pem()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (format!("[upstream_tls]\nca = {:?}\n", ca.display().to_string()), server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_behind_tls_chooses() {
    for (offered, more, expected) in [
        (&["h2", "http/1.1"][..], "", "HTTP/2.0"),
        (&["http/1.1"], "", "HTTP/1.1"),
        (&[], "", "HTTP/1.1"),
        (&["h2", "http/1.1"], "http2 = false", "HTTP/1.1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (trust, server) = tls(folder.path(), offered);
        let member = GrpcMember::start_with(Some(server)).await;
        let pass = format!("proxy_pass = [\"https://{}\"]", member.address);
        let evenly = Evenly::start(&pass, &format!("{trust}{more}\n[health]\ncheck = \"off\""));
        // One client, so one worker: each has connections of its own.
        let mut asking = evenly.client();
        for _ in 0..3 {
            let reply = tokio::task::block_in_place(|| asking.get("/version"));
            assert!(reply.text().starts_with(expected), "{offered:?} {more}: {}", reply.text());
        }
        assert_eq!(member.seen.connections.load(SeqCst), 1, "{offered:?} {more}");
        if expected == "HTTP/2.0" {
            let mut client = GrpcClient::connect(evenly.address).await;
            assert_eq!(client.say("hello").await.unwrap().into_inner(), "hello");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_asked_over_http_2_as_well() {
    let member = GrpcMember::start().await;
    let evenly = before(&member, "[health]\npath = \"/up\"\nbody = \"HTTP/2.0\"");
    eventually("a check", || member.seen.requests.load(SeqCst) > 1).await;
    let mut client = GrpcClient::connect(evenly.address).await;
    assert_eq!(client.say("hello").await.unwrap().into_inner(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_proxy_says_itself_is_understood_as_well() {
    let nobody = support::free_port();
    let evenly = Evenly::start(&format!("proxy_pass = [\"h2://127.0.0.1:{nobody}\"]"), "");
    let mut client = GrpcClient::connect(evenly.address).await;
    let status = client.say("hello").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "503 Service Unavailable"));
}
