//! What can be asked of a life that was made short, and of its difference.

use serde_json::Value as Json;

use crate::{
    life::{Step, What},
    shrink::Failing,
};

/// What was found.
pub struct Found<'a>(&'a Failing);

impl<'a> Found<'a> {
    pub fn new(failing: &'a Failing) -> Self {
        Self(failing)
    }

    fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    fn last(&self) -> &What {
        &self.steps().last().expect("a life that fails has a step").what
    }

    pub fn last_says(&self, commands: &[&str]) -> bool {
        matches!(self.last(), What::Say { command, .. } if commands.contains(&command.as_str()))
    }

    pub fn last_uses(&self) -> bool {
        matches!(self.last(), What::Use(_))
    }

    pub fn last_is_earlier_use(&self) -> bool {
        let at_ms = self.steps().last().map_or(0, |step| step.at_ms);
        matches!(self.last(), What::Use(event) if event.time_ms < at_ms)
    }

    pub fn times(&self, wanted: &str) -> usize {
        let is_it = |step: &&Step| matches!(&step.what, What::Say { command, .. } if command == wanted);
        self.steps().iter().filter(is_it).count()
    }

    pub fn says(&self, command: &str) -> bool {
        self.times(command) > 0
    }

    fn fields(&self, wanted: &str, name: &str) -> Vec<&Json> {
        let fields = self.steps().iter().filter_map(|step| match &step.what {
            What::Say { command, fields, .. } if command == wanted => fields.get(name),
            _ => None,
        });
        fields.collect()
    }

    pub fn has(&self, command: &str, name: &str) -> bool {
        !self.fields(command, name).is_empty()
    }

    pub fn has_value(&self, command: &str, name: &str, value: &str) -> bool {
        self.fields(command, name).iter().any(|field| field.to_string().trim_matches('"') == value)
    }

    pub fn has_seats(&self) -> bool {
        let modes = self.fields("set_mode", "mode");
        modes.last().is_some_and(|mode| *mode == "team" || *mode == "seat_enterprise")
    }

    pub fn gives_an_id_twice(&self) -> bool {
        let ids = self.fields("grant", "grant_id");
        (1..ids.len()).any(|place| ids[..place].contains(&ids[place]))
    }

    /// Whether a workspace has a pool.
    pub fn has_pools(&self) -> bool {
        self.fields("set_pool", "scope")
            .iter()
            .any(|scope| scope.as_str().is_some_and(|scope| scope.starts_with("ws:")))
    }

    /// Whether something was used before a command was said for the last time.
    pub fn is_used_before(&self, wanted: &str) -> bool {
        let is_it = |step: &Step| matches!(&step.what, What::Say { command, .. } if command == wanted);
        let said = self.steps().iter().rposition(is_it).unwrap_or(0);
        self.steps()[..said].iter().any(|step| matches!(step.what, What::Use(_)))
    }

    pub fn any(&self, start: &str, part: &str) -> bool {
        self.0.difference.lines.iter().any(|line| line.what.starts_with(start) && line.what.contains(part))
    }

    pub fn any_of(&self, starts: &[&str]) -> bool {
        starts.iter().any(|start| self.any(start, ""))
    }

    /// Only the model says or holds it.
    pub fn missing(&self, start: &str, part: &str) -> bool {
        let lines = &self.0.difference.lines;
        let is_it = |what: &str| what.starts_with(start) && what.contains(part);
        lines.iter().any(|line| is_it(&line.what) && is_absent(&line.account) && !is_absent(&line.model))
    }

    /// An organization or a workspace should pause.
    pub fn missing_owner(&self, part: &str) -> bool {
        self.missing("pause org", part) || self.missing("pause ws:", part)
    }

    /// Only the account says or holds it.
    pub fn extra(&self, start: &str, part: &str) -> bool {
        let lines = &self.0.difference.lines;
        let is_it = |what: &str| what.starts_with(start) && what.contains(part);
        lines.iter().any(|line| is_it(&line.what) && is_absent(&line.model) && !is_absent(&line.account))
    }

    pub fn account_says_twice(&self, start: &str) -> bool {
        let said = self.0.difference.lines.iter().filter(|line| line.what.starts_with(start));
        let own: Vec<&str> = said.filter(|line| !is_absent(&line.account)).map(|line| line.account.as_str()).collect();
        own.len() > 1 || own.iter().any(|times| times.ends_with("times"))
    }

    pub fn is_refused_by_account(&self, command: &str) -> bool {
        self.extra("refused", "") && (command.is_empty() || self.last_says(&[command]))
    }

    pub fn is_refused_by_model(&self, command: &str) -> bool {
        self.missing("refused", "") && self.last_says(&[command])
    }

    pub fn is_below_zero(&self) -> bool {
        self.0.difference.lines.iter().any(|line| line.account.starts_with('-') && line.account.len() > 1)
    }
}

fn is_absent(side: &str) -> bool {
    side == "-" || side.starts_with("does not")
}
