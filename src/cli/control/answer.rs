//! What became of a control record, for a person or for a program.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::cli::Failure;

/// What is known of a record that was sent.
#[derive(Debug)]
pub enum Answer {
    /// Nobody waited for an answer.
    Sent,
    /// Its entry of the journal.
    Journaled(Json),
    /// None came in this time.
    None(Duration),
}

impl Answer {
    /// The sentence to print.
    ///
    /// # Errors
    /// The sentence to end with, if the record was refused or is not answered.
    pub fn sentence(&self, record_id: &str) -> Result<String, Failure> {
        match self {
            Self::Sent => Ok(format!("sent {record_id}")),
            Self::Journaled(entry) if is_applied(entry) => Ok(match entry["answer"].as_str().unwrap_or_default() {
                "" => format!("applied {record_id}"),
                answer => format!("applied {record_id}: {answer}"),
            }),
            Self::Journaled(entry) => {
                Err(format!("refused {record_id}: {}", entry["refused_because"].as_str().unwrap_or("no reason")).into())
            }
            Self::None(wait) => {
                let seconds = wait.as_secs();
                let next = format!("the record {record_id} is sent and will be served");
                Err(format!("no answer within {seconds} s; {next}").into())
            }
        }
    }

    /// The same for a program, with codes and fields as in `docs/answers.md`.
    pub fn json(&self, record_id: &str) -> Json {
        match self {
            Self::Sent => json!({ "record_id": record_id, "result": "sent" }),
            Self::Journaled(entry) if is_applied(entry) => json!({
                "record_id": record_id,
                "result": "applied",
                "answer": entry["answer"].as_str().unwrap_or_default(),
                "applied": entry["applied"].as_array().cloned().unwrap_or_default(),
            }),
            Self::Journaled(entry) => json!({
                "record_id": record_id,
                "result": "refused",
                "refused_because": entry["refused_because"],
                "code": entry["code"],
                "fields": entry["fields"].as_object().cloned().unwrap_or_default(),
            }),
            Self::None(_) => json!({ "record_id": record_id, "result": "unanswered" }),
        }
    }
}

fn is_applied(entry: &Json) -> bool {
    entry["result"] == "applied"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &Answer, sentence: &str, expected: Json) {
        let seen = answer.sentence("r").unwrap_or_else(|failure| format!("bursar: {failure}"));
        assert_eq!((seen.as_str(), answer.json("r")), (sentence, expected));
    }

    #[test]
    fn an_answer_is_a_sentence_or_codes_and_fields() {
        let taken_back = json!({ "code": "taken_back", "fields": { "micro": "5" } });
        check(
            &Answer::Journaled(json!({ "result": "applied", "answer": "5 are taken back", "applied": [taken_back] })),
            "applied r: 5 are taken back",
            json!({ "record_id": "r", "result": "applied", "answer": "5 are taken back", "applied": [taken_back] }),
        );
        check(
            &Answer::Journaled(json!({ "result": "applied" })),
            "applied r",
            json!({ "record_id": "r", "result": "applied", "answer": "", "applied": [] }),
        );
        let fields = json!({ "scope": "ws:x" });
        let refused =
            json!({ "result": "refused", "refused_because": "no pool", "code": "pool_missing", "fields": fields });
        check(
            &Answer::Journaled(refused),
            "bursar: refused r: no pool",
            json!({ "record_id": "r", "result": "refused", "refused_because": "no pool", "code": "pool_missing", "fields": fields }),
        );
        // As a release before had it.
        check(
            &Answer::Journaled(json!({ "result": "refused", "refused_because": "no pool" })),
            "bursar: refused r: no pool",
            json!({ "record_id": "r", "result": "refused", "refused_because": "no pool", "code": null, "fields": {} }),
        );
        check(&Answer::Sent, "sent r", json!({ "record_id": "r", "result": "sent" }));
        check(
            &Answer::None(Duration::from_secs(3)),
            "bursar: no answer within 3 s; the record r is sent and will be served",
            json!({ "record_id": "r", "result": "unanswered" }),
        );
    }
}
