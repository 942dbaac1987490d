//! The commands of `bursar control`, with their flags and help texts, made from the schema of control records: whatever
//! can be said on the topic can be said here.

use apache_avro::schema::{RecordField, Schema};
use clap::{
    Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches, Subcommand, builder::PossibleValuesParser,
    error::ErrorKind,
};
use serde_json::{Map, Value as Json, json};

use crate::contract::{Kind, control::ENVELOPE_FIELDS, newest};

/// One command with its fields, as JSON.
#[derive(Debug, Clone)]
pub struct Said(pub Json);

/// A command of the schema.
struct Spoken {
    /// As in the schema.
    name: String,
    doc: String,
    fields: Vec<RecordField>,
}

fn spoken() -> impl Iterator<Item = Spoken> {
    let Schema::Record(control) = &newest(Kind::Control).schema else { unreachable!("control records are records") };
    control.fields.iter().skip(ENVELOPE_FIELDS).filter_map(|field| match held(&field.schema) {
        // Due records are Bursar's own.
        Schema::Record(record) if field.name != "due" => Some(Spoken {
            name: field.name.clone(),
            doc: field.doc.clone().unwrap_or_default(),
            fields: record.fields.clone(),
        }),
        _ => None,
    })
}

/// What an optional value holds; an enum that is only named there, where it is defined.
fn held(schema: &Schema) -> &Schema {
    match schema {
        Schema::Union(union) => held(union.variants().last().unwrap_or(schema)),
        Schema::Ref { name } => enum_named(&name.name).unwrap_or(schema),
        other => other,
    }
}

/// The enum of that name among the fields of all commands.
fn enum_named(name: &str) -> Option<&'static Schema> {
    let Schema::Record(control) = &newest(Kind::Control).schema else { unreachable!("control records are records") };
    let optional = |schema: &'static Schema| match schema {
        Schema::Union(union) => union.variants().last(),
        other => Some(other),
    };
    let commands = control.fields.iter().skip(ENVELOPE_FIELDS).filter_map(|field| optional(&field.schema));
    let fields = commands.filter_map(|command| match command {
        Schema::Record(record) => Some(record.fields.iter()),
        _ => None,
    });
    let held = fields.flatten().filter_map(|field| optional(&field.schema));
    held.into_iter().find(|schema| matches!(schema, Schema::Enum(known) if known.name.name == name))
}

impl Spoken {
    fn command(&self) -> Command {
        let first = self.doc.split_inclusive(". ").next().unwrap_or_default().trim().to_owned();
        let mut command = Command::new(flag(&self.name)).about(first).long_about(self.doc.clone());
        for (position, field) in self.fields.iter().enumerate() {
            let arg = arg(field);
            let needs_more = self.fields[1..].iter().any(|field| !is_optional(field));
            let is_subject = field.name.ends_with("_id") || (field.name == "scope" && !needs_more);
            let alone = position == 0 && is_subject;
            command = command.arg(if alone { arg } else { arg.long(flag(&field.name)) });
        }
        command
    }

    fn read(&self, matches: &ArgMatches) -> Result<Json, Error> {
        let mut data = Map::new();
        for field in &self.fields {
            if let Some(value) = value(field, matches)? {
                data.insert(field.name.clone(), value);
            }
        }
        Ok(json!({ &self.name: data }))
    }
}

/// Whether a field may be left out.
fn is_optional(field: &RecordField) -> bool {
    matches!(field.schema, Schema::Union(_)) || field.default.is_some()
}

fn arg(field: &RecordField) -> Arg {
    let mut help = field.doc.clone().unwrap_or_default();
    if let Some(default) = field.default.as_ref().filter(|default| !default.is_null() && !is_empty(default)) {
        help = format!("{help} [default: {}]", default.as_str().map_or(default.to_string(), str::to_owned));
    }
    let arg = Arg::new(field.name.clone()).required(!is_optional(field)).help(help).allow_negative_numbers(true);
    match held(&field.schema) {
        Schema::Boolean => arg.value_parser(clap::value_parser!(bool)),
        Schema::Int | Schema::Long => arg.value_parser(clap::value_parser!(i64)),
        Schema::Enum(symbols) => arg.value_parser(PossibleValuesParser::new(symbols.symbols.clone())),
        Schema::Array(array) => {
            // Without a value it is an empty list.
            let arg = arg.action(ArgAction::Append).value_delimiter(',').num_args(0..=1);
            match held(&array.items) {
                Schema::Enum(symbols) => arg.value_parser(PossibleValuesParser::new(symbols.symbols.clone())),
                _ => arg,
            }
        }
        Schema::TimestampMillis => arg.value_name("RFC3339"),
        Schema::String => arg,
        _ => arg.value_name("JSON"),
    }
}

