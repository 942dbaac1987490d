//! Redis servers of a test's own: primaries and replicas, killed and restarted by their own process ids.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::support::{free_port, wait_until};

/// What a primary is started with: it keeps a log of what it writes.
const OF_PRIMARY: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];

/// One server.
pub struct Node {
    child: Option<Child>,
    /// Its port.
    pub port: u16,
    /// Where its files are.
    pub dir: PathBuf,
    options: Vec<String>,
}

impl Node {
    /// Starts a server with these options.
    pub fn start(options: &[&str]) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("bursar-node-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut node = Self { child: None, port, dir, options: options.iter().map(ToString::to_string).collect() };
        node.start_again();
        node
    }

    /// A primary that keeps a log of what it writes.
    pub fn primary() -> Self {
        Self::start(&OF_PRIMARY)
    }

    /// Makes a primary of a replica, which it stays when it is started again.
    pub fn promote(&mut self) {
        self.command(&["REPLICAOF", "NO", "ONE"]);
        self.command(&["CONFIG", "SET", "appendonly", "yes"]);
        self.options = OF_PRIMARY.iter().map(ToString::to_string).collect();
    }

    /// A replica of what answers at `address`.
    pub fn replica_of(address: &std::net::SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let node = Self::start(&["--save", "", "--replicaof", &host, &port, "--repl-diskless-sync-delay", "0"]);
        wait_until("the replica is in step", || {
            node.info("replication", "master_link_status").as_deref() == Some("up")
        });
        node
    }

    /// Starts it with the files it has.
    pub fn start_again(&mut self) {
        let mut command = Command::new(std::env::var("BURSAR_REDIS_SERVER").as_deref().unwrap_or("redis-server"));
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(&self.dir);
        command.args(&self.options).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server starts"));
        wait_until("Redis answers", || self.try_command(&["PING"]).is_some());
    }

    /// Kills it the hard way.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn try_command(&self, words: &[&str]) -> Option<redis::Value> {
        let client = redis::Client::open(format!("redis://{}", self.address())).expect("an address");
        let mut connection = client.get_connection().ok()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).ok()
    }

    /// Sends a command that must succeed.
    pub fn command(&self, words: &[&str]) -> redis::Value {
        self.try_command(words).unwrap_or_else(|| panic!("Redis refuses {words:?}"))
    }

    /// A line of INFO.
    pub fn info(&self, section: &str, field: &str) -> Option<String> {
        let text: String = redis::from_redis_value(self.try_command(&["INFO", section])?).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
