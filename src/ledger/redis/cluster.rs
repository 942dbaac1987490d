//! A Redis Cluster: calls go to the primary that has the slot of their key, side by side, and follow slots that move.
//!
//! The cluster connection of the `redis` crate is not used: its pipelines may not span slots, and when a primary failed over
//! under load it waited for itself for ever (seen with release 1.8.1).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, ServerErrorKind, Value, aio::ConnectionManagerConfig, cmd};
use tokio::time::Instant;
use tracing::debug;

use super::{
    CALL_TIMEOUT,
    connection::classify,
    node::{Node, Reply},
    slots::{Slots, slot_of},
};
use crate::ledger::{LedgerError, keys::Keys};

/// How long a node may take to say which slots it believes to be where.
const MAP_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two tries of a call whose slot is on the move.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// A cluster. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    /// How any node is reached, but for its address.
    seed: ConnectionInfo,
    config: ConnectionManagerConfig,
    /// The `host:port` that one always can go back to.
    first: Box<str>,
    /// Slots of the progress keys.
    tags: BTreeSet<u16>,
    slots: Mutex<Arc<Slots>>,
    /// By `host:port`.
    nodes: Mutex<HashMap<Box<str>, Node>>,
}

/// One call that is still to be answered.
struct Errand {
    position: usize,
    /// The node that a moving slot is asked for, instead of the one that has it.
    ask: Option<Box<str>>,
}

/// A node, and whether it is asked for slots that it does not have yet.
type Target = (Box<str>, bool);

/// Calls that no node takes now, and why.
#[derive(Default)]
struct Homeless {
    errands: Vec<Errand>,
    why: String,
}

impl Cluster {
    /// Finds out where the slots are.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if no node answers.
    pub async fn open(seed: ConnectionInfo, config: ConnectionManagerConfig, keys: &Keys) -> Result<Self, LedgerError> {
        let tags = keys.all_progress().iter().map(|key| slot_of(key.as_bytes())).collect();
        let first = seed.addr().to_string().into_boxed_str();
        let (slots, nodes) = (Mutex::default(), Mutex::default());
        let cluster = Self { shared: Arc::new(Shared { seed, config, first, tags, slots, nodes }) };
        cluster.refresh().await?;
        Ok(cluster)
    }

    /// The primaries that have slots, as `host:port`.
    pub fn primaries(&self) -> Vec<Box<str>> {
        self.slots().primaries().into_iter().map(Into::into).collect()
    }

