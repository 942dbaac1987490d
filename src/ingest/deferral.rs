//! Progress that is deferred, after a failover, until no other failover can go back behind it.
//!
//! Where a primary has come back further behind than others, tags disagree, and the smallest counts. A slot that moves may
//! bring that primary a tag which is further than what is written there. As long as that is so, progress at the other tags
//! must not rise: at the next failover the primary goes back, and that tag does not go back with it. So progress waits until
//! what the furthest tag says is applied again, that is so old that every replica has it, and the fence is found to hold after
//! that: before, it may have been taken back unseen. Tags also disagree where progress was written to some of them only.
//!
//! The simulation found this: a primary that failed over, gave its slots away, got another one, and failed over again.

use std::time::Duration;

use tokio::time::Instant;

/// What the progress of one partition is deferred for.
#[derive(Clone, Copy, Debug)]
pub struct Deferral {
    furthest: i64,
    /// When all before that was applied.
    reached_on: Option<Instant>,
    /// Whether every replica has that.
    is_old_enough: bool,
}

impl Deferral {
    /// Some tag is at the offset `furthest`.
    pub const fn new(furthest: i64) -> Self {
        Self { furthest, reached_on: None, is_old_enough: false }
    }

    /// Notes that all before `next_offset` is applied, where a replica may be behind by `replica_behind`.
    pub fn note(&mut self, next_offset: i64, replica_behind: Duration) {
        if next_offset >= self.furthest {
            let reached_on = *self.reached_on.get_or_insert_with(Instant::now);
            self.is_old_enough = reached_on.elapsed() >= replica_behind;
        }
    }

    /// Whether it is over, if the fence was found to hold after what was noted last.
    pub const fn is_over(&self) -> bool {
        self.is_old_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn u_5_progress_waits_until_every_replica_has_what_the_furthest_tag_says() {
        let second = Duration::from_secs(1);
        let mut deferral = Deferral::new(42);
        for (next_offset, passes_s, lasts) in [(28, 9, true), (42, 1, true), (43, 1, true), (44, 1, false)] {
            deferral.note(next_offset, 2 * second);
            assert_eq!(deferral.is_over(), !lasts, "{next_offset}");
            tokio::time::sleep(passes_s * second).await;
        }
    }
}
