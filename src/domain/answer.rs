//! What a control record is answered: closed values, each with a stable code and typed fields.
//!
//! [`Applied`] says what a command did beyond being done, [`Refused`] why it did nothing. The sentence for a person is
//! made of them at the edge ([`crate::contract::answer`]). `docs/answers.md` lists every code; a test holds that page
//! against the lists here. Answers are packed into the outbox as they are, so a code and its fields never change their
//! meaning: something new is a new variant.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    limit::Selector,
    meter::Meter,
    organization::Plan,
    pause::CauseKind,
    payment::{Mode, Source},
    scope::{Name, Scope},
    time::Timestamp,
    window::WindowKind,
};

/// Makes an enum from one list: its variants, the code of each, its fields as texts, and for tests a sample of each. So
/// no variant can be without a code, or missing where all of them are listed.
macro_rules! answers {
    (
        $(#[$of_enum:meta])*
        pub enum $name:ident {
            $(
                $(#[$of_variant:meta])*
                $variant:ident $({ $( $(#[$of_field:meta])* $field:ident: $type:ty, )+ })? => $code:literal,
            )+
        }
    ) => {
        $(#[$of_enum])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(
                $(#[$of_variant])*
                $variant $({ $( $(#[$of_field])* $field: $type, )+ })?,
            )+
        }

        impl $name {
            /// Every code, in the order of the variants.
            pub const CODES: &'static [&'static str] = &[$($code),+];

            /// A short, stable word for programs; `docs/answers.md` explains each.
            pub const fn code(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $code, )+
                }
            }

            /// The fields by name, as texts; what is not there is empty.
            pub fn fields(&self) -> Vec<(&'static str, String)> {
                match self {
                    $(
                        Self::$variant $({ $($field),+ })? => {
                            vec![$($( (stringify!($field), Text::text($field)) ),+)?]
                        }
                    )+
                }
            }

            /// One value of every variant.
            #[cfg(test)]
            pub(crate) fn samples() -> Vec<Self> {
                vec![$( Self::$variant $({ $($field: Text::sample()),+ })? ),+]
            }
        }
    };
}

mod applied;
mod class;
mod refused;

pub use self::{applied::Applied, class::Class, refused::Refused};

/// What becomes of a command: it is done, and the list says what it did beyond that; or the reason why it did nothing.
pub type Answer = Result<Vec<Applied>, Refused>;

/// So many of a list are named in an answer.
pub const NAMED_MAX: usize = 10;

/// The first of a list that may be long, and how many it has in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Several<T> {
    /// At most [`NAMED_MAX`].
    pub first: Vec<T>,
    /// How many there are, those in `first` included.
    pub count: u64,
}

impl<T> Several<T> {
    /// So many, of which these are known by name.
    pub fn of(known: Vec<T>, count: u32) -> Self {
        Self { first: known.into_iter().take(NAMED_MAX).collect(), count: u64::from(count) }
    }
}

impl<T> FromIterator<T> for Several<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut several = Self { first: Vec::new(), count: 0 };
        for one in all {
            several.count += 1;
            if several.first.len() < NAMED_MAX {
                several.first.push(one);
            }
        }
        several
    }
}

impl<T: fmt::Display> fmt::Display for Several<T> {
    /// `a, b`, or `a, b and 12 more`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, one) in self.first.iter().enumerate() {
            write!(f, "{}{one}", if nth == 0 { "" } else { ", " })?;
        }
        match self.count.saturating_sub(self.first.len() as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A limit: its id is unique for what it is set on, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedLimit {
    /// What it is set on.
    pub selector: Selector,
    /// Its id.
    pub limit_id: Box<str>,
}

impl fmt::Display for NamedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.limit_id, self.selector.describe())
    }
}

/// What one source of payment pays of an adjustment, or gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// One of [`Meter::SOURCES`].
    pub source: Meter,
    /// In micro-credits, as it is counted: below zero for a refund.
    pub micro: i64,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.source.name(), self.micro)
    }
}

/// An owner of a pool or balance that could get a refund back, and how to say that it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundOwner {
    /// The organization or a workspace.
    pub owner: Scope,
    /// A workspace whose usage this owner paid; `None` if that usage names no workspace.
    pub workspace_id: Option<Name>,
}

impl fmt::Display for RefundOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.workspace_id {
            Some(workspace_id) => write!(f, "{} with workspace_id {workspace_id}", self.owner),
            None => write!(f, "{}", self.owner),
        }
    }
}

/// A field of an answer.
trait Text: Sized {
    /// As a program reads it.
    fn text(&self) -> String;

    /// Some value.
    #[cfg(test)]
    fn sample() -> Self;
}

macro_rules! texts {
    ($($type:ty: $sample:expr, $text:expr;)+) => {
        $(
            impl Text for $type {
                fn text(&self) -> String {
                    let text: fn(&Self) -> String = $text;
                    text(self)
                }

                #[cfg(test)]
                fn sample() -> Self {
                    $sample
                }
            }
        )+
    };
}

texts! {
    i64: 7, ToString::to_string;
    u64: 7, ToString::to_string;
    u16: 7, ToString::to_string;
    Box<str>: "x-1".into(), ToString::to_string;
    Timestamp: Timestamp::from_ms(0), ToString::to_string;
    Scope: Scope::Workspace("sales".into()), ToString::to_string;
    Selector: Selector::One(Scope::sample()), Selector::describe;
    Meter: Meter::InputTokens, |meter| meter.name().to_owned();
    WindowKind: WindowKind::Day, |window| window.name().to_owned();
    Mode: Mode::Team, |mode| mode.name().to_owned();
    Source: Source::Prepaid, |source| source.name().to_owned();
    Plan: Plan::Plus, |plan| plan.name().to_owned();
    CauseKind: CauseKind::Limit, |cause| cause.name().to_owned();
    NamedLimit: Self { selector: Text::sample(), limit_id: Text::sample() }, ToString::to_string;
    Part: Self { source: Meter::PoolCreditsMicro, micro: -7 }, ToString::to_string;
    RefundOwner: Self { owner: Text::sample(), workspace_id: Some("sales".into()) }, ToString::to_string;
}

impl<T: Text> Text for Vec<T> {
    fn text(&self) -> String {
        self.iter().map(Text::text).collect::<Vec<_>>().join(", ")
    }

    #[cfg(test)]
    fn sample() -> Self {
        vec![T::sample()]
    }
}

impl<T: Text> Text for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map(Text::text).unwrap_or_default()
    }

    #[cfg(test)]
    fn sample() -> Self {
        Some(T::sample())
    }
}

impl<T: Text + fmt::Display> Text for Several<T> {
    fn text(&self) -> String {
        self.to_string()
    }

    #[cfg(test)]
    fn sample() -> Self {
        [T::sample()].into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
