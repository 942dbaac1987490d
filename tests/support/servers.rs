//! Real Kafka and Redis, started once per test program on free ports, and stopped with it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Kafka and Redis as `scripts/servers` starts them.
pub struct Servers {
    /// `host:port` of Kafka; empty if only Redis was asked for.
    pub kafka: String,
    /// The address of Redis.
    pub redis: String,
    /// Where their state is.
    pub dir: PathBuf,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Servers {
    /// The servers that all tests of this program share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A Redis that all tests of this program share.
    pub fn shared_redis() -> &'static Self {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["--only", "redis"]))
    }

    /// Servers of one's own, to be broken.
    pub fn start(options: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("bursar-test-{}-{number}", std::process::id()));
        let mut servers = Self { kafka: String::new(), redis: String::new(), dir };
        servers.start_again(options);
        servers
    }

    /// Starts what does not run, on the same ports and with the same data.
    pub fn start_again(&mut self, options: &[&str]) {
        let watch = std::process::id().to_string();
        let output = self.script("start", &[&["--remove-with", &watch], options].concat());
        for line in output.lines() {
            match line.split_once('=') {
                Some(("KAFKA", address)) => self.kafka = address.to_owned(),
                Some(("REDIS", address)) => self.redis = address.to_owned(),
                _ => {}
            }
        }
    }

    /// The log of a partition.
    pub fn log_of(&self, topic: &str, partition: i32) -> PathBuf {
        let is_log = |path: &PathBuf| path.ends_with(format!("{topic}-{partition}"));
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path());
            let inner: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
            if let Some(found) = inner.iter().find(|path| is_log(path)) {
                return found.join("00000000000000000000.log");
            }
            folders.extend(inner);
        }
        panic!("{topic}/{partition} has no log under {}", self.dir.display())
    }

    /// Kills one of them the hard way, by its own process id.
    pub fn kill(&self, server: &str) {
        let pid = std::fs::read_to_string(self.dir.join(format!("{server}.pid"))).expect("the server has a process id");
        let pid = pid.trim().parse().expect("a process id is a number");
        send_signal("KILL", pid);
        while process_lives(pid) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn script(&self, command: &str, options: &[&str]) -> String {
        let mut script = Command::new(root().join("scripts/servers"));
        script.arg(command).arg("--dir").arg(&self.dir).args(options).stderr(Stdio::inherit());
        let output = script.output().expect("scripts/servers runs");
        assert!(output.status.success(), "scripts/servers {command} failed");
        String::from_utf8(output.stdout).expect("its output is text")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.script("stop", &[]);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Signals one process, by its own id.
pub fn send_signal(signal: &str, pid: u32) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "process {pid} could not be signalled");
}

fn process_lives(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}
