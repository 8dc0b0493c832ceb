//! One connection of a client, from its first byte to its end.
//!
//! ```text
//!   stream ─► HTTP/1 or HTTP/2, by the first bytes ─► serve each request
//!                            │
//!                            └── drain or idle: finish what is under way, say so, close
//! ```

mod farewell;
pub mod http_1;
mod http_2;
mod uptake;

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll, ready},
};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use http::uri::Scheme;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
    time::Instant,
};

use self::farewell::Farewell;
pub(crate) use self::http_1::{RequestBody, Turn};
use crate::{
    admit::client::Peer,
    alarm::Alarm,
    entrance::{Entrance, Ticket},
    filter::Filters,
    observe::Observer,
    serve::{Alive, Client},
    state::State,
    tunnel::Stream,
    upstream::Group,
};

/// What all connections of a proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: ArcSwap<State>,
    /// Held while a configuration is applied.
    pub(crate) applying: Mutex<()>,
    /// The task that looks after the members runs.
    pub(crate) is_tended: AtomicBool,
    pub(crate) observer: Arc<Observer>,
    pub(crate) filters: Filters,
    pub(crate) entrance: Arc<Entrance>,
    /// True once draining. Every listener and connection holds a receiver; when all are gone, all have ended.
    pub(crate) draining: watch::Sender<bool>,
}

impl Shared {
    /// Waits until every name that members are found by has been asked for once: until then nobody can be served.
    pub(crate) async fn settle_names(&self) {
        let state = self.state.load_full();
        let names: Vec<_> = state.names().cloned().collect();
        if !names.is_empty() {
            state.directory.settle(&names, &state.dns).await;
            self.follow_names();
        }
    }

    /// Brings members that are found by name up to date.
    pub(crate) fn follow_names(&self) {
        let _one_at_a_time = self.applying.lock();
        self.state.load().groups().for_each(Group::follow_names);
    }
}

/// Serves a connection to its end. `closing` fails when its listener has ended.
pub(crate) async fn serve_connection(
    shared: Arc<Shared>,
    mut stream: Box<dyn Stream>,
    (address, ticket): (IpAddr, Ticket),
    scheme: Scheme,
    closing: watch::Receiver<()>,
) {
    let (limit, client) = {
        let state = shared.state.load();
        // `alive` tells `Proxy::drained` that this connection is there.
        let client = Client {
            peer: Peer::new(address, &state.admission.trusted),
            scheme,
            filters: Arc::clone(&shared.filters),
            alive: Arc::new(Alive { draining: shared.draining.subscribe(), ticket }),
        };
        (state.timeouts.read, client)
    };
    let observer = Arc::clone(&shared.observer);
    let _open = observer.counters.connection();
    let deadline = Instant::now() + limit;
    let (mut alarm, mut farewell) = (Alarm::new(deadline), Farewell::new(closing));
    let mut first = BytesMut::new();
    let is_gone = poll_fn(|cx| match poll_first(&mut stream, &mut first, cx) {
        Poll::Pending if alarm.poll(deadline, cx).is_ready() || farewell.poll(cx).is_ready() => {
            Poll::Ready(true)
        }
        polled => polled.map(|read| read.is_err()),
    });
    // Gone, or without a word in time.
    if is_gone.await {
        return;
    }
    if first.starts_with(PREFACE) {
        // Boxed: it is large, and would be so for each client of HTTP/1 as well.
        let served =
            Box::pin(http_2::serve_http_2(shared, client, stream, first.freeze(), farewell.into_listener()))
                .await;
        if let Err(error) = served {
            tracing::debug!(client = %address, %error, "connection ended");
        }
        return;
    }
    http_1::Connection::new(shared, client, (stream, first), alarm, farewell).serve().await;
}

/// Reads until it can be told whether the bytes are HTTP/2's, or the client leaves.
fn poll_first(
    stream: &mut (impl AsyncRead + Unpin),
    first: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        // What has come is as large as it is.
        let mut bytes = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        first.extend_from_slice(buffer.filled());
        let has_left = buffer.filled().is_empty();
        if has_left || first.len() >= PREFACE.len() || !PREFACE.starts_with(first) {
            return Poll::Ready(Ok(()));
        }
    }
}

/// How HTTP/2 begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for the head of an ordinary request.
const FIRST_READ: usize = 4096;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_tell_the_protocol() {
        for (sent, is_http_2) in [
            (PREFACE, true),
            (b"POST / HTTP/1.1\r\n", false),
            (b"PRI * HTTP/1.1\r\n", false),
            (b"PR", false),
            (b"", false),
        ] {
            let (mut client, mut server) = tokio::io::duplex(5);
            let sending = tokio::spawn(async move { client.write_all(sent).await });
            let mut first = BytesMut::new();
            poll_fn(|cx| poll_first(&mut server, &mut first, cx)).await.unwrap();
            assert_eq!(first.starts_with(PREFACE), is_http_2);
            assert!(sent.starts_with(&first), "nothing is lost");
            drop(server);
            let _ = sending.await.unwrap();
        }
    }
}
