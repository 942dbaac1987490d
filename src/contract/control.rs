//! What a control record says, checked for what can be told without the account: exactly one command, whole and free
//! of contradiction.

mod said;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use self::said::Said;
use crate::domain::{
    control::ControlRecord, event::EVENT_TIMES_MS, ids::ID_BYTES_MAX, reason::Reason, time::Timestamp,
};

/// The longest reason that an actor may give, in bytes.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// The longest command, as JSON, in bytes.
const COMMAND_BYTES_MAX: usize = 256 * 1024;

/// In the schema of control records so many fields come before the commands.
pub const ENVELOPE_FIELDS: usize = 7;

/// The `data` of a control record, as `schemas/control.avsc` has it.
#[derive(Debug)]
pub struct ControlData {
    organization_id: String,
    actor: String,
    reason: String,
    by_owner: bool,
    /// The fields of all commands that are there.
    commands: Map<String, Json>,
}

impl ControlData {
    /// Reads the envelope; what is null is not there.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn read(data: Json) -> Result<Self, String> {
        let Json::Object(mut fields) = without_nulls(data) else { return Err("data is no object".to_owned()) };
        let mut text = |name: &str| match fields.remove(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("{name} is {other}, not a text")),
        };
        let organization_id = text("organization_id")?.ok_or("missing field `organization_id`")?;
        let actor = text("actor")?.ok_or("missing field `actor`")?;
        let reason = text("reason")?.unwrap_or_default();
        // Earlier versions do not have it: whoever wrote one spoke as an owner.
        let by_owner = match fields.remove("by_owner") {
            None => true,
            Some(Json::Bool(by_owner)) => by_owner,
            Some(other) => return Err(format!("by_owner is {other}, not true or false")),
        };
        Ok(Self { organization_id, actor, reason, by_owner, commands: fields })
    }

    /// Checks the data and makes a record of it.
    ///
    /// # Errors
    /// [`Reason::ControlRefused`] and others that say what contradicts what.
    pub fn into_record(self, id: String, source: String, time: Timestamp) -> Result<ControlRecord, Reason> {
        for (field, text) in
            [("id", &id), ("source", &source), ("organization_id", &self.organization_id), ("actor", &self.actor)]
        {
            if text.is_empty() {
                return Err(Reason::EmptyField(field));
            }
            if text.len() > ID_BYTES_MAX {
                return Err(Reason::FieldTooLong { field, bytes_max: ID_BYTES_MAX });
            }
        }
        if !EVENT_TIMES_MS.contains(&time.ms()) {
            return Err(Reason::TimeOutOfRange { time_ms: time.ms() });
        }
        if self.reason.len() > REASON_BYTES_MAX {
            return Err(Reason::FieldTooLong { field: "reason", bytes_max: REASON_BYTES_MAX });
        }
        let count = self.commands.len();
        if count != 1 {
            let why = format!("it has {count} commands; a record says exactly one");
            return Err(Reason::ControlRefused(why));
        }
        let commands = Json::Object(self.commands);
        let command_json = commands.to_string();
        if command_json.len() > COMMAND_BYTES_MAX {
            return Err(Reason::FieldTooLong { field: "command", bytes_max: COMMAND_BYTES_MAX });
        }
        let said = Said::deserialize(commands).map_err(|error| Reason::ControlRefused(error.to_string()))?;
        Ok(ControlRecord {
            id: id.into(),
            source: source.into(),
            time,
            organization_id: self.organization_id.into(),
            actor: self.actor.into(),
            reason: self.reason.into(),
            by_owner: self.by_owner,
            command: said.into_command(time).map_err(Reason::ControlRefused)?,
            command_json: command_json.into(),
        })
    }
}

