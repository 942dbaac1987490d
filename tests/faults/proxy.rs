//! A TCP proxy between the program and a server: it can be cut, pointed elsewhere, made silent, or to swallow replies.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A proxy that listens on a port of its own.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    target: Mutex<SocketAddr>,
    is_cut: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    /// Every so many-th reply with whole numbers is swallowed; 0 is none.
    swallow_every: AtomicU64,
    replies: AtomicU64,
    swallowed_calls: AtomicU64,
    /// Connections that were made before this one are silent.
    silent_before: AtomicU64,
    made: AtomicU64,
}

impl Proxy {
    /// A proxy to `target`.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            target: Mutex::new(target.parse().expect("an address")),
            is_cut: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
            swallow_every: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            swallowed_calls: AtomicU64::new(0),
            silent_before: AtomicU64::new(0),
            made: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.serve(client);
            }
        });
        Self { address, state }
    }

    /// Cuts every connection, and refuses new ones.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.state.close_all();
    }

    /// Cuts every connection, and takes new ones only after a while.
    pub fn cut_for(&self, time: Duration) {
        self.cut();
        std::thread::sleep(time);
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// From now on leads elsewhere; what was connected is cut.
    pub fn lead_to(&self, target: &str) {
        *self.state.target.lock().expect("nobody panics") = target.parse().expect("an address");
        self.state.close_all();
    }

    /// On the connections that there are nothing is passed on any more, and they stay open.
    pub fn silence(&self) {
        self.state.silent_before.store(self.state.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Swallows every so many-th reply of calls that answer with whole numbers, as commits do, and cuts its connection.
    pub fn swallow_every(&self, nth: u64) {
        self.state.swallow_every.store(nth, Ordering::SeqCst);
    }

    /// How many calls were done whose replies were swallowed.
    pub fn swallowed_calls(&self) -> u64 {
        self.state.swallowed_calls.load(Ordering::SeqCst)
    }
}

impl State {
    fn close_all(&self) {
        for connection in self.connections.lock().expect("nobody panics").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn serve(self: &Arc<Self>, client: TcpStream) {
        let target = *self.target.lock().expect("nobody panics");
        if self.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(target) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let both = || [&client, &server].map(|stream| stream.try_clone().expect("a stream can be shared"));
        self.connections.lock().expect("nobody panics").extend(both());
        for is_reply in [false, true] {
            let ([client, server], state) = (both(), Arc::clone(self));
            std::thread::spawn(move || {
                let (from, to) = if is_reply { (server, client) } else { (client, server) };
                state.pump(from, to, is_reply, number);
            });
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, is_reply: bool, number: u64) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..read];
            if number < self.silent_before.load(Ordering::SeqCst) {
                continue;
            }
            if is_reply && self.swallows(bytes) {
                break;
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn swallows(&self, reply: &[u8]) -> bool {
        let calls = reply.windows(4).filter(|bytes| bytes == b":1\r\n").count() as u64;
        let every = self.swallow_every.load(Ordering::SeqCst);
        if calls == 0 || every == 0 || !self.replies.fetch_add(1, Ordering::SeqCst).is_multiple_of(every) {
            return false;
        }
        self.swallowed_calls.fetch_add(calls, Ordering::SeqCst);
        true
    }
}
