//! What operators see: metrics, health, logs.

pub mod health;
pub mod metrics;
pub mod page;
pub mod server;
pub mod share;