/// What Avro writes as null and JSON leaves out is the same, so that a resend in the other format is the same record.
fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            let there = fields.into_iter().filter(|(_, value)| !value.is_null());
            Json::Object(there.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{
        control::{Command, SetReserved},
        limit::{Action, THRESHOLDS_PERCENT_DEFAULT},
        meter::Meter,
        organization::{AgentCreation, Reserved},
    };
    use serde_json::json;

    fn read(command: Json) -> Result<Command, String> {
        let mut data = json!({ "organization_id": "acme", "actor": "admin" });
        data.as_object_mut().expect("an object").extend(command.as_object().expect("an object").clone());
        let data = ControlData::read(data)?;
        let record = data.into_record("1".into(), "test".into(), Timestamp::from_ms(1_000));
        record.map(|record| record.command).map_err(|reason| reason.to_string())
    }

    fn check_refused(command: Json, why: &str) {
        let refused = read(command.clone()).expect_err("it is refused");
        assert!(refused.contains(why), "{command}: {refused}");
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_a_sentence() {
        check_refused(json!({}), "0 commands");
        check_refused(json!({ "pause": { "scope": "org" }, "resume": { "scope": "org" } }), "2 commands");
        check_refused(json!({ "stop": {} }), "unknown variant `stop`");
        check_refused(
            json!({ "pause": { "scope": "org" }, "by_owner": "no" }),
            "by_owner is \"no\", not true or false",
        );
        check_refused(json!({ "pause": { "scope": "org", "until": "x" } }), "unknown field `until`");
        check_refused(json!({ "pause": { "scope": "team:x" } }), "is not a scope");
        let anchor = json!({ "set_organization": { "time_zone": "UTC", "anchor": "2026-01-32" } });
        check_refused(anchor, "anchor \"2026-01-32\" is no date");
        let zone = json!({ "set_organization": { "time_zone": "Mars/Base", "anchor": "2026-01-31" } });
        check_refused(zone, "no IANA time zone");
        let request = json!({ "request": { "request_id": "r", "user_id": "u", "wants": "seat" } });
        check_refused(request, "seat_type belongs to");
        let creators = json!({ "set_agent_creation": { "who": "owners", "members": ["u"] } });
        check_refused(creators, "members belong to `named`");
        let nowhere = json!({ "set_agent_creation": { "who": "inherit" } });
        check_refused(nowhere, "write its workspace_id");
        check_refused(json!({ "register_agent": { "scope": "agent:sales/" } }), "is not a scope");
        check_refused(json!({ "set_reserved": { "controls": ["limits"] } }), "unknown variant `limits`");
        let card = json!({ "set_rate_card": { "unknown_model": "default" } });
        check_refused(card, "there are no default_prices");
        let mut limit = json!({ "set_limit": { "limit_id": "l", "scope": "org", "meter": "builders", "window": "day", "yields_to_own": true } });
        check_refused(limit.clone(), "yields_to_own belongs to");
        limit["set_limit"]["every"] = json!("user");
        check_refused(limit, "exactly one of `scope`");
        check_refused(json!({ "due": { "at": "2026-01-01T00:00:00Z" } }), "lies after");
    }

    #[test]
    fn what_is_left_out_takes_its_default() {
        let limit = json!({ "limit_id": "l", "every": "user", "meter": "unpriced_tokens", "window": "day" });
        let Ok(Command::SetLimit(limit)) = read(json!({ "set_limit": limit })) else { panic!("a limit") };
        assert_eq!((limit.cap, limit.action, limit.yields_to_own), (None, Action::Pause, false));
        assert_eq!(limit.thresholds_percent, THRESHOLDS_PERCENT_DEFAULT);
        let Ok(Command::SetRateCard(card)) = read(json!({ "set_rate_card": {} })) else { panic!("a card") };
        assert_eq!((card.effective_from, card.unknown_model), (Timestamp::from_ms(1_000), None));
        let rule = |who: &str| json!({ "set_agent_creation": { "who": who, "workspace_id": "sales" } });
        let rule = |who: &str| match read(rule(who)) {
            Ok(Command::SetAgentCreation(set)) => (set.workspace_id, set.rule),
            other => panic!("{who}: {other:?}"),
        };
        let sales = || Some("sales".into());
        assert_eq!(rule("owners"), (sales(), Some(AgentCreation::Owners)));
        assert_eq!(rule("inherit"), (sales(), None));
        let reserved = json!({ "set_reserved": { "controls": ["agent_creation", "buying", "buying"] } });
        let controls = vec![Reserved::Buying, Reserved::AgentCreation];
        assert_eq!(read(reserved), Ok(Command::SetReserved(SetReserved { controls })));
    }

    /// Every command of the schema can be read, and nothing else can.
    #[test]
    fn the_commands_are_those_of_the_schema() {
        let apache_avro::Schema::Record(record) = &super::super::newest(super::super::Kind::Control).schema else {
            panic!("the schema is a record")
        };
        let names: Vec<&str> = record.fields.iter().skip(ENVELOPE_FIELDS).map(|field| field.name.as_str()).collect();
        assert_eq!(record.fields[ENVELOPE_FIELDS - 1].name, "by_owner");
        for name in &names {
            // A rate card may be empty; every other command has a field that it needs.
            let why = read(json!({ *name: {} })).err().unwrap_or_else(|| "missing field of a rate card".to_owned());
            assert!(why.contains("missing field"), "{name}: {why}");
        }
        let refused = read(json!({ "nothing": {} })).expect_err("there is no such command");
        let known = refused.split("expected one of").nth(1).expect("the error names the commands");
        assert_eq!(known.matches('`').count() / 2, names.len(), "{known}");
    }

    /// A field that an earlier version does not have is null in it, and what is null is not there: so what was sent by that
    /// version has the content that it always had, and a resend of it is found to be one.
    #[test]
    fn what_a_version_adds_to_a_command_is_null_in_earlier_ones() {
        let commands = |version: u16| {
            let of = |one: &&super::super::Published| one.kind == super::super::Kind::Control && one.version == version;
            let published = super::super::PUBLISHED.iter().find(of).expect("it is published");
            let apache_avro::Schema::Record(record) = &published.schema else { panic!("the schema is a record") };
            // Commands are what may be null: how many fields come before them differs by version.
            let is_command = |field: &&apache_avro::schema::RecordField| field.default == Some(Json::Null);
            let fields = record.fields.iter().filter(is_command);
            fields.map(|field| (field.name.as_str(), fields_of(&field.schema)))
        };
        for (command, fields) in commands(3) {
            let Some((_, before)) = commands(2).find(|(name, _)| *name == command) else { continue };
            for field in fields.iter().filter(|field| !before.iter().any(|known| known.name == field.name)) {
                assert_eq!(field.default, Some(Json::Null), "{command}.{}", field.name);
            }
        }
    }

    /// What can be said in JSON can be said in Avro.
    #[test]
    fn a_limit_is_set_on_every_meter_that_is_counted() {
        let apache_avro::Schema::Record(record) = &super::super::newest(super::super::Kind::Control).schema else {
            panic!("the schema is a record")
        };
        let set_limit = record.fields.iter().find(|field| field.name == "set_limit").expect("there are limits");
        let meter = fields_of(&set_limit.schema).iter().find(|field| field.name == "meter").map(|field| &field.schema);
        let Some(apache_avro::Schema::Enum(meters)) = meter else { panic!("{meter:?} is no enum") };
        let of_schema: BTreeSet<&str> = meters.symbols.iter().map(String::as_str).collect();
        assert_eq!(of_schema, Meter::ALL.iter().map(|meter| meter.name()).collect());
    }

    fn fields_of(command: &apache_avro::Schema) -> &[apache_avro::schema::RecordField] {
        match command {
            apache_avro::Schema::Union(union) => fields_of(&union.variants()[1]),
            apache_avro::Schema::Record(record) => &record.fields,
            other => panic!("{other:?} is no command"),
        }
    }
}
