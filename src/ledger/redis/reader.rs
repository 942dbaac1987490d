//! Reads accounts as they stand, without changing anything and without Bursar's functions: for people and for pages.

use redis::cmd;
use thiserror::Error;

use super::{Connection, RedisOptions, calls};
use crate::{
    domain::{
        account::{
            changes::{Head, parse_scope},
            layout::{LayoutError, unpack},
            row::ScopeRow,
            settings::Settings,
        },
        scope::Scope,
    },
    ledger::{InputPartition, LedgerError, Progress, keys::Keys},
};

/// Why an account cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Redis did not answer as it should.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What it holds was written by another release.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// What holds for a whole organization, and its own row; all of one moment.
#[derive(Clone, Debug, Default)]
pub struct Base {
    /// Where the account stands.
    pub head: Head,
    /// What admins have said.
    pub settings: Settings,
    /// The organization's own row.
    pub organization: ScopeRow,
}

/// Some rows of an account, and where the next page begins; 0 after the last.
pub type RowsPage = (Vec<(Scope, ScopeRow)>, u64);

/// Reads accounts under one prefix.
#[derive(Clone)]
pub struct Reader {
    connection: Connection,
    keys: Keys,
}

impl Reader {
    /// Connects.
    ///
    /// # Errors
    /// [`LedgerError`], if the server does not answer in time.
    pub async fn open(options: &RedisOptions) -> Result<Self, LedgerError> {
        Ok(Self { connection: Connection::open(options).await?, keys: Keys::new(&options.prefix) })
    }

    /// All organizations that have an account, in the order of their names. Walks through all keys of the server.
    ///
    /// # Errors
    /// [`ReadError`], as for everything here.
    pub async fn organizations(&self) -> Result<Vec<String>, ReadError> {
        let keys = self.connection.scan(&self.keys.all_accounts()).await?;
        let mut names: Vec<String> = keys.iter().filter_map(|key| self.keys.organization_of(key)).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// What holds for an organization; `None` if it has no account.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn base(&self, organization_id: &str) -> Result<Option<Base>, ReadError> {
        let mut get = cmd("HMGET");
        get.arg(self.keys.of(organization_id).account()).arg(&["head", "settings", "org"]);
        let (head, settings, row): (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>) =
            self.connection.query(&get).await?;
        let Some(head) = head else { return Ok(None) };
        Ok(Some(Base {
            head: unpack("head", &head)?,
            settings: settings.map_or(Ok(Settings::default()), |packed| unpack("settings", &packed))?,
            organization: row.map_or(Ok(ScopeRow::default()), |packed| unpack("scope row", &packed))?,
        }))
    }

    /// About `limit` rows, without the organization's own, from where the last page ended (0 is the beginning).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn rows(&self, organization_id: &str, cursor: u64, limit: u32) -> Result<RowsPage, ReadError> {
        let mut scan = cmd("HSCAN");
        scan.arg(self.keys.of(organization_id).account()).arg(cursor).arg("COUNT").arg(limit);
        let (next, fields): (u64, Vec<(String, Vec<u8>)>) = self.connection.query(&scan).await?;
        let mut rows = Vec::with_capacity(fields.len());
        for (field, packed) in fields.iter().filter(|(field, _)| field.contains(':')) {
            rows.push((parse_scope(field)?, unpack("scope row", packed)?));
        }
        Ok((rows, next))
    }

    /// How far every input partition has been applied.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn progress(&self) -> Result<Vec<(InputPartition, Progress)>, ReadError> {
        let mut all = calls::read_all_progress(self.connection.query(&calls::all_progress(&self.keys, 0)).await?)?;
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all)
    }
}
