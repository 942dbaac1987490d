//! Reads accounts as they stand, without changing anything and without Bursar's functions: for people and for pages.

use redis::cmd;
use thiserror::Error;

use super::{Connection, RedisOptions};
use crate::{
    domain::{
        account::{
            changes::Head,
            layout::{LayoutError, unpack},
            row::ScopeRow,
            settings::{Calendar, Settings},
        },
        meter::Counters,
        scope::Scope,
        time::Timestamp,
        window::WindowKind,
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
    /// The windows that were opened.
    pub calendar: Calendar,
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
        type Packed = Option<Vec<u8>>;
        let mut get = cmd("HMGET");
        get.arg(self.keys.of(organization_id).account()).arg(&["head", "settings", "calendar", "org"]);
        let (head, settings, calendar, row): (Packed, Packed, Packed, Packed) = self.connection.query(&get).await?;
        let Some(head) = head else { return Ok(None) };
        Ok(Some(Base {
            head: unpack("head", &head)?,
            settings: settings.map_or(Ok(Settings::default()), |packed| unpack("settings", &packed))?,
            calendar: calendar.map_or(Ok(Calendar::default()), |packed| unpack("calendar", &packed))?,
            organization: row.map_or(Ok(ScopeRow::default()), |packed| unpack("scope row", &packed))?,
        }))
    }

    /// The row of one scope; `None` if nothing was ever said or counted of it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn row(&self, organization_id: &str, scope: &Scope) -> Result<Option<ScopeRow>, ReadError> {
        let mut get = cmd("HGET");
        get.arg(self.keys.of(organization_id).account()).arg(scope.to_string());
        let packed: Option<Vec<u8>> = self.connection.query(&get).await?;
        Ok(packed.map(|packed| unpack("scope row", &packed)).transpose()?)
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
        for (field, packed) in &fields {
            if let (true, Ok(scope)) = (field.contains(':'), Scope::parse(field)) {
                rows.push((scope, unpack("scope row", packed)?));
            }
        }
        Ok((rows, next))
    }

    /// What scopes used in a window that their rows do not keep any more, in their order; `None` where nothing is stored.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn older(
        &self,
        organization_id: &str,
        (kind, start): (WindowKind, Timestamp),
        scopes: &[&Scope],
    ) -> Result<Vec<Option<Counters>>, ReadError> {
        if scopes.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = cmd("HMGET");
        get.arg(self.keys.of(organization_id).older(kind, start));
        for scope in scopes {
            get.arg(scope.to_string());
        }
        let packed: Vec<Option<Vec<u8>>> = self.connection.query(&get).await?;
        let unpacked =
            packed.into_iter().map(|packed| packed.map(|packed| unpack("older window", &packed)).transpose());
        Ok(unpacked.collect::<Result<_, _>>()?)
    }

    /// How far every input partition has been applied.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn progress(&self) -> Result<Vec<(InputPartition, Progress)>, ReadError> {
        let mut get = cmd("HGETALL");
        get.arg(self.keys.progress(0));
        let fields: std::collections::BTreeMap<String, Vec<u8>> = self.connection.query(&get).await?;
        let mut all = Vec::with_capacity(fields.len());
        for (field, packed) in &fields {
            let Some((topic, partition)) = field.rsplit_once('/') else { continue };
            let Ok(partition) = partition.parse() else { continue };
            all.push((InputPartition { topic: topic.into(), partition }, Progress::from_text(packed)?));
        }
        Ok(all)
    }
}
