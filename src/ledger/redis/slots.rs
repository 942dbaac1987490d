//! Where the slots of a cluster are.

use crc::{CRC_16_XMODEM, Crc};
use redis::{FromRedisValue, Value};

/// The slots of every cluster.
const SLOTS: u16 = 16_384;

/// What slots are hashed with.
const HASH: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// No node has the slot.
const NOBODY: u16 = u16::MAX;

/// Which primary has which slot.
#[derive(Clone, Default)]
pub struct Slots {
    nodes: Vec<Box<str>>,
    /// By slot: a position in `nodes`, or [`NOBODY`].
    owners: Vec<u16>,
}

/// The slot of a key, by its hash tag if it has one
/// ([cluster specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags)).
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|length| *length > 0).map(|length| &rest[..length])
    });
    HASH.checksum(tag.unwrap_or(key)) % SLOTS
}

impl Slots {
    /// Reads the answer to `CLUSTER SLOTS` of the node at `address`; `None` if it is none.
    pub fn read(address: &str, reply: Value) -> Option<Self> {
        let mut slots = Self { nodes: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)] };
        let Value::Array(ranges) = reply else { return None };
        for range in ranges {
            let Value::Array(parts) = range else { return None };
            let mut parts = parts.into_iter();
            let (first, last) =
                (u16::from_redis_value(parts.next()?).ok()?, u16::from_redis_value(parts.next()?).ok()?);
            let nodes: Option<Vec<u16>> = parts.map(|node| slots.note_node(address, node)).collect();
            let primary = *nodes?.first()?;
            slots.owners.get_mut(usize::from(first)..=usize::from(last))?.fill(primary);
        }
        Some(slots)
    }

    /// The position of a node, from the pieces that it is told in: host, port, and more.
    fn note_node(&mut self, asked: &str, node: Value) -> Option<u16> {
        let Value::Array(parts) = node else { return None };
        let mut parts = parts.into_iter();
        // A node that does not know its own name leaves it out.
        let host: Option<String> = Option::from_redis_value(parts.next()?).ok()?;
        let port = u16::from_redis_value(parts.next()?).ok()?;
        let address = Self::address_beside(asked, &format!("{}:{port}", host.unwrap_or_default()));
        self.position_of(&address)
    }

    fn position_of(&mut self, address: &str) -> Option<u16> {
        let known = self.nodes.iter().position(|node| **node == *address);
        let position = known.unwrap_or_else(|| {
            self.nodes.push(address.into());
            self.nodes.len() - 1
        });
        u16::try_from(position).ok()
    }

    /// `host:port` of a node as another one names it, which leaves the host out if it is its own.
    pub fn address_beside(asked: &str, named: &str) -> Box<str> {
        let own_host = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
        if named.starts_with(':') { format!("{own_host}{named}").into() } else { named.into() }
    }

    /// The `host:port` of the primary that has a slot.
    pub fn owner(&self, slot: u16) -> Option<&str> {
        let position = self.owners.get(usize::from(slot))?;
        self.nodes.get(usize::from(*position)).map(|node| &**node)
    }

    /// The same, but that a slot is elsewhere.
    pub fn with(&self, slot: u16, address: &str) -> Self {
        let mut slots = self.clone();
        if let (Some(position), Some(owner)) = (slots.position_of(address), slots.owners.get_mut(usize::from(slot))) {
            *owner = position;
        }
        slots
    }

    /// Every node, primaries and replicas.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| &**node)
    }

    /// The primaries that have slots.
    pub fn primaries(&self) -> Vec<&str> {
        let has_slots = |position: usize| self.owners.iter().any(|owner| usize::from(*owner) == position);
        self.nodes.iter().enumerate().filter(|(position, _)| has_slots(*position)).map(|(_, node)| &**node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_follows_from_the_hash_tag() {
        // As `CLUSTER KEYSLOT` of Redis 7 says.
        for (key, slot) in
            [("123456789", 12_739), ("b:{user1000}:account", 3_443), ("foo{}{bar}", 8_363), ("foo{{bar}}zap", 4_015)]
        {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn slots_are_read_and_moved() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::SimpleString("id".into())]);
        let named = Value::BulkString(b"10.0.0.1".to_vec());
        let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let reply = Value::Array(vec![range(0, 9, node(named, 1)), range(10, 16_382, node(Value::Nil, 2))]);
        let slots = Slots::read("here:7", reply).expect("an answer");
        assert_eq!((slots.owner(9), slots.owner(10), slots.owner(16_383)), (Some("10.0.0.1:1"), Some("here:2"), None));
        let moved = slots.with(9, "10.0.0.3:3");
        assert_eq!((moved.owner(8), moved.owner(9)), (Some("10.0.0.1:1"), Some("10.0.0.3:3")));
        assert_eq!(moved.primaries(), ["10.0.0.1:1", "here:2", "10.0.0.3:3"]);
        assert!(Slots::read("here:7", Value::Okay).is_none());
    }
}
