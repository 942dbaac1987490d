//! Texts of control records, checked: scopes and names of a length that is kept, instants, what a rule is set on.

use crate::domain::{
    ids::ID_BYTES_MAX,
    limit::{Selector, THRESHOLDS_PERCENT_DEFAULT},
    scope::{Scope, ScopeKind},
    time::{Timestamp, parse_rfc3339},
};

/// An instant as RFC 3339 writes it, in the years that a calendar has.
///
/// # Errors
/// A sentence that shows what was refused.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    parse_rfc3339(text)
}

/// A scope with names of a length that is kept.
///
/// # Errors
/// A sentence that shows the forms a scope may have.
pub fn scope(text: &str) -> Result<Scope, String> {
    let scope = Scope::parse(text)?;
    let lengths = match &scope {
        Scope::Organization => [0, 0],
        Scope::Workspace(id) | Scope::User(id) => [id.len(), 0],
        Scope::Agent { workspace, agent } => [workspace.len(), agent.len()],
    };
    if lengths.into_iter().any(|length| length > ID_BYTES_MAX) {
        return Err(format!("a name in the scope is longer than {ID_BYTES_MAX} bytes"));
    }
    Ok(scope)
}

/// A name of a length that is kept.
///
/// # Errors
/// A sentence that says how long it may be.
pub fn within(field: &'static str, id: Box<str>) -> Result<Box<str>, String> {
    if (1..=ID_BYTES_MAX).contains(&id.len()) {
        return Ok(id);
    }
    Err(format!("{field} has {} bytes; it must have 1 to {ID_BYTES_MAX}", id.len()))
}

/// What a rule is set on: exactly one of the three.
///
/// # Errors
/// A sentence that names them.
pub fn selector(one: Option<&str>, every: Option<ScopeKind>, seat_type: Option<&str>) -> Result<Selector, String> {
    match (one, every, seat_type) {
        (Some(text), None, None) => scope(text).map(Selector::One),
        (None, Some(kind), None) => Ok(Selector::Every(kind)),
        (None, None, Some(name)) => Ok(Selector::Seat(name.into())),
        _ => Err("it needs exactly one of `scope`, `every` and `seat_type`".to_owned()),
    }
}

/// The shares to announce; those of row A19 if none are given.
pub fn thresholds(given: Vec<u16>) -> Vec<u16> {
    if given.is_empty() { THRESHOLDS_PERCENT_DEFAULT.to_vec() } else { given }
}
