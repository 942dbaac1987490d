//! Bursar.
pub mod clock;
pub mod contract;
pub mod domain;
pub mod ingest;
pub mod ledger;
pub mod notify;
pub mod observe;
