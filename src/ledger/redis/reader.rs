//! Reads accounts as they stand, without changing anything and without Bursar's functions: for people and for pages.

use std::time::Duration;

use redis::cmd;
use thiserror::Error;

use super::{Connection, RedisOptions, calls, connection};
use crate::{
    domain::{
        account::{
            changes::{Head, parse_scope, unpack_older},
            layout::{LayoutError, unpack},
            row::{OlderWindow, ScopeRow},
            settings::{Calendar, Settings},
        },
        meter::Counters,
        scope::Scope,
        time::Timestamp,
        window::{Window, WindowKind},
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

impl Base {
    /// The window of a kind around an instant.
    pub fn window(&self, kind: WindowKind, time: Timestamp) -> Window {
        self.calendar.window(&self.settings.zones, kind, time)
    }

    /// That window and those before it, newest first.
    pub fn windows_back(&self, kind: WindowKind, time: Timestamp) -> impl Iterator<Item = Window> + '_ {
        std::iter::successors(Some(self.window(kind, time)), move |window| {
            Some(self.window(kind, window.start.plus_ms(-1)))
        })
    }
}

/// Some rows of an account, and where the next page begins; 0 after the last.
pub type RowsPage = (Vec<(Scope, ScopeRow)>, u64);

/// Rows that one look at an account asks for.
const ROWS_PER_LOOK: u32 = 1_000;

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

    /// Where accounts stand: their heads as they are stored, which differ whenever anything of the account does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn heads(&self, organizations: &[String]) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        let get = |organization_id: &String| {
            let mut get = cmd("HGET");
            get.arg(self.keys.of(organization_id).account()).arg("head");
            get
        };
        let replies = self.connection.send(organizations.iter().map(get).collect()).await?;
        let heads = replies.into_iter().map(connection::read_reply).collect::<Result<_, LedgerError>>();
        Ok(heads?)
    }

    /// What holds for an organization; `None` if it has no account.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn base(&self, organization_id: &str) -> Result<Option<Base>, ReadError> {
        Ok(self.scopes(organization_id, &[]).await?.map(|(base, _)| base))
    }

    /// What holds for an organization, and the rows of some of its scopes, all of one moment; `None` if it has no account.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn scopes(
        &self,
        organization_id: &str,
        scopes: &[Scope],
    ) -> Result<Option<(Base, Vec<Option<ScopeRow>>)>, ReadError> {
        let mut get = cmd("HMGET");
        get.arg(self.keys.of(organization_id).account()).arg(&["head", "settings", "calendar", "org"]);
        for scope in scopes {
            get.arg(scope.to_string());
        }
        let mut values = self.connection.query::<Vec<Option<Vec<u8>>>>(&get).await?.into_iter();
        let mut next = || values.next().flatten();
        let Some(head) = next() else { return Ok(None) };
        let base = Base {
            head: unpack("head", &head)?,
            settings: next().map_or(Ok(Settings::default()), |packed| unpack("settings", &packed))?,
            calendar: next().map_or(Ok(Calendar::default()), |packed| unpack("calendar", &packed))?,
            organization: next().map_or(Ok(ScopeRow::default()), |packed| unpack("scope row", &packed))?,
        };
        let rows = scopes.iter().map(|_| next().map(|packed| unpack("scope row", &packed)).transpose());
        Ok(Some((base, rows.collect::<Result<_, LayoutError>>()?)))
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

    /// All rows without the organization's own, in the order of their scopes, read in pages: scopes that come meanwhile may
    /// be missing.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn all_rows(&self, organization_id: &str) -> Result<Vec<(Scope, ScopeRow)>, ReadError> {
        let (mut all, mut cursor) = (Vec::new(), 0);
        loop {
            let (rows, next) = self.rows(organization_id, cursor, ROWS_PER_LOOK).await?;
            all.extend(rows);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // While a hash grows, a page may tell a row once more.
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(a, _), (b, _)| a == b);
        Ok(all)
    }

    /// What one scope counted in windows that its row no longer keeps, and of billing periods what is broken down beside
    /// that; nothing where nothing is stored.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn older(
        &self,
        organization_id: &str,
        scope: &Scope,
        windows: &[(WindowKind, Timestamp)],
    ) -> Result<Vec<OlderWindow>, ReadError> {
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let (keys, field) = (self.keys.of(organization_id), scope.to_string());
        let get = |(kind, start): &(WindowKind, Timestamp)| {
            let mut get = cmd("HGET");
            get.arg(keys.older(*kind, *start)).arg(&field);
            get
        };
        let replies = self.connection.send(windows.iter().map(get).collect()).await?;
        let read = |reply| -> Result<OlderWindow, ReadError> {
            let packed: Option<Vec<u8>> = connection::read_reply(reply)?;
            Ok(packed.map_or(Ok(OlderWindow::default()), |packed| unpack_older(&packed))?)
        };
        replies.into_iter().map(read).collect()
    }

    /// What all scopes counted in a window that their rows no longer keep.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn older_of_all(
        &self,
        organization_id: &str,
        kind: WindowKind,
        start: Timestamp,
    ) -> Result<Vec<(Scope, Counters)>, ReadError> {
        let (key, mut all, mut cursor) = (self.keys.of(organization_id).older(kind, start), Vec::new(), 0_u64);
        loop {
            let mut scan = cmd("HSCAN");
            scan.arg(&key).arg(cursor).arg("COUNT").arg(ROWS_PER_LOOK);
            let (next, fields): (u64, Vec<(String, Vec<u8>)>) = self.connection.query(&scan).await?;
            for (field, packed) in &fields {
                all.push((parse_scope(field)?, unpack_older(packed)?.counters));
            }
            cursor = next;
            if cursor == 0 {
                return Ok(all);
            }
        }
    }

    /// Remembers `value` for a while under a name of the organization, unless something is there: then that is returned.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn remember(
        &self,
        organization_id: &str,
        name: &str,
        value: &str,
        time: Duration,
    ) -> Result<Option<String>, ReadError> {
        let mut set = cmd("SET");
        set.arg(self.keys.of(organization_id).remembered(name)).arg(value).arg("NX").arg("GET");
        set.arg("PX").arg(time.as_millis() as u64);
        Ok(self.connection.query(&set).await?)
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
