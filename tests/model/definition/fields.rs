//! The fields of a command, read as what they should be.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::{
    codes::{No, code},
    terms::{MOST, Scope},
};

/// An id has 1 to so many bytes.
const ID_BYTES_MOST: usize = 256;

/// What a command says.
pub struct Fields<'a>(pub &'a Map<String, Json>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<String>, No> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(No::Unreadable),
        }
    }

    /// A text that must be there.
    pub fn must(&self, name: &str) -> Result<String, No> {
        self.text(name)?.ok_or(No::Unreadable)
    }

    /// An id that must be there, of 1 to 256 bytes.
    pub fn id(&self, name: &'static str) -> Result<String, No> {
        self.id_if(name)?.ok_or(No::Unreadable)
    }

    /// An id, if it is there.
    pub fn id_if(&self, name: &'static str) -> Result<Option<String>, No> {
        let id = self.text(name)?;
        match id.as_ref().map(String::len) {
            Some(bytes) if bytes == 0 || bytes > ID_BYTES_MOST => {
                let no = code("id_length").with("field", name).with("bytes", bytes);
                Err(no.with("bytes_max", ID_BYTES_MOST).refused())
            }
            _ => Ok(id),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, No> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or(No::Unreadable),
        }
    }

    /// A number between bounds, or what holds without it.
    pub fn between(&self, name: &'static str, without: Option<i64>, least: i64, most: i64) -> Result<i64, No> {
        let value = self.number(name)?.or(without).ok_or(No::Unreadable)?;
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        let no = code("out_of_range").with("field", name).with("value", value);
        Err(no.with("least", least).with("most", most).refused())
    }

    /// An amount from `least` on.
    pub fn amount(&self, name: &'static str, least: i64) -> Result<i64, No> {
        self.between(name, None, least, MOST)
    }

    /// A cap; none is unlimited.
    pub fn cap(&self, name: &'static str) -> Result<Option<i64>, No> {
        match self.number(name)? {
            None => Ok(None),
            Some(cap) if cap < 0 => Err(code("cap_below_zero").with("cap", cap).refused()),
            Some(_) => self.between(name, None, 0, MOST).map(Some),
        }
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, No> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(No::Unreadable),
        }
    }

    pub fn must_flag(&self, name: &str) -> Result<bool, No> {
        self.flag(name)?.ok_or(No::Unreadable)
    }

    /// An instant: RFC 3339, or milliseconds.
    pub fn instant(&self, name: &str) -> Result<Option<i64>, No> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => {
                let instant: Timestamp = text.parse().map_err(|_| No::Unreadable)?;
                Ok(Some(instant.as_millisecond()))
            }
            Some(value) => value.as_i64().map(Some).ok_or(No::Unreadable),
        }
    }

    pub fn must_instant(&self, name: &str) -> Result<i64, No> {
        self.instant(name)?.ok_or(No::Unreadable)
    }

    pub fn numbers(&self, name: &str) -> Result<Vec<i64>, No> {
        self.items(name)?.iter().map(|item| item.as_i64().ok_or(No::Unreadable)).collect()
    }

    pub fn texts(&self, name: &str) -> Result<Vec<String>, No> {
        self.items(name)?.iter().map(|item| item.as_str().map(str::to_owned).ok_or(No::Unreadable)).collect()
    }

    pub fn must_texts(&self, name: &str) -> Result<Vec<String>, No> {
        if self.get(name).is_some() { self.texts(name) } else { Err(No::Unreadable) }
    }

    fn items(&self, name: &str) -> Result<Vec<Json>, No> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => Ok(items.clone()),
            Some(_) => Err(No::Unreadable),
        }
    }

    pub fn object(&self, name: &str) -> Result<Option<&Map<String, Json>>, No> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            Some(_) => Err(No::Unreadable),
        }
    }

    /// A scope that is named in full.
    pub fn scope(&self) -> Result<Scope, No> {
        Scope::parse(&self.must("scope")?).ok_or(No::Unreadable)
    }

    /// The owner of a pool: organization or workspace.
    pub fn owner(&self) -> Result<Scope, No> {
        let scope = self.scope()?;
        match scope {
            Scope::Organization | Scope::Workspace(_) => Ok(scope),
            _ => Err(code("not_a_pool_owner").with("scope", scope).refused()),
        }
    }
}
