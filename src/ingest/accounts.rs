//! The accounts that a worker holds in memory. All of it may be dropped at any time; nothing of it is believed
//! without the head that it was read under.

use hashbrown::HashMap;

use crate::domain::account::Account;

/// Accounts by organization, with a bound on the rows that they hold together. Boxed, because they go from here to the
/// groups of a batch and back, and are a thousand bytes each.
pub struct Accounts {
    held: HashMap<Box<str>, Held>,
    rows_max: usize,
    rows: usize,
    batch: u64,
}

struct Held {
    account: Box<Account>,
    rows: usize,
    last_used_in: u64,
}

impl Accounts {
    /// No accounts, and room for `rows_max` rows.
    pub fn new(rows_max: usize) -> Self {
        Self { held: HashMap::new(), rows_max, rows: 0, batch: 0 }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.held.clear();
        self.rows = 0;
    }

    /// Takes an account out, to work on it; a new view if it is not held.
    pub fn take(&mut self, organization_id: &str) -> Box<Account> {
        match self.held.remove(organization_id) {
            Some(held) => {
                self.rows -= held.rows;
                held.account
            }
            None => Box::new(Account::new(organization_id)),
        }
    }

    /// Puts an account back.
    pub fn put(&mut self, mut account: Box<Account>) {
        account.end_batch();
        let rows = account.rows();
        self.rows += rows;
        let organization_id = account.organization_id().into();
        self.held.insert(organization_id, Held { account, rows, last_used_in: self.batch });
    }

    /// Ends a batch: if there are too many rows, the accounts go that were not used for longest. Signals that only
    /// wait to be forgotten are published once more when their account is next loaded, under the same identity.
    pub fn end_batch(&mut self) {
        self.batch += 1;
        if self.rows <= self.rows_max {
            return;
        }
        let mut by_use: Vec<(u64, usize, Box<str>)> = self
            .held
            .iter()
            .map(|(organization_id, held)| (held.last_used_in, held.rows, organization_id.clone()))
            .collect();
        by_use.sort_unstable();
        // A quarter at once, so that this is done seldom.
        let goal = self.rows_max / 4 * 3;
        for (_, rows, organization_id) in by_use {
            if self.rows <= goal {
                break;
            }
            self.held.remove(&organization_id);
            self.rows -= rows;
        }
    }

    /// How many rows are held.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_used_least_go_first() {
        let mut accounts = Accounts::new(8);
        for batch in 0..9 {
            let account = accounts.take(&format!("o{batch}"));
            accounts.put(account);
            let account = accounts.take("hot");
            accounts.put(account);
            accounts.end_batch();
        }
        assert!(accounts.rows() <= 8);
        assert!(accounts.held.contains_key("hot") && accounts.held.contains_key("o8"));
        assert!(!accounts.held.contains_key("o0"));
    }
}
