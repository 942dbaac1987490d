//! The size that a name may have, and the fingerprints that tell one event from another.

use arrayvec::ArrayVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::time::Timestamp;

/// The longest identifier, in bytes, that is accepted anywhere: organization, workspace, agent, user, event id.
pub const ID_BYTES_MAX: usize = 256;

/// What makes an event itself: 64 bits over organization, source, id and event time. A resend carries all four
/// unchanged (design section 3, "Event ids").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// 16 bits over the fields that decide the charge: the same fingerprint with another content is *seen*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentCheck(pub u16);

/// What the ids of an account know an event by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    /// Which event.
    pub fingerprint: Fingerprint,
    /// With which content.
    pub check: ContentCheck,
}

/// Room for what is hashed of most events, on the stack.
const HASHED_BYTES: usize = 192;

/// The fingerprint of an event. Stable for ever: stored ids are compared with it after upgrades.
pub fn fingerprint(organization: &str, source: &str, id: &str, event_time: Timestamp) -> Fingerprint {
    let lengths = [organization, source, id].map(|part| (part.len() as u64).to_le_bytes());
    // The length goes first, so that ("ab", "c") and ("a", "bc") differ.
    let parts: [&[u8]; 7] = [
        &lengths[0],
        organization.as_bytes(),
        &lengths[1],
        source.as_bytes(),
        &lengths[2],
        id.as_bytes(),
        &event_time.ms().to_le_bytes(),
    ];
    Fingerprint(hash_of(&parts, 1))
}

/// Hashes texts as if they were one: hashing piece by piece costs many times as much.
fn hash_of(parts: &[&[u8]], seed: u64) -> u64 {
    let mut bytes = ArrayVec::<u8, HASHED_BYTES>::new();
    for part in parts {
        if bytes.try_extend_from_slice(part).is_err() {
            return xxh3_64_with_seed(&parts.concat(), seed);
        }
    }
    xxh3_64_with_seed(&bytes, seed)
}

/// Folds the fields that decide a charge into a [`ContentCheck`].
pub fn content_check(content: &[u8]) -> ContentCheck {
    let hash = xxh3_64_with_seed(content, 2);
    ContentCheck((hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are stored in Redis: a change of the function would make every stored id unknown.
    #[test]
    fn fingerprints_never_change() {
        let time = Timestamp::from_ms(1_700_000_000_000);
        assert_eq!(fingerprint("acme", "gateway", "e-1", time).0, 0x14c68d990709d023);
        assert_eq!(content_check(b"content").0, 0x8cdf);
    }

    #[test]
    fn each_part_of_an_identity_counts() {
        let time = Timestamp::from_ms(5);
        let base = fingerprint("o", "ab", "c", time);
        assert_ne!(base, fingerprint("o", "a", "bc", time));
        assert_ne!(base, fingerprint("p", "ab", "c", time));
        assert_ne!(base, fingerprint("o", "ab", "c", Timestamp::from_ms(6)));
    }
}
