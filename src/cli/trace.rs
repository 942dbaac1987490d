//! A trace as usage events: the same file, seed and start always give the same events.

use std::io::Read;

use chrono::NaiveDateTime;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::Failure;
use crate::{
    contract::usage::write,
    domain::{
        event::{RunPhase, Tokens, Usage, UsageEvent},
        time::Timestamp,
    },
};

/// One request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Milliseconds after the first row.
    pub after_ms: i64,
    /// Tokens sent.
    pub input_tokens: i64,
    /// Tokens produced.
    pub output_tokens: i64,
}

/// The names of the columns that are read.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Time of the request: `2023-11-16 18:15:46.6805900` or RFC 3339.
    pub time: String,
    /// Tokens sent.
    pub input: String,
    /// Tokens produced.
    pub output: String,
}

impl Default for Columns {
    /// Those of the Azure LLM inference traces.
    fn default() -> Self {
        Self { time: "TIMESTAMP".to_owned(), input: "ContextTokens".to_owned(), output: "GeneratedTokens".to_owned() }
    }
}

/// Reads a trace; rows are in the order of their times.
pub fn read(source: impl Read, columns: &Columns) -> Result<Vec<Row>, Failure> {
    let mut reader = csv::Reader::from_reader(source);
    let headers = reader.headers()?.clone();
    let find = |name: &str| {
        let position = headers.iter().position(|header| header == name);
        position.ok_or_else(|| {
            format!("there is no column {name:?}; there are {}", headers.iter().collect::<Vec<_>>().join(", "))
        })
    };
    let (time, input, output) = (find(&columns.time)?, find(&columns.input)?, find(&columns.output)?);
    let mut rows = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record?;
        let field = |position: usize| record.get(position).unwrap_or_default();
        let wrong = |what: &str, text: &str| format!("row {}: {text:?} is no {what}", number + 1);
        let count =
            |position: usize| field(position).parse::<i64>().map_err(|_| wrong("number of tokens", field(position)));
        let at_ms = parse_time(field(time)).ok_or_else(|| wrong("time", field(time)))?;
        rows.push(Row { after_ms: at_ms, input_tokens: count(input)?, output_tokens: count(output)? });
    }
    rows.sort_by_key(|row| row.after_ms);
    let first = rows.first().map_or(0, |row| row.after_ms);
    for row in &mut rows {
        row.after_ms -= first;
    }
    Ok(rows)
}

fn parse_time(text: &str) -> Option<i64> {
    let plain = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map(|time| time.and_utc());
    let time = plain.or_else(|_| chrono::DateTime::parse_from_rfc3339(text).map(Into::into));
    time.ok().map(|time: chrono::DateTime<chrono::Utc>| time.timestamp_millis())
}

/// Stretches a trace evenly, so that its last row comes `length_ms` after its first.
pub fn stretch(rows: &mut [Row], length_ms: i64) {
    let last_ms = rows.last().map_or(0, |row| row.after_ms).max(1);
    for row in rows {
        let stretched = i128::from(row.after_ms) * i128::from(length_ms) / i128::from(last_ms);
        row.after_ms = i64::try_from(stretched).unwrap_or(i64::MAX);
    }
}

/// Over whom rows are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The same seed gives the same spread.
    pub seed: u64,
    /// How many organizations.
    pub organizations: u32,
    /// Workspaces of each organization.
    pub workspaces: u32,
    /// Agents of each workspace.
    pub agents: u32,
    /// Users of each organization.
    pub users: u32,
}

/// The models that rows are spread over.
pub const MODELS: [&str; 2] = ["small", "large"];

/// The events of one row: its run starts, calls a model, and completes.
pub struct RowEvents {
    /// Whose they are; the key.
    pub organization_id: String,
    /// The events in Avro.
    pub payloads: [Vec<u8>; 3],
}

impl Spread {
    /// The events of the row with this number, in a trace that begins at `start`.
    pub fn events(&self, number: usize, row: &Row, source: &str, start: Timestamp) -> RowEvents {
        let mut random = StdRng::seed_from_u64(self.seed ^ ((number as u64) << 20));
        let mut pick = |count: u32| {
            // The first of each kind gets the most, as in life: the smaller of two draws.
            let (a, b) = (random.random_range(0..count.max(1)), random.random_range(0..count.max(1)));
            a.min(b) + 1
        };
        let organization_id = format!("org-{}", pick(self.organizations));
        let workspace_id = format!("ws-{}", pick(self.workspaces));
        let agent_id = format!("agent-{}", pick(self.agents));
        let user_id = format!("user-{}", pick(self.users));
        let request_model = MODELS[(pick(2) - 1) as usize];
        let tokens = Tokens { input: row.input_tokens, output: row.output_tokens, ..Tokens::default() };
        let run = |phase| Usage::Run { phase };
        let usages = [run(RunPhase::Started), Usage::Tokens { request_model, tokens }, run(RunPhase::Completed)];
        let payloads = [0, 1, 2].map(|step| {
            let id = format!("{number}-{step}");
            let mut payload = Vec::with_capacity(128);
            let event = UsageEvent {
                id: &id,
                source,
                event_time: start.plus_ms(row.after_ms),
                organization_id: &organization_id,
                workspace_id: Some(&workspace_id),
                agent_id: Some(&agent_id),
                user_id: Some(&user_id),
                product: Some("chat"),
                reservation_id: None,
                trigger: Some("replay"),
                usage: usages[step],
            };
            write(&event, &mut payload);
            payload
        });
        RowEvents { organization_id, payloads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:50.9951690,396,109\n2023-11-16 18:15:46.6805900,374,44\n";

    #[test]
    fn a_trace_is_read_in_the_order_of_its_times() {
        let rows = read(TEXT.as_bytes(), &Columns::default()).expect("a trace");
        let seen: Vec<_> = rows.iter().map(|row| (row.after_ms, row.input_tokens, row.output_tokens)).collect();
        assert_eq!(seen, [(0, 374, 44), (4_315, 396, 109)]);
        let error = read("a,b\n1,2\n".as_bytes(), &Columns::default()).expect_err("no such columns");
        assert!(error.to_string().contains("there are a, b"), "{error}");
        let error = read(TEXT.replace("396", "many").as_bytes(), &Columns::default()).expect_err("no number");
        assert!(error.to_string().contains("row 1: \"many\""), "{error}");
    }

    #[test]
    fn a_replay_can_be_repeated_exactly() {
        let row = Row { after_ms: 5, input_tokens: 1, output_tokens: 2 };
        let spread = |seed| Spread { seed, organizations: 50, workspaces: 2, agents: 3, users: 4 };
        let events = |seed| spread(seed).events(7, &row, "replay", Timestamp::from_ms(0)).payloads;
        assert_eq!(events(1), events(1));
        assert_ne!(events(1), events(2));
    }
}
