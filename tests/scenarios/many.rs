//! Rules for many: what concerns thousands of members takes effect with one record, and is announced page by page.

use bursar::domain::account::changes::COMMIT_ROWS_MAX;

use crate::{
    language::parse,
    stage::{ORGANIZATION, Stage},
};

/// Members, of which each has a seat; more than fit one commit.
const MEMBERS: usize = 2_300;

fn played(stage: &mut Stage, story: &str) -> Vec<String> {
    for (number, step) in parse(story).iter().enumerate() {
        stage.play(number + stage.identities.len() * 10_000, step);
    }
    std::mem::take(&mut stage.told)
}

fn count(told: &[String], end: &str) -> usize {
    told.iter().filter(|line| line.ends_with(end)).count()
}

/// A team of members whose included usage is used up.
fn team() -> Stage {
    let mut stage = Stage::new();
    let mut story = "2026-01-15 09:00 price input_micro=1000000
        09:00 admin says set_mode mode=seat_enterprise
        09:00 admin says set_source source=prepaid on=true
        09:00 admin says set_pool scope=org included_micro=0
        09:00 admin says grant scope=org grant_id=balance amount_micro=100000 kind=prepaid
        09:00 admin says set_seat_type seat_type=standard period_micro=10\n"
        .to_owned();
    for member in 0..MEMBERS {
        story += &format!("09:00 admin says set_member user_id=u{member} seat_type=standard\n");
    }
    for member in 0..MEMBERS {
        story += &format!("09:10 use 11 by chat in w for u{member}\n");
    }
    let told = played(&mut stage, &story);
    assert_eq!(count(&told, "pauses for seat_allowance"), 0);
    stage
}

#[test]
fn many_follow_one_record_in_bounded_commits() {
    let mut stage = team();
    stage.drop_view();
    // Everyone lives on the balance. It is switched off for all with one record, and on again with another.
    let told = played(&mut stage, "2026-01-15 10:00 admin says set_source source=prepaid on=false");
    assert_eq!(count(&told, "pauses for seat_allowance"), MEMBERS);
    let told = played(&mut stage, "2026-01-15 10:01 admin says set_source source=postpaid on=true");
    assert_eq!(count(&told, "runs again"), MEMBERS);
    assert!(stage.rows_committed_max <= COMMIT_ROWS_MAX, "{} rows in one commit", stage.rows_committed_max);
    assert!(stage.signals_committed_max <= 2 * COMMIT_ROWS_MAX, "{} signals", stage.signals_committed_max);
    assert!(stage.ledger.paused(ORGANIZATION).is_empty());
}

#[test]
fn many_pause_when_what_all_share_runs_out_and_resume_with_a_grant() {
    let mut stage = team();
    let balance = 100_000 - MEMBERS;
    let told = played(&mut stage, &format!("2026-01-15 10:00 use {balance} by chat in w for u0"));
    assert_eq!(count(&told, "pauses for pool"), MEMBERS);
    let told =
        played(&mut stage, "2026-01-15 10:01 admin says grant scope=org grant_id=more amount_micro=9 kind=prepaid");
    assert_eq!(count(&told, "runs again"), MEMBERS);
    // The period closes with a line for each, page by page.
    let told = played(&mut stage, "2026-02-01 00:15 time passes");
    assert_eq!(told.iter().filter(|line| line.starts_with("statement of user:")).count(), MEMBERS);
    assert!(stage.rows_committed_max <= COMMIT_ROWS_MAX, "{} rows in one commit", stage.rows_committed_max);
}
