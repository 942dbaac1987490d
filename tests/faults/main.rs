//! Faults on real processes: the program, real Kafka and real Redis, and what breaks between them (the table of
//! docs/exactly_once.md). Each test has its control run: with a defence off it must fail.

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod cluster;
mod dependencies;
mod failover;
mod load;
mod log;
mod members;
mod nodes;
mod proxy;
mod steps;
