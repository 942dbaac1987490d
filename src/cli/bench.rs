//! `bursar bench`
use super::Failure;
use crate::config::Config;
#[derive(Debug, clap::Args)]
pub struct BenchArguments {}
pub async fn bench(_: &Config, _: &BenchArguments) -> Result<(), Failure> { Ok(()) }
