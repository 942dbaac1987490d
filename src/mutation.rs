//! What control runs of the model break: evaluations and bounds, one at a time, by name.
//!
//! The model proves something only if a run fails when the account leaves one of them out. In a build without the feature
//! `faults`, which is every build but those of tests, nothing is ever broken and the question vanishes.

/// Evaluations and bounds that can be left out: the part, and of what.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn is_broken(_part: &str, _of: &str) -> bool {
    false
}

#[cfg(feature = "faults")]
mod broken {
    use std::cell::RefCell;

    thread_local! {
        static BROKEN: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
    }

    /// Breaks one thing in this thread, or nothing any more.
    pub fn break_here(what: Option<(&str, &str)>) {
        BROKEN.set(what.map(|(part, of)| (part.to_owned(), of.to_owned())));
    }

    /// Whether this is what is broken in this thread.
    pub fn is_broken(part: &str, of: &str) -> bool {
        BROKEN.with_borrow(|broken| broken.as_ref().is_some_and(|(a, b)| a == part && b == of))
    }
}

#[cfg(feature = "faults")]
pub use broken::{break_here, is_broken};
