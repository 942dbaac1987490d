//! The description of the API (OpenAPI 3.1), made from the code: routes and shapes from their handlers, commands from the
//! schema of control records.

use apache_avro::schema::{RecordField, Schema};
use serde_json::{Map, Value as Json, json};
use utoipa::{
    OpenApi,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::access::{COMMANDS, MaySay};
use crate::{
    contract::{Kind, newest},
    domain::organization::Reserved,
};

/// The route of all commands, as its handler has it.
const COMMAND_PATH: &str = "/v1/organizations/{organization_id}/commands/{command}";

#[derive(OpenApi)]
#[openapi(info(
    title = "Bursar",
    description = "Usage, limits and credits of agent platforms. Amounts are whole millionths of the organization's unit; \
                   times are RFC 3339; problems are RFC 9457; what is read has an ETag. Who may ask for what follows from the \
                   caller's roles."
))]
struct Head;

/// What the description begins with.
pub fn head() -> Document {
    let mut document = Head::openapi();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().security_schemes.insert("bearer".to_owned(), bearer.into());
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    document
}

/// The description with one path for each command in place of the one for all.
pub fn whole(document: Document) -> Json {
    let mut document = serde_json::to_value(document).expect("a description is JSON");
    let paths = document["paths"].as_object_mut().expect("there are routes");
    let any = paths.remove(COMMAND_PATH).expect("commands have a route");
    let Schema::Record(control) = &newest(Kind::Control).schema else { unreachable!("control records are records") };
    for (name, who) in COMMANDS.iter().filter(|(_, who)| *who != MaySay::Nobody) {
        let field =
            control.fields.iter().find(|field| field.name == *name).expect("the table has the schema's commands");
        let mut path = any.clone();
        let post = &mut path["post"];
        let doc = field.doc.clone().unwrap_or_default();
        post["operationId"] = json!(name);
        post["summary"] = json!(doc);
        post["description"] = json!(format!("{doc} {} With `Idempotency-Key` it is done once.", who_says(*who)));
        post["parameters"]
            .as_array_mut()
            .expect("it has parameters")
            .retain(|parameter| parameter["name"] != "command");
        post["requestBody"]["content"]["application/json"]["schema"] = body_of(held(&field.schema));
        paths.insert(COMMAND_PATH.replace("{command}", name), path);
    }
    document
}

const fn who_says(who: MaySay) -> &'static str {
    match who {
        MaySay::Owner => "Said by owners and services.",
        MaySay::Admin => "Said by owners, admins and services.",
        MaySay::WorkspaceAdmin => "Said by owners, services, and the admins of the workspace that `scope` lies in.",
        MaySay::WorkspaceAdminUnless(Reserved::AgentCreation) => {
            "Said by owners, services, and, unless it is reserved, the admins of the workspace that `workspace_id` names."
        }
        MaySay::WorkspaceAdminUnless(_) => {
            "Said by owners, services, and, unless it is reserved, the admins of the workspace that `scope` lies in."
        }
        MaySay::Member => "Said by owners, services, and the member whom `user_id` names.",
        MaySay::Creator => {
            "Said by owners, services, members, and the admins of the workspace. Only owners and services name another creator."
        }
        MaySay::Nobody => "",
    }
}

fn held(schema: &Schema) -> &Schema {
    match schema {
        Schema::Union(union) => held(union.variants().last().unwrap_or(schema)),
        other => other,
    }
}

/// The body of a command, with the reason that any command may have.
fn body_of(schema: &Schema) -> Json {
    let Schema::Record(record) = schema else { unreachable!("commands are records") };
    let mut body = object(&record.fields);
    body["properties"]["reason"] =
        json!({ "type": "string", "maxLength": 4096, "description": "Why; kept in the journal." });
    body
}

fn object(fields: &[RecordField]) -> Json {
    let is_needed = |field: &&RecordField| !matches!(field.schema, Schema::Union(_)) && field.default.is_none();
    let required: Vec<&str> = fields.iter().filter(is_needed).map(|field| field.name.as_str()).collect();
    let properties: Map<String, Json> = fields.iter().map(|field| (field.name.clone(), property(field))).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn property(field: &RecordField) -> Json {
    let mut property = of_avro(held(&field.schema));
    if let (Some(doc), Some(property)) = (&field.doc, property.as_object_mut()) {
        property.insert("description".to_owned(), json!(doc));
    }
    property
}

/// An Avro schema as a JSON schema.
fn of_avro(schema: &Schema) -> Json {
    match schema {
        Schema::Boolean => json!({ "type": "boolean" }),
        Schema::Int => json!({ "type": "integer", "format": "int32" }),
        Schema::Long => json!({ "type": "integer", "format": "int64" }),
        Schema::TimestampMillis => json!({ "type": "string", "format": "date-time" }),
        Schema::Enum(symbols) => json!({ "type": "string", "enum": symbols.symbols }),
        Schema::Array(array) => json!({ "type": "array", "items": of_avro(&array.items) }),
        Schema::Map(map) => json!({ "type": "object", "additionalProperties": of_avro(&map.types) }),
        Schema::Record(record) => object(&record.fields),
        Schema::Union(union) => of_avro(union.variants().last().unwrap_or(&Schema::Null)),
        // An enum or record that is defined where it is named first.
        Schema::Ref { .. } => json!({}),
        _ => json!({ "type": "string" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{access::ROUTES, described};

    /// The description has every route of the table, and no other.
    #[test]
    fn a6_the_table_of_routes_is_what_is_served() {
        let (_, document) = described().split_for_parts();
        let document = serde_json::to_value(document).expect("JSON");
        let mut served: Vec<String> = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            served.extend(methods.as_object().expect("methods").keys().map(|method| format!("{method} {path}")));
        }
        let mut table: Vec<String> = ROUTES
            .iter()
            .filter(|route| route.path != "/v1/openapi.json")
            .map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path))
            .collect();
        served.sort();
        table.sort();
        assert_eq!(served, table);
    }

    #[test]
    fn every_command_is_described_by_its_schema() {
        let document = whole(described().split_for_parts().1);
        let path = &document["paths"]["/v1/organizations/{organization_id}/commands/set_limit"]["post"];
        let body = &path["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["properties"]["cap"]["type"], "integer");
        assert!(body["required"].as_array().is_some_and(|required| required.contains(&json!("limit_id"))), "{body}");
        assert!(document["paths"].get(COMMAND_PATH).is_none());
        assert!(
            document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
            "{}",
            document["openapi"]
        );
    }
}
