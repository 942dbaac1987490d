//! Kafka out: signals from the outbox and dead letters, acknowledged before progress is written.
//!
//! - [`encode`] turns signals into bytes, Avro or JSON.
//! - [`publisher`] sends them and waits until the broker has them.
//! - [`reader`] reads our own topics; [`readback`] finds in the pauses topic what differs from the accounts.
//! - [`due`] writes a record when time has come for what ends by itself.

pub mod due;
pub mod encode;
pub mod publisher;
pub mod readback;
pub mod reader;
