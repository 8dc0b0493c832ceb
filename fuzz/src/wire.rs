//! Whole connections: what our own reader makes of bytes.

use evenly::http_1::{HeadLimits, Inbound, Length, Piece};

/// However the network cuts a connection's bytes, the same requests are read; and what we decided on, written to a member
/// as we would write it, is read there as the same requests again.
pub fn requests(data: &[u8]) {
    let Some((&cut, wire)) = data.split_first() else { return };
    // What is no head is refused when it ends, if not before.
    let wire = [wire, b"\r\n\r\n"].concat();
    let whole = read(&wire, usize::MAX);
    assert_eq!(read(&wire, usize::from(cut % 32) + 1), whole, "cuts");
    let (again, is_refused) = read(&written(&whole.0), usize::MAX);
    assert!(!is_refused, "what we write is beyond doubt");
    assert_eq!(again, whole.0, "a member reads what we decided on");
}

/// A whole request: method, target, fields, body, trailers.
#[derive(Debug, PartialEq)]
struct Request {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_whole: bool,
}

/// The requests in `wire`, which comes in pieces of `size`, and whether something that is none follows.
fn read(wire: &[u8], size: usize) -> (Vec<Request>, bool) {
    let mut inbound = Inbound::new(HeadLimits { len: 16_384, fields: 100 });
    let mut requests: Vec<Request> = Vec::new();
    for piece in wire.chunks(size) {
        inbound.push(piece);
        loop {
            if let Some(last) = requests.last_mut().filter(|last| !last.is_whole) {
                match inbound.piece() {
                    Ok(Piece::Data(data)) => last.body.extend_from_slice(&data),
                    Ok(Piece::End(_)) => last.is_whole = true,
                    Ok(Piece::NeedMore) => break,
                    Err(_) => return (whole(requests), true),
                }
                continue;
            }
            match inbound.head() {
                Ok(Some(head)) => {
                    let is_framing = |name: &str| matches!(name, "content-length" | "transfer-encoding");
                    let fields = head.parts.headers.iter();
                    let fields = fields.filter(|(name, _)| !is_framing(name.as_str()));
                    let mut fields: Vec<_> =
                        fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
                    fields.sort();
                    requests.push(Request {
                        method: head.parts.method.to_string(),
                        target: head.parts.uri.to_string(),
                        fields,
                        body: Vec::new(),
                        is_whole: head.length == Length::Bytes(0),
                    });
                }
                Ok(None) => break,
                Err(_) => return (whole(requests), true),
            }
        }
    }
    (whole(requests), false)
}

/// A request that is cut short never reaches the place where it would be taken for one.
fn whole(mut requests: Vec<Request>) -> Vec<Request> {
    requests.retain(|request| request.is_whole);
    requests
}

/// The requests with framing of our own.
fn written(requests: &[Request]) -> Vec<u8> {
    let mut wire = Vec::new();
    for request in requests {
        wire.extend_from_slice(format!("{} {} HTTP/1.1\r\n", request.method, request.target).as_bytes());
        for (name, value) in &request.fields {
            wire.extend_from_slice(name.as_bytes());
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value);
            wire.extend_from_slice(b"\r\n");
        }
        if !request.body.is_empty() {
            wire.extend_from_slice(format!("content-length: {}\r\n", request.body.len()).as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(&request.body);
    }
    wire
}