fn value(field: &RecordField, matches: &ArgMatches) -> Result<Option<Json>, Error> {
    let name = field.name.as_str();
    let text = || matches.get_one::<String>(name);
    Ok(match held(&field.schema) {
        Schema::Boolean => matches.get_one::<bool>(name).map(|value| json!(value)),
        Schema::Int | Schema::Long => matches.get_one::<i64>(name).map(|value| json!(value)),
        Schema::Array(array) => matches.get_many::<String>(name).map(|values| match &*array.items {
            // What is no number is refused with the record.
            Schema::Int => values.map(|text| text.parse::<i64>().map_or_else(|_| json!(text), Json::from)).collect(),
            _ => values.map(|text| json!(text)).collect(),
        }),
        Schema::String | Schema::Enum(_) | Schema::TimestampMillis => text().map(|text| json!(text)),
        _ => text().map(|text| serde_json::from_str(text)).transpose().map_err(|error| {
            Error::raw(ErrorKind::ValueValidation, format!("--{} is not JSON: {error}\n", flag(name)))
        })?,
    })
}

fn is_empty(default: &Json) -> bool {
    default.as_array().is_some_and(Vec::is_empty)
        || default.as_object().is_some_and(Map::is_empty)
        || default.as_str().is_some_and(str::is_empty)
}

fn flag(name: &str) -> String {
    name.replace('_', "-")
}

impl FromArgMatches for Said {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let Some((name, matches)) = matches.subcommand() else {
            return Err(Error::raw(ErrorKind::MissingSubcommand, "what is to be said? See bursar control --help\n"));
        };
        let spoken = spoken().find(|spoken| flag(&spoken.name) == name).expect("clap knows the commands from here");
        spoken.read(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Said {
    fn augment_subcommands(command: Command) -> Command {
        spoken().fold(command, |command, spoken| command.subcommand(spoken.command()))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        spoken().any(|spoken| flag(&spoken.name) == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let command = Said::augment_subcommands(Command::new("control"));
        let seen = command.try_get_matches_from(line.split(' ')).and_then(|matches| Said::from_arg_matches(&matches));
        let seen = seen.map_or_else(|error| error.to_string(), |said| said.0.to_string());
        assert!(seen.contains(expected), "{line}: {seen}");
    }

    #[test]
    fn every_command_of_the_schema_can_be_said() {
        check("control pause ws:w", r#"{"pause":{"scope":"ws:w"}}"#);
        check(
            "control set-limit daily --scope ws:w --meter credits_micro --window day --cap 5 --thresholds-percent 50,80 --action pause",
            r#"{"set_limit":{"action":"pause","cap":5,"limit_id":"daily","meter":"credits_micro","scope":"ws:w","thresholds_percent":[50,80],"window":"day"}}"#,
        );
        check("control remove-limit l --every user", r#"{"remove_limit":{"every":"user","limit_id":"l"}}"#);
        check("control remove-limit l --every team", "[possible values: organization, workspace");
        check("control set-consent --required true", r#"{"set_consent":{"required":true}}"#);
        check("control adjust --reference t --event-time x --credits-micro -5", r#""credits_micro":-5"#);
        check(
            r#"control set-rate-card --default-prices {"input_micro":1,"output_micro":2}"#,
            r#"{"set_rate_card":{"default_prices":{"input_micro":1,"output_micro":2}}}"#,
        );
        check("control set-extra-usage --on false", r#"{"set_extra_usage":{"on":false}}"#);
        check("control remove-pool ws:w", r#"{"remove_pool":{"scope":"ws:w"}}"#);
        check("control set-reserved --controls pool,buying", r#"{"set_reserved":{"controls":["pool","buying"]}}"#);
        check("control set-reserved --controls", r#"{"set_reserved":{"controls":[]}}"#);
        check("control set-reserved", "--controls");
        check("control set-reserved --controls limits", "[possible values: buying, pool, agent_creation]");
        check(
            "control set-agent-creation --who inherit --workspace-id w",
            r#"{"set_agent_creation":{"who":"inherit","workspace_id":"w"}}"#,
        );
        check("control set-agent-creation --who named --members a,b", r#""members":["a","b"]"#);
        check("control register-agent agent:w/a", r#"{"register_agent":{"scope":"agent:w/a"}}"#);
        check("control register-agent agent:w/a --created-by u", r#""created_by":"u""#);
        check("control set-rate-card --unknown-model reject", r#"{"set_rate_card":{"unknown_model":"reject"}}"#);
        check(
            "control set-limit l --every user --meter unpriced_tokens --window day --yields-to-own true",
            r#""yields_to_own":true"#,
        );
        check("control set-plan --plan gold", "[possible values: free, plus, business");
        check("control grant --scope org", "--grant-id");
        check("control grant --help", "Adds credits to a pool");
        check("control approve --help", "unless extra usage is off entirely");
        check("control --help", "approve             Grants a request: a higher limit, or another seat.\n");
        check("control due --at x", "unrecognized subcommand");
        Said::augment_subcommands(Command::new("control")).debug_assert();
    }
}
