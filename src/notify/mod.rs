//! Kafka out: signals from the outbox and dead letters, acknowledged before progress is written.
//!
//! - [`encode`] turns signals into bytes, Avro or JSON.
//! - [`publisher`] sends them and waits until the broker has them.
//! - [`readback`] reads the pauses topic back and finds what differs from the accounts.

pub mod encode;
pub mod publisher;
pub mod readback;
