//! Bursar.
pub mod domain;
pub mod ledger;
