//! What a command is answered: codes with fields, in canonical words.

use std::fmt::Display;

/// One code of an answer, with its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    name: &'static str,
    fields: Vec<(&'static str, String)>,
}

/// A code without fields yet.
pub fn code(name: &'static str) -> Code {
    Code { name, fields: Vec::new() }
}

impl Code {
    /// The code with one field more.
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    /// The code as a refusal.
    pub fn refused(self) -> No {
        No::Refused(self)
    }

    /// `CODE field=value field=value`
    pub fn words(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{}{}", self.name, fields.collect::<String>())
    }
}

/// Why a command did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// It was understood, and is refused.
    Refused(Code),
    /// It cannot be read as a command: a dead letter.
    Unreadable,
}

/// A list, sorted: `[a, b]`.
pub fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("[{}]", values.join(", "))
}

/// A list of texts in their order: `[a, b]`.
pub fn sorted<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let mut values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    values.sort();
    list(&values)
}
