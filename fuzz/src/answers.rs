//! What others answer us: members in HTTP/1.1, Redis in its protocol.

use std::io;

use bytes::Bytes;
use cache::store::replies_in;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header::CONNECTION};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::{Builder, Runtime},
    task::yield_now,
};

/// What our client takes for a member's answer does not depend on how the network cuts it, and hyper's, where it takes it
/// too, reads the same status, fields and body.
pub fn answers(data: &[u8]) {
    let Some((&[method, cut], wire)) = data.split_first_chunk() else { return };
    let method = [Method::GET, Method::HEAD][usize::from(method % 2)].clone();
    RUNTIME.with(|runtime| {
        let ours = |size| runtime.block_on(ours(wire, size, &method));
        let whole = ours(wire.len().max(1));
        let cut = ours(wire.len() / 8 + usize::from(cut % 16) + 1);
        assert_eq!(cut.is_ok(), whole.is_ok(), "{cut:?} {whole:?}");
        let Ok(answer) = whole else { return };
        assert_eq!(cut.ok().as_ref(), Some(&answer));
        if let Ok(theirs) = runtime.block_on(hypers(wire, &method)) {
            assert_eq!(passed_on(answer), passed_on(theirs));
        }
    });
}

/// However they are cut, the same replies come out of the bytes; and the client library alone, which believes every size,
/// reads the same.
pub fn replies(data: &[u8]) {
    let Some((&piece, wire)) = data.split_first() else { return };
    let whole = replies_in(wire, usize::MAX, STRING_MAX);
    assert_eq!(replies_in(wire, usize::from(piece) + 1, STRING_MAX), whole);
    let (mut parser, mut rest) = (redis::Parser::new(), wire);
    for reply in whole.unwrap_or_default() {
        assert_eq!(parser.parse_value(&mut rest).ok(), Some(reply));
    }
}

type Answer = (StatusCode, HeaderMap, Vec<u8>);

/// Without the lines that only say whether the connection stays: ours may have understood them on the way, and they end there.
fn passed_on((status, mut headers, body): Answer) -> Answer {
    let is_all = |line: &HeaderValue| {
        [b"close".as_slice(), b"keep-alive"].iter().any(|word| line.as_bytes().eq_ignore_ascii_case(word))
    };
    let others = headers.get_all(CONNECTION).iter().filter(|line| !is_all(line)).cloned();
    let others: Vec<HeaderValue> = others.collect();
    headers.remove(CONNECTION);
    others.into_iter().for_each(|line| {
        headers.append(CONNECTION, line);
    });
    (status, headers, body)
}

async fn ours(wire: &[u8], size: usize, method: &Method) -> Result<Answer, String> {
    let (member, client) = UnixStream::pair().map_err(|error| error.to_string())?;
    let asked = async { evenly::ask(client, method).await.map_err(|error| error.to_string()) };
    // A client that has given up has closed.
    let (_, answer) = tokio::join!(answer(member, wire, size), asked);
    answer
}

async fn hypers(wire: &[u8], method: &Method) -> hyper::Result<Answer> {
    let (member, client) = tokio::io::duplex(64 << 10);
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await?;
    let asked = async move {
        let request = Request::builder().method(method).uri("/").header("host", "a.test");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok((head.status, head.headers, body.collect().await?.to_bytes().into()))
    };
    let (_, _, answer) = tokio::join!(answer(member, wire, wire.len().max(1)), connection, asked);
    answer
}

/// Waits for the request, sends `wire` in pieces, and closes.
async fn answer(
    mut member: impl AsyncReadExt + AsyncWriteExt + Unpin,
    wire: &[u8],
    size: usize,
) -> io::Result<()> {
    let (mut seen, mut piece) = (Vec::new(), [0; 1024]);
    while !seen.ends_with(b"\r\n\r\n") {
        let len = member.read(&mut piece).await?;
        if len == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&piece[..len]);
    }
    for piece in wire.chunks(size) {
        member.write_all(piece).await?;
        yield_now().await;
    }
    member.shutdown().await
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
}
const STRING_MAX: usize = 4096;
