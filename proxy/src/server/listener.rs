//! A place where clients connect: opened, taken over from somebody else, shared by workers, accepted from.

use std::{io, net::IpAddr, os::fd::AsFd as _, path::Path};

use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use super::ACCEPT_PAUSE;
use crate::{config::Listen, workers::Seat};

/// An open listener.
#[derive(Debug)]
pub enum Listener {
    /// IPv4, IPv6 or both.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

pub(super) enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Accepted {
    /// The same stream in another event loop.
    pub(super) fn move_to(self, seat: &Seat) -> io::Result<Accepted> {
        let _entered = seat.handle().enter();
        Ok(match self {
            Accepted::Tcp(stream) => Accepted::Tcp(tokio::net::TcpStream::from_std(stream.into_std()?)?),
            Accepted::Unix(stream) => Accepted::Unix(tokio::net::UnixStream::from_std(stream.into_std()?)?),
        })
    }
}

impl Listener {
    /// Opens the place that the configuration names.
    ///
    /// # Errors
    /// When the place is taken, not ours, or not there.
    pub fn bind(place: &Listen) -> io::Result<Listener> {
        match place {
            Listen::Unix(path) => bind_unix(path).map(Listener::Unix),
            Listen::Tcp(address) => bind_tcp(*address).map(Listener::Tcp),
        }
    }

    /// Opens the place as soon as nobody else has it.
    pub(crate) async fn bind_once_free(place: &Listen) -> Listener {
        loop {
            match Listener::bind(place) {
                Ok(listener) => return listener,
                Err(error) => tracing::debug!(%error, listen = %place, "still waiting"),
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    /// Takes over the sockets that systemd, or another process that follows its protocol, has opened for us
    /// (`LISTEN_FDS`). They stay open while one process hands over to the next, so nobody is refused.
    ///
    /// # Errors
    /// When one of them is neither a TCP nor a Unix listener.
    pub fn inherited() -> io::Result<Vec<Listener>> {
        let mut passed = listenfd::ListenFd::from_env();
        let mut listeners = Vec::new();
        for at in 0..passed.len() {
            let listener = match passed.take_tcp_listener(at) {
                Ok(Some(tcp)) => {
                    tcp.set_nonblocking(true)?;
                    Listener::Tcp(TcpListener::from_std(tcp)?)
                }
                _ => match passed.take_unix_listener(at)? {
                    Some(unix) => {
                        unix.set_nonblocking(true)?;
                        Listener::Unix(UnixListener::from_std(unix)?)
                    }
                    None => continue,
                },
            };
            listeners.push(listener);
        }
        Ok(listeners)
    }

    /// Whether it listens at `place`.
    #[must_use]
    pub fn stands_at(&self, place: &Listen) -> bool {
        match (self, place) {
            (Listener::Tcp(listener), Listen::Tcp(wanted)) => listener.local_addr().is_ok_and(|found| {
                // 0.0.0.0 stands for every address too, where the machine has no IPv6.
                found == *wanted
                    || found.port() == wanted.port()
                        && found.ip().is_unspecified()
                        && wanted.ip().is_unspecified()
            }),
            (Listener::Unix(listener), Listen::Unix(wanted)) => {
                listener.local_addr().is_ok_and(|found| found.as_pathname() == Some(wanted))
            }
            _ => false,
        }
    }

    /// The same socket in the event loop of `seat`.
    pub(crate) fn share_with(&self, seat: &Seat) -> io::Result<Listener> {
        let _entered = seat.handle().enter();
        Ok(match self {
            Listener::Tcp(listener) => {
                let same = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
                Listener::Tcp(TcpListener::from_std(same)?)
            }
            Listener::Unix(listener) => {
                let same = std::os::unix::net::UnixListener::from(listener.as_fd().try_clone_to_owned()?);
                Listener::Unix(UnixListener::from_std(same)?)
            }
        })
    }

    /// What is accepted here sends at once. Linux hands the wish on to each connection, which saves a system call for each.
    pub(super) fn send_at_once(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) if HANDS_ON => SockRef::from(listener).set_tcp_nodelay(true),
            Listener::Tcp(_) | Listener::Unix(_) => Ok(()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Accepted, IpAddr)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                if !HANDS_ON {
                    stream.set_nodelay(true)?;
                }
                Ok((Accepted::Tcp(stream), address.ip().to_canonical()))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Unix(stream), IpAddr::from([127, 0, 0, 1])))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Listener::Tcp(listener)
    }
}

/// A socket file that nobody listens at any more was left behind by a process that was killed: it is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let asked = std::os::unix::net::UnixStream::connect(path);
            if !asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let is_any = address.ip() == IpAddr::from([0u16; 8]);
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // ":8080" means every address of both families; of one, where the machine has no IPv6.
        Err(_) if is_any => return bind_tcp(([0u8; 4], address.port()).into()),
        made => made?,
    };
    if is_any {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The client left between its handshake and our accept.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput)
}

const BACKLOG: i32 = 4096;
/// Whether options of a listener are those of its connections.
const HANDS_ON: bool = cfg!(target_os = "linux");

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_sends_at_once() {
        let listener = Listener::from(TcpListener::bind("127.0.0.1:0").await.unwrap());
        listener.send_at_once().unwrap();
        let Listener::Tcp(tcp) = &listener else { unreachable!("it was made of one") };
        let _client = tokio::net::TcpStream::connect(tcp.local_addr().unwrap()).await.unwrap();
        let (Accepted::Tcp(stream), _) = listener.accept().await.unwrap() else { unreachable!("it is TCP") };
        assert!(stream.nodelay().unwrap());
    }
}
