//! The accounts that a worker holds in memory. All of it may be dropped at any time; nothing of it is believed
//! without the head that it was read under.

use hashbrown::HashMap;

use crate::domain::account::Account;

/// Accounts by organization, with a bound on the memory that they take together. Boxed, because they go from here to the
/// groups of a batch and back, and are a thousand bytes each.
pub struct Accounts {
    held: HashMap<Box<str>, Held>,
    bytes_max: usize,
    bytes: usize,
    batch: u64,
}

struct Held {
    account: Box<Account>,
    bytes: usize,
    last_used_in: u64,
}

impl Accounts {
    /// No accounts, and room for `bytes_max` of them.
    pub fn new(bytes_max: usize) -> Self {
        Self { held: HashMap::new(), bytes_max, bytes: 0, batch: 0 }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    /// Takes an account out, to work on it; a new view if it is not held.
    pub fn take(&mut self, organization_id: &str) -> Box<Account> {
        match self.held.remove(organization_id) {
            Some(held) => {
                self.bytes -= held.bytes;
                held.account
            }
            None => Box::new(Account::new(organization_id)),
        }
    }

    /// Puts an account back.
    pub fn put(&mut self, mut account: Box<Account>) {
        account.end_batch();
        let bytes = account.bytes();
        self.bytes += bytes;
        let organization_id = account.organization_id().into();
        self.held.insert(organization_id, Held { account, bytes, last_used_in: self.batch });
    }

    /// Ends a batch: if they take too much, the accounts go that were not used for longest. Signals that only
    /// wait to be forgotten are published once more when their account is next loaded, under the same identity.
    pub fn end_batch(&mut self) {
        self.batch += 1;
        if self.bytes <= self.bytes_max {
            return;
        }
        let mut by_use: Vec<(u64, usize, Box<str>)> = self
            .held
            .iter()
            .map(|(organization_id, held)| (held.last_used_in, held.bytes, organization_id.clone()))
            .collect();
        by_use.sort_unstable();
        // A quarter at once, so that this is done seldom.
        let goal = self.bytes_max / 4 * 3;
        for (_, bytes, organization_id) in by_use {
            if self.bytes <= goal {
                break;
            }
            self.held.remove(&organization_id);
            self.bytes -= bytes;
        }
    }

    /// About how much memory they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_used_least_go_first() {
        let bytes_max = 8 * Account::new("o").bytes();
        let mut accounts = Accounts::new(bytes_max);
        for batch in 0..9 {
            let account = accounts.take(&format!("o{batch}"));
            accounts.put(account);
            let account = accounts.take("hot");
            accounts.put(account);
            accounts.end_batch();
        }
        assert!(accounts.bytes() <= bytes_max);
        assert!(accounts.held.contains_key("hot") && accounts.held.contains_key("o8"));
        assert!(!accounts.held.contains_key("o0"));
    }
}
