//! What is said of a correction of usage.

use serde::Deserialize;

use super::super::super::texts::instant;
use crate::domain::{
    control::{Adjustment, Command},
    meter::{Counters, Meter},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjust {
    reference: Box<str>,
    event_time: String,
    workspace_id: Option<Box<str>>,
    agent_id: Option<Box<str>>,
    user_id: Option<Box<str>>,
    #[serde(default)]
    credits_micro: i64,
    #[serde(default)]
    input_tokens: i64,
    #[serde(default)]
    output_tokens: i64,
    #[serde(default)]
    cache_read_input_tokens: i64,
    #[serde(default)]
    cache_creation_input_tokens: i64,
    #[serde(default)]
    runs_started: i64,
    #[serde(default)]
    runs_completed: i64,
    #[serde(default)]
    runs_failed: i64,
    #[serde(default)]
    runs_cancelled: i64,
}

impl Adjust {
    pub fn into_command(self) -> Result<Command, String> {
        let counts = self.counts();
        Ok(Command::Adjust(Adjustment {
            reference: self.reference,
            event_time: instant(&self.event_time)?,
            workspace_id: self.workspace_id,
            agent_id: self.agent_id,
            user_id: self.user_id,
            credits_micro: self.credits_micro,
            counts,
        }))
    }

    fn counts(&self) -> Counters {
        let given = [
            (Meter::InputTokens, self.input_tokens),
            (Meter::OutputTokens, self.output_tokens),
            (Meter::CacheReadInputTokens, self.cache_read_input_tokens),
            (Meter::CacheCreationInputTokens, self.cache_creation_input_tokens),
            (Meter::RunsStarted, self.runs_started),
            (Meter::RunsCompleted, self.runs_completed),
            (Meter::RunsFailed, self.runs_failed),
            (Meter::RunsCancelled, self.runs_cancelled),
        ];
        let mut counts = Counters::ZERO;
        for (meter, count) in given {
            counts.set(meter, count);
        }
        counts
    }
}
