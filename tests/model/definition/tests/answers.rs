//! The sentences of answers, as scenarios tell them: `src/contract/answer.rs` has those of the account.

/// For each code that a scenario tells of, its sentence with the fields of the code. [`sentence_of`] has those told
/// in several ways.
const SENTENCES: [(&str, &str); 49] = [
    ("adjustment_changes_nothing", "the adjustment changes nothing"),
    ("agent_registered_before", "{scope} was registered by {created_by} before"),
    ("cap_below_zero", "cap is {cap}; it must not be below 0 (leave it out for unlimited)"),
    (
        "cap_does_not_raise",
        "cap {cap_micro} does not raise the member's limit, which is {before_micro} micro-credits; write a higher one",
    ),
    ("charged", "{parts}"),
    ("count_below_zero", "{scope} has {counted} {meter} in that period"),
    ("extra_usage_stays_off", "extra usage is switched off for the whole organization, and stays off for the member"),
    ("free_phase_over", "the free phase is over; usage since then is charged"),
    ("grant_ends_before_it_starts", "the grant ends at {expires_at}, before it starts at {effective_from}"),
    ("grant_given_before", "grant {grant_id} was given before; nothing is added"),
    (
        "grant_period_over",
        "grant {grant_id} ended with its period at {period_end}; it pays late charges of that period only, and is not \
         taken back",
    ),
    (
        "grants_have_something_left",
        "the pool of {scope} has {left_micro} micro-credits left of grant {grants}; void what is left first, or wait \
         until it is spent or ends",
    ),
    ("id_length", "{field} has {bytes} bytes; it must have 1 to {bytes_max}"),
    ("mode_has_no_seats", "mode {mode} has no seats"),
    ("mode_has_no_source", "mode {mode} has no source {source}"),
    (
        "mode_has_one_pool",
        "mode {mode} has one pool, the organization's, because a member works in many workspaces; set it on org, not \
         on {scope}",
    ),
    ("no_limit_binds", "no limit binds the member now"),
    ("no_pool_to_remove", "{scope} has no pool; there is nothing to remove"),
    ("not_an_agent", "{scope} is no agent: write agent:WORKSPACE/AGENT"),
    ("nothing_left_of_grant", "nothing is left of grant {grant_id}: what is spent is not taken back"),
    ("only_named_create_agents", "{actor} may not create agents{within}: only named members may"),
    ("only_owners_create_agents", "{actor} may not create agents{within}: only owners may"),
    ("out_of_range", "{field} is {value}; it must lie between {least} and {most}"),
    ("plan_lacks_console", "the plan {plan} has no credits and rules over all workspaces; they need enterprise"),
    ("plan_lacks_credits", "the plan {plan} has no credits; they need business or enterprise"),
    ("pool_missing", "{scope} has no pool; set one first (it may include 0)"),
    ("purchase_begins_after_its_period", "a purchased grant ends with its period at {period_end}, before it starts"),
    ("refund_exceeds_paid", "only {paid_micro} micro-credits were paid there in that period"),
    ("refund_owner_unclear", "more than one pool could get the refund back; name a workspace_id: {owners}"),
    ("refunded", "{parts}"),
    (
        "reload_answered_before",
        "reload {reload_id} was answered by grant {grant_id} before; a grant beside that one names no reload_id",
    ),
    ("reload_closed", "reload {reload_id} is not open"),
    ("reload_not_open", "reload {reload_id} is not open; the grant stands for itself"),
    ("request_is_open", "request {request_id} of {user_id} is open since {since}"),
    ("request_not_open", "request \"{request_id}\" is not open"),
    ("requests_switched_off", "requests are switched off in this organization"),
    ("reserved", "{control} is reserved for owners: ask an owner"),
    ("scope_unknown", "{scope} is not known: it was neither used nor registered"),
    ("seat_type_unknown", "there is no seat type \"{seat_type}\"; set it first"),
    ("session_of_no_user", "only a user has sessions"),
    (
        "spend_limit_beside_seats",
        "mode {mode} bounds extra usage of members, seat types and the organization only; limit {limit_id} cannot be \
         set on {selector}",
    ),
    (
        "spend_limits_stand",
        "mode {mode} bounds extra usage of members, seat types and the organization only; first remove limit {limits}",
    ),
    ("still_binding", "still binding: {limits}"),
    ("switched_on", "{sources} switched on for the member"),
    ("taken_back", "{micro} micro-credits are taken back"),
    (
        "thresholds_out_of_range",
        "thresholds_percent is {thresholds_percent}; write at most {count_max} whole numbers from 1 to {percent_max}, \
         each above the one before",
    ),
    ("what_runs_ends_as_planned", "what runs at {at} ends as planned; what follows is new"),
    ("what_was_set_stays", "what was set before stays; what the plan lacks can no longer be set"),
    (
        "workspace_pools_stand",
        "mode {mode} has one pool, the organization's, because a member works in many workspaces; {pools}",
    ),
];

