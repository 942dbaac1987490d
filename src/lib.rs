//! Bursar.
pub mod cli;
pub mod clock;
pub mod config;
pub mod contract;
pub mod domain;
pub mod ingest;
pub mod ledger;
pub mod notify;
pub mod observe;
pub mod service;
pub mod topics;
