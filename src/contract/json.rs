//! CloudEvents 1.0 in structured JSON: events and control records read, Avro values turned into JSON.

use std::borrow::Cow;

use apache_avro::types::Value;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value as Json, json, value::RawValue};

use super::{
    Kind,
    control::ControlData,
    usage::{ReadUsage, ReadUsageEvent},
};
use crate::domain::{
    control::ControlRecord,
    event::{RunPhase, Tokens},
    reason::Reason,
    time::{Timestamp, parse_rfc3339},
};

/// The attributes of a CloudEvent that we read. Others are allowed and passed over, as the specification asks.
#[derive(Deserialize)]
#[serde(bound(deserialize = "Option<Data>: Deserialize<'de>"))]
struct CloudEvent<'a, Data> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    data: Option<Data>,
}

/// A CloudEvent whose data is read later.
type Unread<'a> = CloudEvent<'a, &'a RawValue>;

/// A text that may be missing: as it stands in the payload, or what its escapes mean. (Within an `Option`, serde copies what
/// it could borrow, unless it lies in a type of its own.)
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The data of a run or a token event: the fields of both, those that do not belong are refused. Quantities are `i64`, or `i128`
/// to say which one is out of range.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "Option<Quantity>: Deserialize<'de>"))]
struct UsageData<'a, Quantity> {
    #[serde(borrow)]
    organization_id: Option<Text<'a>>,
    #[serde(borrow)]
    workspace_id: Option<Text<'a>>,
    #[serde(borrow)]
    agent_id: Option<Text<'a>>,
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    product: Option<Text<'a>>,
    #[serde(borrow)]
    reservation_id: Option<Text<'a>>,
    #[serde(borrow)]
    phase: Option<Text<'a>>,
    #[serde(borrow)]
    trigger: Option<Text<'a>>,
    #[serde(borrow)]
    request_model: Option<Text<'a>>,
    input_tokens: Option<Quantity>,
    output_tokens: Option<Quantity>,
    cache_read_input_tokens: Option<Quantity>,
    cache_creation_input_tokens: Option<Quantity>,
}

impl<'a, Data> CloudEvent<'a, Data> {
    fn check_version(&self) -> Result<(), Reason> {
        if self.specversion != "1.0" {
            let why = format!("specversion is {:?}; it must be \"1.0\"", self.specversion);
            return Err(Reason::MalformedJson(why));
        }
        Ok(())
    }

    fn event_time(&self) -> Result<Timestamp, Reason> {
        let text = self.time.as_ref().map(|time| &*time.0).ok_or(Reason::EmptyField("time"))?;
        parse_rfc3339(text).map_err(Reason::MalformedJson)
    }

    fn usage_kind(&self) -> Result<Kind, Reason> {
        match &*self.r#type {
            "bursar.run.v1" => Ok(Kind::Run),
            "bursar.token.v1" => Ok(Kind::Token),
            other => {
                let why = format!("type {other:?} is neither bursar.run.v1 nor bursar.token.v1");
                Err(Reason::MalformedJson(why))
            }
        }
    }

    /// The usage event with this data.
    fn into_usage<Quantity: Into<i128>>(self, data: UsageData<'a, Quantity>) -> Result<ReadUsageEvent<'a>, Reason> {
        self.check_version()?;
        let (kind, event_time) = (self.usage_kind()?, self.event_time()?);
        read_usage_data(kind, self.id, self.source, event_time, data)
    }
}

/// Reads a usage event.
///
/// # Errors
/// A [`Reason`] for every text that is none.
pub fn read_usage(payload: &[u8]) -> Result<ReadUsageEvent<'_>, Reason> {
    let text = text_of(payload)?;
    if let Ok(mut event) = serde_json::from_str::<CloudEvent<'_, UsageData<'_, i64>>>(text)
        && let Some(data) = event.data.take()
    {
        return event.into_usage(data);
    }
    // What cannot be read in one go is read step by step, which says what is wrong.
    let event: Unread<'_> = parse(text)?;
    event.check_version()?;
    event.usage_kind()?;
    event.event_time()?;
    let data: UsageData<'_, i128> = parse(event.data.map_or("null", RawValue::get))?;
    event.into_usage(data)
}

fn text_of(payload: &[u8]) -> Result<&str, Reason> {
    std::str::from_utf8(payload).map_err(|_| Reason::InvalidUtf8("payload"))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Reason> {
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

fn read_usage_data<'a, Quantity: Into<i128>>(
    kind: Kind,
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    event_time: Timestamp,
    data: UsageData<'a, Quantity>,
) -> Result<ReadUsageEvent<'a>, Reason> {
    let text = |text: Option<Text<'a>>| text.map(|text| text.0);
    let belongs = match kind {
        Kind::Run => data.request_model.is_none() && data.input_tokens.is_none() && data.output_tokens.is_none(),
        _ => data.phase.is_none(),
    };
    if !belongs {
        return Err(Reason::MalformedJson("data mixes the fields of a run event and of a token event".to_owned()));
    }
    let usage = match kind {
        Kind::Run => {
            let phase = data.phase.and_then(|phase| RunPhase::parse(&phase.0));
            let wrong = || Reason::MalformedJson("phase is none of started, completed, failed, cancelled".to_owned());
            ReadUsage::Run { phase: phase.ok_or_else(wrong)? }
        }
        _ => ReadUsage::Tokens {
            request_model: text(data.request_model).ok_or(Reason::EmptyField("request_model"))?,
            tokens: Tokens {
                input: quantity("input_tokens", data.input_tokens)?,
                output: quantity("output_tokens", data.output_tokens)?,
                cache_read: quantity("cache_read_input_tokens", data.cache_read_input_tokens)?,
                cache_creation: quantity("cache_creation_input_tokens", data.cache_creation_input_tokens)?,
            },
        },
    };
    let event = ReadUsageEvent {
        id,
        source,
        event_time,
        organization_id: text(data.organization_id),
        workspace_id: text(data.workspace_id),
        agent_id: text(data.agent_id),
        user_id: text(data.user_id),
        product: text(data.product),
        reservation_id: text(data.reservation_id),
        trigger: text(data.trigger),
        usage,
    };
    event.borrow()?.validate()?;
    Ok(event)
}

