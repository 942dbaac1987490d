//! A TCP proxy between the program and a server: it can be cut, pointed elsewhere, made slow or silent, or to swallow replies.

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
    /// How long replies are held back, in ms.
    delay_ms: AtomicU64,
    /// Connections that were made before this one are silent.
    silent_before: AtomicU64,
    made: AtomicU64,
    /// What the program calls something, and what the server does: of one length.
    renamed: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Proxy {
    /// A proxy to `target`.
    pub fn to(target: &str) -> Self {
        Self::renaming(target, &[])
    }

    /// A proxy on whose far side things have other names, of the same length.
    pub fn renaming(target: &str, renamed: &[(String, String)]) -> Self {
        assert!(renamed.iter().all(|(here, there)| here.len() == there.len()), "lengths are part of the protocol");
        let bytes = |text: &String| text.clone().into_bytes();
        let renamed = renamed.iter().map(|(here, there)| (bytes(here), bytes(there))).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            target: Mutex::new(target.parse().expect("an address")),
            is_cut: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
            swallow_every: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            swallowed_calls: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            silent_before: AtomicU64::new(0),
            made: AtomicU64::new(0),
            renamed,
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

    /// Holds replies back for a while.
    pub fn delay(&self, time: Duration) {
        self.state.delay_ms.store(time.as_millis() as u64, Ordering::SeqCst);
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
        let mut held = Vec::new();
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            held.extend_from_slice(&buffer[..read]);
            let bytes: Vec<u8> = self.rename(&mut held, is_reply);
            let bytes = bytes.as_slice();
            if number < self.silent_before.load(Ordering::SeqCst) {
                continue;
            }
            if is_reply && self.swallows(bytes) {
                break;
            }
            // A long line takes its time once for what comes in one go.
            if is_reply && read < buffer.len() {
                std::thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// What may be passed on of what is held, with the names of the other side. A name may be cut by the end of what was
    /// read, so as much stays back as could be the beginning of one.
    fn rename(&self, held: &mut Vec<u8>, is_reply: bool) -> Vec<u8> {
        for (here, there) in &self.renamed {
            let (old, new) = if is_reply { (there, here) } else { (here, there) };
            while let Some(at) = held.windows(old.len()).position(|bytes| bytes == old) {
                held[at..at + old.len()].copy_from_slice(new);
            }
        }
        let is_cut = |kept: &usize| {
            let end = &held[held.len() - kept..];
            self.renamed.iter().any(|(here, there)| (if is_reply { there } else { here }).starts_with(end))
        };
        let longest = self.renamed.iter().map(|(here, _)| here.len() - 1).max().unwrap_or(0);
        let kept = (1..=longest.min(held.len())).rev().find(is_cut).unwrap_or(0);
        let end = held.split_off(held.len() - kept);
        std::mem::replace(held, end)
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
