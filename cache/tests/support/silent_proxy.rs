//! A wire between a client and a server that can be cut without either of them noticing.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

/// Passes bytes on both ways until it is told to be silent. Every connection has two threads, gone when it is dropped.
pub struct SilentProxy {
    address: SocketAddr,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_silent: AtomicBool,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl SilentProxy {
    /// In front of `server`.
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let thread = std::thread::spawn({
            let state = state.clone();
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if state.is_over.load(SeqCst) {
                        return;
                    }
                    let Ok(server) = TcpStream::connect(server) else { continue };
                    for (from, to) in [(&client, &server), (&server, &client)] {
                        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        let _ = to.set_nodelay(true);
                        let state = state.clone();
                        std::thread::spawn(move || pass_on(from, to, &state));
                    }
                    state.streams.lock().unwrap().extend([client, server]);
                }
            }
        });
        Self { address, state, listener: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on both ends wait for each other: nothing is passed on, nothing is closed.
    pub fn fall_silent(&self) {
        self.state.is_silent.store(true, SeqCst);
    }
}

impl Drop for SilentProxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !state.is_silent.load(SeqCst) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    if !state.is_silent.load(SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
}
