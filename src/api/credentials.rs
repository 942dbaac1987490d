//! Who asks: bearer keys that are kept as hashes in a file, and tokens (JWT) that a provider signs (OIDC).

mod tokens;

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::tokens::TokenRules;
use self::tokens::Tokens;
use super::{
    access::{Caller, Role},
    problem::Problem,
};

/// How a key begins, so that people and scanners know it.
const KEY_PREFIX: &str = "bursar_";

/// How long a file of keys is believed before its time of change is looked at again: a key that is taken out is refused
/// that soon.
const KEYS_LOOK: Duration = Duration::from_secs(1);

/// Why the configured credentials cannot be used.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The file of keys.
    #[error("api.keys_file {path}: {why}")]
    Keys {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The provider's keys.
    #[error("api.jwks {place}: {why}")]
    Jwks {
        /// Where they are.
        place: String,
        /// What is wrong with them.
        why: String,
    },
}

/// A file of keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default)]
    key: Vec<KeyEntry>,
}

/// A key: its hash, whose it is, and what it may.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    sha256: String,
    subject: String,
    roles: Vec<Role>,
}

/// The keys of a file, as of when it was last changed.
struct Keys {
    path: String,
    read: RwLock<KeysRead>,
}

struct KeysRead {
    by_hash: HashMap<String, Caller>,
    changed: Option<SystemTime>,
    looked: std::time::Instant,
}

impl Keys {
    fn open(path: &str) -> Result<Self, CredentialsError> {
        let by_hash = read_keys(path).map_err(|why| CredentialsError::Keys { path: path.to_owned(), why })?;
        let read = KeysRead { by_hash, changed: changed(path), looked: std::time::Instant::now() };
        Ok(Self { path: path.to_owned(), read: RwLock::new(read) })
    }

    /// The caller of a key. Keys are random and long, so the look-up by their hash tells nothing by its time.
    fn find(&self, key: &str) -> Option<Caller> {
        self.read_again_if_changed();
        self.read.read().unwrap_or_else(PoisonError::into_inner).by_hash.get(&hash(key)).cloned()
    }

    fn read_again_if_changed(&self) {
        let is_old = self.read.read().unwrap_or_else(PoisonError::into_inner).looked.elapsed() >= KEYS_LOOK;
        if !is_old {
            return;
        }
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        read.looked = std::time::Instant::now();
        let changed = changed(&self.path);
        if changed == read.changed {
            return;
        }
        match read_keys(&self.path) {
            Ok(by_hash) => {
                tracing::info!(keys = by_hash.len(), "the file of API keys was read again");
                (read.by_hash, read.changed) = (by_hash, changed);
            }
            // What cannot be read opens nothing: a key that was taken out must not live on.
            Err(why) => {
                tracing::error!(why, path = self.path, "the file of API keys cannot be read: all keys are refused");
                (read.by_hash, read.changed) = (HashMap::new(), None);
            }
        }
    }
}

fn changed(path: &str) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read_keys(path: &str) -> Result<HashMap<String, Caller>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: KeysFile = toml::from_str(&text).map_err(|error| error.to_string())?;
    let mut by_hash = HashMap::new();
    for KeyEntry { sha256, subject, roles } in file.key {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash || subject.is_empty() {
            return Err(format!("the key of {subject:?} needs a subject, and a sha256 of 64 hexadecimal digits"));
        }
        by_hash.insert(sha256.to_lowercase(), Caller { subject, roles });
    }
    Ok(by_hash)
}

/// The hash under which a key is kept: SHA-256, in hexadecimal. Keys have 256 random bits, so nothing slower is needed.
pub fn hash(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new random key.
pub fn new_key() -> String {
    let bytes: [u8; 32] = rand::random();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{KEY_PREFIX}{text}")
}

/// What callers are known by. Without any, everyone is a service: then the API is bound to this machine only.
pub struct Credentials {
    keys: Option<Keys>,
    tokens: Option<Tokens>,
}

impl Credentials {
    /// Reads the file of keys and the provider's keys, where they are configured. Blocks.
    ///
    /// # Errors
    /// [`CredentialsError`], naming the setting.
    pub fn open(keys_file: Option<&str>, rules: Option<TokenRules>) -> Result<Self, CredentialsError> {
        let tokens = rules.map(Tokens::open).transpose()?;
        Ok(Self { keys: keys_file.map(Keys::open).transpose()?, tokens })
    }

    /// Whether anybody has to be known.
    pub const fn are_configured(&self) -> bool {
        self.keys.is_some() || self.tokens.is_some()
    }

    /// Who asks, by the value of the header `Authorization`.
    ///
    /// # Errors
    /// [`Problem::unauthenticated`], with what is wrong.
    pub async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Problem> {
        if !self.are_configured() {
            return Ok(Caller { subject: "local".to_owned(), roles: vec![Role::Service] });
        }
        let bearer = authorization.and_then(|value| {
            let (scheme, bearer) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(bearer.trim())
        });
        let bearer = bearer.ok_or_else(|| Problem::unauthenticated("send `Authorization: Bearer KEY-OR-TOKEN`"))?;
        if bearer.starts_with(KEY_PREFIX) {
            let caller = self.keys.as_ref().and_then(|keys| keys.find(bearer));
            return caller.ok_or_else(|| Problem::unauthenticated("the key is not known, or was revoked"));
        }
        match &self.tokens {
            Some(tokens) => tokens.caller(bearer).await.map_err(Problem::unauthenticated),
            None => Err(Problem::unauthenticated("tokens are not accepted here: api.jwks is not configured")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_a_key_that_is_taken_out_of_the_file_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path");
        let write = |text: &str| std::fs::write(path, text).expect("it can be written");
        let (known, revoked) = (new_key(), new_key());
        let entry = |key: &str| format!("[[key]]\nsha256 = '{}'\nsubject = 's'\nroles = ['owner:acme']\n", hash(key));
        write(&format!("{}{}", entry(&known), entry(&revoked)));
        let keys = Keys::open(path).expect("a file of keys");
        let look = |key: &str| {
            let mut read = keys.read.write().expect("nobody panics");
            read.looked = std::time::Instant::now().checked_sub(KEYS_LOOK).expect("the machine runs for a while");
            read.changed = None;
            drop(read);
            keys.find(key).map(|caller| caller.roles)
        };
        assert_eq!(look(&revoked), Some(vec![Role::Owner("acme".into())]));
        assert_eq!(look("bursar_ffff"), None);
        write(&entry(&known));
        assert_eq!((look(&known).is_some(), look(&revoked)), (true, None));
        write("[[key]]\nsha256 = 'short'\nsubject = 's'\nroles = []");
        assert_eq!(look(&known), None);
        assert!(Keys::open(path).is_err_and(|error| error.to_string().contains("64 hexadecimal digits")));
    }
}
