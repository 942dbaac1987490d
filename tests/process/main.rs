//! The program on real Kafka and real Redis: what holds over crashes, restarts and bad input.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod bad_input;
mod demo;
mod faults;
mod limits;
mod shown;
mod totals;
