//! A page of series that somebody renders and scrapes get.

use std::sync::{Arc, PoisonError, RwLock};

/// The page as it was rendered last. Clones share it.
#[derive(Clone, Default)]
pub struct Page(Arc<RwLock<Arc<str>>>);

impl Page {
    /// The series, in Prometheus's text format.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the place of what was there.
    pub fn put(&self, text: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = text.into();
    }
}
