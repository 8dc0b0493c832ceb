//! Pieces of a large body that are never in our memory: from the member's socket into a pipe, and out of it into the client's.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body as _;
use tokio::net::TcpStream;

use super::{Broken, Coding, Outbound};
use crate::{
    body::{Body, BodyError},
    observe::Observed,
    pipe::Piped,
};

impl Outbound {
    /// Takes the next piece of `body` by way of a pipe; false where it is to be had by [`Outbound::fill`].
    pub(in crate::connection::http_1) fn pipe(
        &mut self,
        body: &mut Observed<Body>,
        cx: &mut Context<'_>,
    ) -> Result<bool, Broken<BodyError>> {
        let Coding::Length(left) = self.coding else { return Ok(false) };
        if self.is_ended || self.piped.is_some() || !self.large.is_empty() {
            return Ok(self.piped.is_some());
        }
        let piped = match body.poll_piped(cx) {
            Poll::Ready(None) => return Ok(false),
            Poll::Ready(Some(piped)) => piped.map_err(Broken::Body)?,
            Poll::Pending => {
                self.is_starved = true;
                return Ok(true);
            }
        };
        self.is_starved = false;
        self.coding = Coding::Length(left.checked_sub(piped.len() as u64).ok_or(Broken::Length)?);
        self.piped = Some(piped);
        if body.is_end_stream() {
            self.end(None)?;
        }
        Ok(true)
    }

    /// Gives the socket what lies in a pipe, once the rest is written.
    pub(in crate::connection::http_1) fn poll_drain_pipe(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(piped) = &mut self.piped {
            match ready!(piped.poll_into(socket, cx)) {
                Ok(count) => self.written += count as u64,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    // Written when we are asked again.
                    self.large = self.piped.take().map_or(Ok(Bytes::new()), Piped::into_memory)?;
                    break;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            self.piped.take_if(|piped| piped.is_empty());
        }
        Poll::Ready(Ok(()))
    }
}