/// Codes with their fields as sentences: `CODE field=value CODE field=[a, b]`.
pub fn sentences(codes: &str) -> String {
    let mut sentences: Vec<(&str, String)> = Vec::new();
    for word in words(codes) {
        match word.split_once('=') {
            None => sentences.push((word, sentence_of(word, codes))),
            Some((name, value)) => {
                let (_, sentence) = sentences.last_mut().expect("fields follow their code");
                *sentence = sentence.replace(&format!("{{{name}}}"), &told(name, value));
            }
        }
    }
    // Of an approval, what the limits leave is told first.
    sentences.sort_by_key(|(code, _)| !matches!(*code, "no_limit_binds" | "still_binding"));
    let sentences: Vec<String> = sentences.into_iter().map(|(_, sentence)| sentence).collect();
    sentences.join("; ")
}

/// The words of a text; a list in brackets is one word.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut depth) = (Vec::new(), 0, 0_u8);
    for (place, letter) in text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            ' ' if depth == 0 => {
                words.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    words.push(&text[start..]);
    words
}

/// The sentence of a code, without the values of its fields.
fn sentence_of(code: &str, codes: &str) -> String {
    let is = |field: &str| words(codes).contains(&field);
    if code == "refund_exceeds_paid" && is("paid_micro=0") {
        return "nothing was paid there in that period".to_owned();
    }
    if code == "refunded" && !is("not_returned_micro=0") {
        return "{parts}; {not_returned_micro} of it to grants that have ended".to_owned();
    }
    if code == "limit_unknown" {
        let is_for_many = codes.contains("selector=every:") || codes.contains("selector=seat:");
        let for_many = "there is no limit \"{limit_id}\" for {selector}";
        return if is_for_many { for_many } else { "{selector} has no limit \"{limit_id}\"" }.to_owned();
    }
    if code == "set_by_owner" {
        let id = if is("limit_id=") { "" } else { " \"{limit_id}\"" };
        return format!("an owner set the {{what}}{id} on {{selector}}: ask an owner");
    }
    // A code that is told nowhere stands for itself, and is no sentence of a scenario.
    SENTENCES.iter().find(|(known, _)| *known == code).map_or(code, |(_, sentence)| sentence).to_owned()
}

/// The value of a field, as people read it.
fn told(name: &str, value: &str) -> String {
    let values = || value.trim_matches(['[', ']']).split(", ");
    match name {
        "at" | "effective_from" | "expires_at" | "period_end" | "since" => {
            let ms = value.parse().expect("an instant is a number");
            format!("{:.3}", jiff::Timestamp::from_millisecond(ms).expect("an instant"))
        }
        "within" if value == "org" => String::new(),
        "within" => format!(" in {value}"),
        "selector" => whom(value),
        "limits" => values().map(limit).collect::<Vec<_>>().join(", "),
        "parts" => in_order(values()).join(", ").replace('=', " "),
        "pools" if value.contains(", ") => format!("{} have pools: remove them first", value.trim_matches(['[', ']'])),
        "pools" => format!("{} has a pool: remove it first", value.trim_matches(['[', ']'])),
        "sources" if value.contains(", ") => format!("{} are", in_order(values()).join(" and ")),
        "sources" => format!("{} is", value.trim_matches(['[', ']'])),
        "thresholds_percent" => value.to_owned(),
        _ => value.trim_matches(['[', ']']).to_owned(),
    }
}

/// A limit that is written `SELECTOR ID`: `spend on every user`.
pub fn limit(name: &str) -> String {
    let (selector, id) = name.split_once(' ').expect("a limit has a selector and an id");
    format!("{id} on {}", whom(selector))
}

/// Whom a limit is for.
fn whom(selector: &str) -> String {
    match selector.split_once(':') {
        Some(("every", kind)) => format!("every {kind}"),
        Some(("seat", seat_type)) => format!("every member with a \"{seat_type}\" seat"),
        _ => selector.to_owned(),
    }
}

/// What begins with sources of payment, in the order in which they pay.
fn in_order<'a>(named: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let order = ["seat", "pool", "prepaid", "postpaid", "uncovered", "free"];
    let mut named: Vec<&str> = named.collect();
    named.sort_by_key(|one| order.iter().position(|source| one.starts_with(source)));
    named
}
