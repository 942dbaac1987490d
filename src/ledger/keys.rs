//! Every key that Bursar has in Redis. An organization's keys share one hash tag, so they lie in one slot and one
//! function sees them all.

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{time::Timestamp, window::WindowKind};

/// The index of due times lies at this many tags, which spread over the slots of a cluster.
pub const DUE_TAGS: u32 = 64;

/// Progress lies at this many tags of a cluster: so many that each of some dozens of primaries has one of them. A single
/// server has the first one only.
pub const PROGRESS_TAGS: u32 = 256;

/// Makes keys under a prefix.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Box<str>,
}

impl Keys {
    /// Keys that begin with `prefix`, which must not contain a brace.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The keys of one organization.
    pub fn of(&self, organization_id: &str) -> AccountKeys {
        let tag = organization_id.replace('%', "%25").replace('{', "%7B").replace('}', "%7D");
        AccountKeys { stem: format!("{}:{{{tag}}}", self.prefix) }
    }

    /// Progress at one tag: a hash of partition → progress, and the token.
    pub fn progress(&self, tag: u32) -> String {
        format!("{}:{{p{tag}}}:progress", self.prefix)
    }

    /// Progress at all tags of a cluster.
    pub fn all_progress(&self) -> Vec<String> {
        (0..PROGRESS_TAGS).map(|tag| self.progress(tag)).collect()
    }

    /// Index of due times at one tag: a sorted set of organization by instant.
    pub fn due(&self, tag: u32) -> String {
        format!("{}:{{p{tag}}}:due", self.prefix)
    }

    /// The index of due times that an organization is in.
    pub fn due_of(&self, organization_id: &str) -> String {
        self.due((xxh3_64(organization_id.as_bytes()) % u64::from(DUE_TAGS)) as u32)
    }

    /// Matches the account of every organization, for `SCAN`.
    pub fn all_accounts(&self) -> String {
        format!("{}:{{*}}:account", self.prefix)
    }

    /// Matches every key under the prefix, and none of a prefix that only begins alike, for `SCAN`.
    pub fn everything(&self) -> String {
        format!("{}:{{*", self.prefix)
    }

    /// The organization that an account's key belongs to.
    pub fn organization_of(&self, account_key: &str) -> Option<String> {
        let tag = account_key.strip_prefix(&*self.prefix)?.strip_prefix(":{")?.strip_suffix("}:account")?;
        Some(tag.replace("%7D", "}").replace("%7B", "{").replace("%25", "%"))
    }
}

/// The keys of one organization.
#[derive(Clone, Debug)]
pub struct AccountKeys {
    stem: String,
}

impl AccountKeys {
    /// A hash: head, settings, calendar, segments, and a row per scope.
    pub fn account(&self) -> String {
        format!("{}:account", self.stem)
    }

    /// A hash: number → signal that is committed and not yet forgotten.
    pub fn outbox(&self) -> String {
        format!("{}:outbox", self.stem)
    }

    /// A hash: scope → causes as JSON. A public contract: gateways may read it.
    pub fn paused(&self) -> String {
        format!("{}:paused", self.stem)
    }

    /// A sorted set: scope by the instant at which its next cause ends.
    pub fn ends(&self) -> String {
        format!("{}:ends", self.stem)
    }

    /// A string: what was said under a caller's key, for a while.
    pub fn remembered(&self, name: &str) -> String {
        format!("{}:remembered:{name}", self.stem)
    }

    /// A string: the ids of a segment of event time.
    pub fn segment(&self, start: Timestamp) -> String {
        format!("{}:ids:{}", self.stem, start.ms())
    }

    /// A hash: scope → counters of a window that rows no longer keep.
    pub fn older(&self, kind: WindowKind, start: Timestamp) -> String {
        format!("{}:older:{}:{}", self.stem, kind.name(), start.ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_read_back_from_its_key() {
        let keys = Keys::new("bursar");
        for organization in ["acme", "a{b}c%7D", "ö/:"] {
            let account = keys.of(organization).account();
            assert_eq!(keys.organization_of(&account).as_deref(), Some(organization));
            assert_eq!(account.matches('{').count(), 1, "one hash tag: {account}");
        }
    }
}