    /// Sends one call to one node, whatever its keys.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn send_to(&self, address: &str, call: &Cmd) -> Result<Value, LedgerError> {
        self.node(address)?.query(call).await
    }

    /// Sends calls and returns a reply for each. Those whose slot is on the move are sent again for a while.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if a connection fails, and then it is not known which calls were executed; or if slots
    /// are on the move for longer than a call may take.
    pub async fn send(&self, calls: &[Cmd]) -> Result<Vec<Reply>, LedgerError> {
        let mut replies: BTreeMap<usize, Reply> = BTreeMap::new();
        let mut left: Vec<Errand> = (0..calls.len()).map(|position| Errand { position, ask: None }).collect();
        let (until, mut pause) = (Instant::now() + CALL_TIMEOUT, PAUSE.0);
        loop {
            let (ready, homeless) = self.route(calls, left);
            let (mut again, mut why) = (Vec::new(), homeless.why);
            for (errand, reply) in self.send_once(calls, ready).await? {
                match self.redirect(&errand, &reply) {
                    None => drop(replies.insert(errand.position, reply)),
                    Some(next) => {
                        why = reply.err().map(|error| error.to_string()).unwrap_or_default();
                        again.push(next);
                    }
                }
            }
            if !homeless.errands.is_empty() {
                self.refresh().await?;
                again.extend(homeless.errands);
            }
            if again.is_empty() {
                return Ok(replies.into_values().collect());
            }
            if Instant::now() >= until {
                return Err(LedgerError::Unavailable(format!("Redis: {why}")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            left = again;
        }
    }

    /// Tells which node each call goes to, and which calls have none.
    fn route(&self, calls: &[Cmd], errands: Vec<Errand>) -> (BTreeMap<Target, Vec<Errand>>, Homeless) {
        let slots = self.slots();
        let with_progress: BTreeSet<&str> = self.shared.tags.iter().filter_map(|tag| slots.owner(*tag)).collect();
        let (mut ready, mut homeless) = (BTreeMap::<Target, Vec<Errand>>::new(), Homeless::default());
        for errand in errands {
            let slot = slot_of(key_of(&calls[errand.position]));
            match errand.ask.as_deref().or_else(|| slots.owner(slot)) {
                Some(address) if with_progress.contains(address) => {
                    ready.entry((address.into(), errand.ask.is_some())).or_default().push(errand);
                }
                owner => {
                    homeless.why = match owner {
                        Some(owner) => self.lacks_progress(owner),
                        None => format!("no node serves slot {slot}"),
                    };
                    homeless.errands.push(Errand { position: errand.position, ask: None });
                }
            }
        }
        (ready, homeless)
    }

    /// What a primary loses that holds no progress would not be noticed, so nothing is written there.
    fn lacks_progress(&self, address: &str) -> String {
        let tags: Vec<String> = self.shared.tags.iter().take(8).map(ToString::to_string).collect();
        format!(
            "{address} has slots, but none of those that progress is kept in, so what it loses could not be noticed. If this \
             lasts, move one of them there (slots {}, ...)",
            tags.join(", ")
        )
    }

    /// Sends each call once, all primaries side by side.
    async fn send_once(
        &self,
        calls: &[Cmd],
        ready: BTreeMap<Target, Vec<Errand>>,
    ) -> Result<Vec<(Errand, Reply)>, LedgerError> {
        let sent = ready.into_iter().map(|(target, errands)| self.pipeline_to(calls, target, errands));
        let mut answered = Vec::with_capacity(calls.len());
        for of_node in join_all(sent).await {
            match of_node {
                Ok(of_node) => answered.extend(of_node),
                Err(error) => {
                    // Another node may serve its slots by now.
                    self.refresh().await?;
                    return Err(error);
                }
            }
        }
        Ok(answered)
    }

    /// Sends calls to one node, each after an `ASKING` if it `asks` for slots that the node does not have yet.
    async fn pipeline_to(
        &self,
        calls: &[Cmd],
        (address, asks): Target,
        errands: Vec<Errand>,
    ) -> Result<Vec<(Errand, Reply)>, LedgerError> {
        let node = self.node(&address)?;
        let calls = errands.iter().map(|errand| calls[errand.position].clone());
        let replies = if asks {
            // Pairs: pipelines are cut at even places, so that none is torn.
            let replies = node.pipeline(calls.flat_map(|call| [cmd("ASKING"), call]).collect()).await?;
            replies.into_iter().skip(1).step_by(2).collect()
        } else {
            node.pipeline(calls.collect()).await?
        };
        Ok(errands.into_iter().zip(replies).collect())
    }

    /// Where a call goes next that was not executed; `None` if the reply is an answer.
    fn redirect(&self, errand: &Errand, reply: &Reply) -> Option<Errand> {
        let error = reply.as_ref().err()?;
        let again = |ask| Some(Errand { position: errand.position, ask });
        match error.kind() {
            redis::ErrorKind::Server(ServerErrorKind::Moved) => {
                let (address, slot) = error.redirect_node()?;
                let address = Slots::address_beside(&self.shared.first, address);
                let mut slots = hold(&self.shared.slots);
                *slots = Arc::new(slots.with(slot, &address));
                again(None)
            }
            redis::ErrorKind::Server(ServerErrorKind::Ask) => {
                again(Some(Slots::address_beside(&self.shared.first, error.redirect_node()?.0)))
            }
            redis::ErrorKind::Server(ServerErrorKind::TryAgain) => again(errand.ask.clone()),
            // While nodes agree on who takes over, all of them refuse.
            redis::ErrorKind::Server(ServerErrorKind::ClusterDown) => again(None),
            _ => None,
        }
    }

    fn slots(&self) -> Arc<Slots> {
        Arc::clone(&hold(&self.shared.slots))
    }

    fn node(&self, address: &str) -> Result<Node, LedgerError> {
        let mut nodes = hold(&self.shared.nodes);
        if let Some(node) = nodes.get(address) {
            return Ok(node.clone());
        }
        let info = info_of(&self.shared.seed, address)?;
        let client = redis::Client::open(info).map_err(|error| classify(&error))?;
        let node = Node::new(client, self.shared.config.clone())?;
        nodes.insert(address.into(), node.clone());
        Ok(node)
    }

    /// Asks all nodes where the slots are, and believes the one that knows of the newest change.
    async fn refresh(&self) -> Result<(), LedgerError> {
        self.node(&self.shared.first)?;
        let nodes = hold(&self.shared.nodes).clone();
        let asked = nodes.into_iter().map(|(address, node)| async move {
            tokio::time::timeout(MAP_TIMEOUT, ask_for_slots(&address, node)).await.ok()?.ok()
        });
        let newest = join_all(asked).await.into_iter().flatten().max_by_key(|(epochs, _)| *epochs);
        let Some(((epoch, _), slots)) = newest else {
            return Err(LedgerError::Unavailable("Redis: no node of the cluster says where the slots are".to_owned()));
        };
        let known: BTreeSet<&str> = slots.nodes().collect();
        let is_known = |address: &str| known.contains(address) || address == &*self.shared.first;
        hold(&self.shared.nodes).retain(|address, _| is_known(address));
        for address in &known {
            self.node(address)?;
        }
        debug!(epoch, primaries = slots.primaries().len(), "where the slots of the cluster are");
        *hold(&self.shared.slots) = Arc::new(slots);
        Ok(())
    }
}

/// Where the slots are in the eyes of one node; the epochs of the newest change that it knows of, and of its own.
async fn ask_for_slots(address: &str, node: Node) -> Result<((u64, u64), Slots), LedgerError> {
    let ask = |what: &str| {
        let mut ask = cmd("CLUSTER");
        ask.arg(what);
        ask
    };
    let mut replies = node.pipeline(vec![ask("INFO"), ask("SLOTS")]).await?.into_iter();
    let mut next = || replies.next().and_then(Result::ok).unwrap_or(Value::Nil);
    let info: String = redis::from_redis_value(next()).unwrap_or_default();
    let epoch = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    // Who made the newest change has the newest epoch for its own.
    let epochs = epoch("cluster_current_epoch:").zip(epoch("cluster_my_epoch:"));
    let told = epochs.zip(Slots::read(address, next()));
    told.ok_or_else(|| LedgerError::Unavailable(format!("Redis: {address} does not say where the slots are")))
}

/// Whoever panics with the lock leaves what is behind it whole.
fn hold<T>(behind: &Mutex<T>) -> MutexGuard<'_, T> {
    behind.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a node is reached: as the first one, but elsewhere.
fn info_of(seed: &ConnectionInfo, address: &str) -> Result<ConnectionInfo, LedgerError> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().map_err(|_| LedgerError::Misconfigured(format!("{address:?} is no address of a node")))?;
    let elsewhere = match seed.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    Ok(seed.clone().set_addr(elsewhere))
}

/// The key that a call goes by: the first one. Only `bursar bench` asks for `MEMORY USAGE`.
fn key_of(call: &Cmd) -> &[u8] {
    let word = |position| match call.args_iter().nth(position) {
        Some(redis::Arg::Simple(word)) => word,
        _ => &[],
    };
    match word(0) {
        b"FCALL" => word(3),
        b"MEMORY" => word(2),
        _ => word(1),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::connection::seed_of, info_of};

    /// No node is reached by Nagle's algorithm, which would make a commit wait for an acknowledgement of its first part.
    #[test]
    fn what_is_written_to_a_node_goes_out_at_once() {
        let check = |url: &str, address: &str| {
            let seed = seed_of(url).expect("it is an address");
            let node = info_of(&seed, address).expect("it is an address");
            assert!(seed.tcp_settings().nodelay() && node.tcp_settings().nodelay(), "{url} {address}");
        };
        check("redis://localhost", "127.0.0.1:7000");
        check("redis://user:secret@localhost:6379/0", "[::1]:7000");
        check("rediss://redis.example.com:6380", "10.0.0.7:6380");
    }
}