fn quantity<Quantity: Into<i128>>(field: &'static str, quantity: Option<Quantity>) -> Result<i64, Reason> {
    let quantity = quantity.map_or(0, Into::into);
    i64::try_from(quantity).map_err(|_| Reason::QuantityOutOfRange { field, quantity })
}

/// Reads a control record.
///
/// # Errors
/// A [`Reason`] for every text that is none, or that contradicts itself.
pub fn read_control(payload: &[u8]) -> Result<ControlRecord, Reason> {
    let event: Unread<'_> = parse(text_of(payload)?)?;
    event.check_version()?;
    if event.r#type != Kind::Control.cloud_event_type() {
        return Err(Reason::MalformedJson(format!("type {:?} is not bursar.control.v1", event.r#type)));
    }
    let time = event.event_time()?;
    let CloudEvent { id, source, data, .. } = event;
    let data: Json = parse(data.map_or("null", RawValue::get))?;
    let data = ControlData::read(data).map_err(Reason::MalformedJson)?;
    data.into_record(id.into_owned(), source.into_owned(), time)
}

/// Reads a usage event out of an Avro value of any writer's schema that has our fields.
///
/// # Errors
/// A [`Reason`] for every value that is none.
pub fn usage_of_avro(value: Value) -> Result<ReadUsageEvent<'static>, Reason> {
    let (id, source, time, data) = split_avro(value)?;
    let is_run = data.get("phase").is_some_and(|phase| !phase.is_null());
    let kind = if is_run { Kind::Run } else { Kind::Token };
    let data = UsageData::<'_, i128>::deserialize(data).map_err(|error| malformed(&error))?;
    read_usage_data(kind, id.into(), source.into(), time, data)
}

/// Reads a control record out of an Avro value.
///
/// # Errors
/// A [`Reason`] for every value that is none.
pub fn control_of_avro(value: Value) -> Result<ControlRecord, Reason> {
    let (id, source, time, data) = split_avro(value)?;
    let data = ControlData::read(data).map_err(Reason::MalformedAvro)?;
    data.into_record(id, source, time)
}

/// Takes the attributes that a CloudEvent has in its envelope out of an Avro record that has them as fields.
fn split_avro(value: Value) -> Result<(String, String, Timestamp, Json), Reason> {
    let Json::Object(mut fields) = to_json(value) else {
        return Err(Reason::MalformedAvro("the value is no record".to_owned()));
    };
    let mut text = |field: &'static str| match fields.remove(field) {
        Some(Json::String(text)) => Ok(text),
        _ => Err(Reason::EmptyField(field)),
    };
    let (id, source, time) = (text("id")?, text("source")?, text("time")?);
    Ok((id, source, parse_rfc3339(&time).map_err(Reason::MalformedAvro)?, Json::Object(fields)))
}

/// Turns an Avro value into JSON: instants as RFC 3339, bytes as base64, unions as what they hold.
pub fn to_json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(flag) => Json::Bool(flag),
        Value::Int(number) => number.into(),
        Value::Long(number) => number.into(),
        Value::TimestampMillis(ms) => Timestamp::from_ms(ms).to_string().into(),
        Value::TimestampMicros(us) => Timestamp::from_ms(us.div_euclid(1_000)).to_string().into(),
        Value::String(text) | Value::Enum(_, text) => text.into(),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => BASE64_STANDARD.encode(bytes).into(),
        Value::Union(_, value) => to_json(*value),
        Value::Array(values) => values.into_iter().map(to_json).collect(),
        Value::Map(entries) => entries.into_iter().map(|(key, value)| (key, to_json(value))).collect(),
        Value::Record(fields) => fields.into_iter().map(|(name, value)| (name, to_json(value))).collect(),
        // No schema of ours has another kind; a customer's field of one cannot be a field that we read.
        other => format!("{other:?}").into(),
    }
}

/// Wraps data into a CloudEvent.
pub fn cloud_event(kind: Kind, source: &str, id: &str, time: Timestamp, data: Json) -> Json {
    json!({
        "specversion": "1.0",
        "type": kind.cloud_event_type(),
        "source": source,
        "id": id,
        "time": time.to_string(),
        "datacontenttype": "application/json",
        "data": data,
    })
}

fn malformed(error: &serde_json::Error) -> Reason {
    Reason::MalformedJson(error.to_string())
}
