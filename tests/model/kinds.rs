//! Kinds of fault, told by what remains of a life that was made short and by its difference. The numbers are those of the
//! sentences that were tried by hand before; kinds without a number were found by lives alone.

mod found;

use crate::shrink::Failing;
use found::Found;

/// A kind of fault.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    is: fn(&Found<'_>) -> bool,
}

/// The first kind that a short life is of.
pub fn of(failing: &Failing) -> Option<&'static str> {
    let found = Found::new(failing);
    KINDS.iter().find(|kind| (kind.is)(&found)).map(|kind| kind.name)
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

const LOOKS: [&str; 8] =
    ["set_member", "consent", "adjust", "request", "approve", "set_limit", "remove_limit", "set_source"];

const KINDS: [Kind; 63] = [
    // What a limit passes is booked: it would hide all others.
    Kind { name: "36 overshoot of every limit is measured", is: |found| found.missing("overshoot", "limit") },
    Kind {
        name: "47 a refund to a grant that ended says so",
        is: |found| found.last_says(&["adjust"]) && found.any("applied adjust", "lost="),
    },
    Kind {
        name: "26 builders are counted once per window",
        is: |found| found.any("count", " builders") && found.says("register_agent") && !found.says("set_organization"),
    },
    Kind {
        name: "28 an agent in action is counted once",
        is: |found| found.any("count", " active_agents") && found.says("adjust"),
    },
    Kind {
        name: "13 a refund of an older session",
        is: |found| found.is_refused_by_account("adjust") && found.has("set_seat_type", "session_micro"),
    },
    Kind {
        name: "15 a refund takes no week below zero",
        is: |found| found.last_says(&["adjust"]) && found.any("count", " week ") && found.is_below_zero(),
    },
    Kind {
        name: "18 an approval where a rule is called spend",
        is: |found| found.is_refused_by_account("approve") && found.has_value("set_limit", "limit_id", "spend"),
    },
    Kind {
        name: "17 an approval switches extra usage on",
        is: |found| found.says("approve") && !found.any("refused", ""),
    },
    Kind {
        name: "34 auto-reload can be ended on every plan",
        is: |found| found.says("set_plan") && found.is_refused_by_account(""),
    },
    Kind {
        name: "42 consent is asked for in every mode",
        is: |found| found.has_value("set_consent", "required", "true") && !found.has_seats(),
    },
    Kind {
        name: "19 auto-reload for named members",
        is: |found| found.missing("reload ", "") && found.has("set_source", "user_id"),
    },
    Kind {
        name: "25 a refused answer leaves nothing behind",
        is: |found| found.any("identity of reload", "") || (found.any("reload ", "") && found.says("refuse_reload")),
    },
    Kind {
        name: "24 one record is one change of a pause",
        is: |found| {
            found.last_says(&["set_limit", "remove_limit"]) && found.any("identity of pause", "")
                || (found.last_says(&["remove_limit"]) && found.extra("pause", "[limit") && !found.any("causes", ""))
        },
    },
    Kind { name: "11 a wrong anchor that was corrected never begins", is: |found| found.times("set_organization") > 1 },
    Kind {
        name: "12 the first zone after usage lets what runs end as planned",
        is: |found| found.says("set_organization") && found.any_of(&["count", "statement", "correction", "part"]),
    },
    Kind {
        name: "30 the free phase ends where nobody bought credits",
        is: |found| found.missing("pause agent:", "free_phase") && !found.says("set_pool"),
    },
    Kind {
        name: "07 a grant that begins resumes agents of the free phase",
        is: |found| found.has("grant", "effective_from") && found.missing("pause agent:", "[]"),
    },
    Kind {
        name: "43 a grant that begins resumes who paused after it was given",
        is: |found| found.has("grant", "effective_from") && found.missing("pause user:", "[]"),
    },
    Kind {
        name: "40 usage of an earlier time pauses nobody who has credits",
        is: |found| found.last_is_earlier_use() && found.has("grant", "effective_from") && found.extra("pause", "["),
    },
    Kind {
        name: "46 a purchase of the last period that expires changes nothing",
        is: |found| {
            found.has("grant", "expires_at") && found.extra("threshold", " pool ") && !found.last_says(&["grant"])
        },
    },
    Kind {
        name: "50 a balance that expires is told to each who lives on it",
        is: |found| found.has("grant", "expires_at") && found.missing("pause user:", "["),
    },
    Kind {
        name: "45 an agent without users is told as well",
        is: |found| found.has_seats() && found.missing("pause agent:", "[pool]"),
    },
    Kind {
        name: "39 a look at an agent pauses it for everybody",
        is: |found| found.has_seats() && found.extra("pause agent:", "[pool]"),
    },
    Kind {
        name: "01 a rule pauses the whole organization",
        is: |found| found.extra("pause org", "[pool]") && found.has_pools() && !found.last_says(&["set_pool"]),
    },
    Kind {
        name: "02 a pool of nothing pauses workspaces with credits",
        is: |found| found.extra("pause org", "[pool]") && found.has_pools(),
    },
    Kind {
        name: "03 an organization paused before the first pool of a workspace goes on",
        is: |found| found.missing("pause org", "[]") && found.last_says(&["set_pool"]),
    },
    Kind {
        name: "22 a pool that is off for all",
        is: |found| {
            found.has_value("set_source", "source", "pool")
                && !found.has("set_source", "user_id")
                && found.missing_owner("[pool]")
        },
    },
    Kind {
        name: "21 an empty pool pauses its workspace whoever emptied it",
        is: |found| found.extra("pause user:", "[extra_usage_off]") && !found.has_seats(),
    },
    Kind {
        name: "48 the organization's limit runs out for every workspace",
        is: |found| found.last_uses() && found.missing_owner("[spend_limit"),
    },
    Kind {
        name: "44 a lowered limit of the organization pauses who lives on it",
        is: |found| found.last_says(&["set_limit"]) && found.missing_owner("[spend_limit"),
    },
    Kind {
        name: "49 a member's limit pauses nobody whom the pool pays",
        is: |found| !found.has_seats() && found.extra("pause user:", "[spend_limit"),
    },
    Kind {
        name: "04 a role pauses nobody",
        is: |found| !found.has_seats() && found.last_says(&LOOKS) && found.extra("pause user:", "[pool]"),
    },
    Kind {
        name: "05 a raised workspace limit resumes the user",
        is: |found| found.last_says(&["set_limit", "remove_limit"]) && found.missing("pause user:", "[]"),
    },
    Kind {
        name: "09 a member's own limit does not lift that of the seat",
        is: |found| {
            found.last_says(&["set_limit", "remove_limit"])
                && found.extra("pause", "[]")
                && found.times("set_limit") > 1
        },
    },
    Kind {
        name: "29 a new seat has what was used already",
        is: |found| found.says("set_member") && found.is_used_before("set_member"),
    },
    Kind {
        name: "32 a cap of nothing is told once",
        is: |found| {
            found.has_value("set_limit", "cap", "0")
                && !found.last_says(&["set_limit"])
                && (found.extra("threshold", "cap=0") || found.extra("pause", "[]"))
        },
    },
    Kind {
        name: "41 a limit of a week sees what is used",
        is: |found| found.has_value("set_limit", "window", "week") && found.is_used_before("set_limit"),
    },
    Kind {
        name: "38 what did not change is not told again",
        is: |found| {
            let is_again = found.last_says(&["set_limit"]) && found.times("set_limit") > 1
                || found.last_says(&["set_pool"]) && found.times("set_pool") > 1;
            is_again && found.any_of(&["threshold", "pause"]) && found.extra("", "")
        },
    },
    Kind {
        name: "a purchase is not voided after its period",
        is: |found| found.last_says(&["void_grant"]) && found.missing("refused", ""),
    },
    Kind { name: "the id of a grant is forgotten with it", is: |found| found.gives_an_id_twice() },
    Kind { name: "seat types where there are no seats", is: |found| found.is_refused_by_model("set_seat_type") },
    Kind { name: "a refund is a new revision", is: |found| found.says("adjust") && found.extra("threshold", " pool ") },
    Kind {
        name: "minutes that are not kept tell nothing",
        is: |found| found.has_value("set_limit", "window", "minute") && found.missing("threshold", ""),
    },
    Kind {
        name: "a window that ended before the limit tells nothing",
        is: |found| found.last_is_earlier_use() && found.extra("threshold", "limit"),
    },
    Kind {
        name: "the cap per user counts what that pool paid",
        is: |found| found.has("set_pool", "user_cap_micro") && found.any("count", "pool_credits_micro"),
    },
    Kind {
        name: "a cap per user of nothing pauses the owner",
        is: |found| found.has("set_pool", "user_cap_micro") && found.missing_owner("[pool]"),
    },
    Kind {
        name: "the end of the free phase pauses whom it leaves without money",
        is: |found| {
            found.says("set_free_phase") && found.missing("pause", "[") && !found.last_says(&["set_free_phase"])
        },
    },
    Kind {
        name: "a purchase that ends with its period leaves a pool of nothing",
        is: |found| found.says("grant") && !found.last_says(&["grant"]) && found.missing_owner("[pool]"),
    },
    Kind {
        name: "each workspace without a pool of its own pauses",
        is: |found| !found.has_seats() && found.missing("pause ws:", "[pool]"),
    },
    Kind {
        name: "a pool of nothing is told when it is set, and then only",
        is: |found| found.any("threshold", " pool ") && found.any("threshold", "cap=0"),
    },
    Kind {
        name: "a closed period keeps the pool that held when it ended",
        is: |found| found.says("set_pool") && found.any_of(&["statement", "correction"]) && found.any("count", "free_"),
    },
    Kind {
        name: "weeks are counted whether or not a limit asks for them",
        is: |found| found.any("count", " week ") && !found.says("adjust"),
    },
    Kind {
        name: "the first charge of a closed period is a correction",
        is: |found| found.missing("correction", "") && found.extra("statement", ""),
    },
    Kind { name: "a digest that is due in less than a minute is sent", is: |found| found.missing("digest", "") },
    Kind { name: "whoever is named is looked at", is: |found| found.has_seats() && found.missing("pause user:", "[") },
    Kind {
        name: "a rule for many is told to all it is for",
        is: |found| found.last_says(&["set_limit"]) && found.missing("threshold", "limit") && !found.extra("", ""),
    },
    Kind {
        name: "an agent of the free phase that used nothing goes on",
        is: |found| found.extra("pause agent:", "free_phase"),
    },
    Kind {
        name: "the same causes are no signal",
        is: |found| found.account_says_twice("pause") || (found.extra("pause", "") && !found.any("causes", "")),
    },
    Kind {
        name: "no consent is asked for where there is nothing",
        is: |found| found.says("set_consent") && found.extra("pause user:", "[consent"),
    },
    Kind {
        name: "a mode with seats has no limits on extra credits of workspaces",
        is: |found| found.is_refused_by_model("set_mode"),
    },
    Kind {
        name: "an agent that was not used lately runs again",
        is: |found| found.has_seats() && found.missing("pause agent:", "[]"),
    },
    Kind {
        name: "a user is looked at wherever the pool, a switch or a limit stands in the way",
        is: |found| !found.has_seats() && found.any("pause user:", ""),
    },
    Kind { name: "a limit's id is unique for its selector", is: |found| found.is_refused_by_account("set_limit") },
];
