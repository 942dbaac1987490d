//! Faults on real processes: the program, real Kafka and real Redis, and what breaks between them (the table of
//! docs/exactly_once.md). Each test has its control run: with a defence off it must fail.

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod cluster;
mod contention;
mod dependencies;
mod failover;
mod load;
mod log;
mod members;
mod nodes;
mod proxy;
mod soak;
mod steps;

/// What the runs of a test are called: one, and so many in `make soak`.
fn runs(in_soak: u32) -> impl Iterator<Item = String> {
    let times = if std::env::var_os("SOAK").is_some() { in_soak } else { 1 };
    (0..times).map(|nth| if nth == 0 { String::new() } else { format!("-{nth}") })
}
