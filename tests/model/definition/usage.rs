//! *Terms*, *Time*, *Prices*: what becomes of a usage event, from its arrival to what it tells.

use super::{
    Model,
    history::{Counted, What},
    prices::Price,
    terms::{Meter, Named, Scope},
};
use crate::life::{EARLY_MS, HORIZON_MS, Use};

/// The model of an event that names none.
const MODEL: &str = "small";

impl Model {
    /// Takes a usage event.
    pub fn take(&mut self, event: &Use) {
        if event.time_ms > self.at_ms + EARLY_MS {
            return self.dead_letter("too_early");
        }
        if event.time_ms < self.at_ms - HORIZON_MS {
            return self.dead_letter("too_late");
        }
        let id = (event.id.clone(), event.time_ms);
        if let Some(known) = self.history.events.get(&id) {
            if known != event {
                self.dead_letter("id_reused");
            }
            return;
        }
        let (credits, others) = match self.measure(event) {
            Ok(measured) => measured,
            Err(reason) => return self.dead_letter(reason),
        };
        let named = Named { workspace: event.workspace.clone(), agent: event.agent.clone(), user: event.user.clone() };
        let counted = Counted {
            what: What::Usage,
            time_ms: event.time_ms,
            starts: self.history.starts_of_usage(event.time_ms, event.user.as_deref()),
            named,
            credits,
            parts: [0; 6],
            draws: Vec::new(),
            others,
            product: event.product.clone(),
            trigger: event.trigger.clone(),
            model: event.tokens.map(|_| event.model.clone().unwrap_or_else(|| MODEL.to_owned())),
        };
        if self.overflows(&counted) {
            return self.dead_letter("counter_overflow");
        }
        self.history.events.insert(id, event.clone());
        let place = self.history.counted.len();
        self.charge(counted);
        self.correct(place);
    }

    /// What an event costs, and what is counted beside credits; or why it never counts.
    fn measure(&self, event: &Use) -> Result<(i64, Vec<(Meter, i64)>), &'static str> {
        let (time_ms, at_ms) = (event.time_ms, self.at_ms);
        if let Some(tokens) = event.tokens {
            let model = event.model.as_deref().unwrap_or(MODEL);
            let counted = (Meter::InputTokens, tokens);
            return match self.history.price_of_tokens(model, tokens, time_ms, at_ms) {
                Price::Credits(credits) => Ok((credits, vec![counted])),
                Price::Unpriced => Ok((0, vec![counted, (Meter::UnpricedTokens, tokens)])),
                Price::Rejected => Err("unknown_model"),
                Price::TooMuch => Err("counter_overflow"),
            };
        }
        let meter = match event.phase.as_str() {
            "started" => Meter::RunsStarted,
            "completed" => Meter::RunsCompleted,
            "failed" => Meter::RunsFailed,
            _ => Meter::RunsCancelled,
        };
        let fee = if meter == Meter::RunsCompleted { self.history.fee_of_run(time_ms, at_ms) } else { 0 };
        Ok((fee, vec![(meter, 1)]))
    }

    /// Whether a charge would take a count of the organization beyond what can be counted.
    pub fn overflows(&self, one: &Counted) -> bool {
        let window = self.history.window(&Scope::Organization, super::terms::Kind::Period, one.starts.period);
        let credits = (Meter::Credits, one.credits);
        let mut counts = one.others.iter().chain([&credits]);
        counts.any(|(meter, count)| window.get(*meter).checked_add(*count).is_none())
    }

    /// Charges usage, or an adjustment above zero: splits it, counts it, and tells what follows.
    pub fn charge(&mut self, mut counted: Counted) -> [i64; 6] {
        let is_late = self.history.is_late(counted.time_ms, self.at_ms);
        let moment = self.history.moment(counted.time_ms, self.at_ms, is_late);
        let split = self.history.split(&counted.named, &counted.starts, moment, counted.credits);
        (counted.parts, counted.draws) = (split.parts, split.draws.clone());
        let place = self.history.counted.len();
        self.history.counted.push(counted.clone());
        self.book_overshoot(place, &split, is_late);
        self.tell_of_usage(&counted);
        split.parts
    }
}
