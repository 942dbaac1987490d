//! The schema registry: a writer's schema by its id, over HTTP.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Where the registry is.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Its address, for example `http://registry:8081`.
    pub url: String,
    /// User and password, where it asks for them.
    pub credentials: Option<(String, String)>,
}

/// The registry does not answer, or not as one: try again.
#[derive(Debug, Error)]
#[error("the schema registry at {url} does not answer: {why}")]
pub struct RegistryAway {
    url: String,
    why: String,
}

/// A client of the registry.
pub struct Registry {
    agent: ureq::Agent,
    options: RegistryOptions,
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
}

impl Registry {
    /// A client for the registry at the address in `options`.
    pub fn new(options: RegistryOptions) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIMEOUT)).http_status_as_error(false).build();
        Self { agent: config.into(), options }
    }

    /// The schema of an id; `None` if the registry knows none, or one that is not Avro.
    ///
    /// # Errors
    /// [`RegistryAway`]: nothing is known of the id.
    pub fn schema(&self, id: u32) -> Result<Option<String>, RegistryAway> {
        let away = |why: String| RegistryAway { url: self.options.url.clone(), why };
        let address = format!("{}/schemas/ids/{id}", self.options.url.trim_end_matches('/'));
        let mut request = self.agent.get(&address).header("Accept", "application/vnd.schemaregistry.v1+json");
        if let Some((user, password)) = &self.options.credentials {
            use base64::{Engine, prelude::BASE64_STANDARD};
            let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
            request = request.header("Authorization", format!("Basic {credentials}"));
        }
        let mut response = request.call().map_err(|error| away(error.to_string()))?;
        match response.status().as_u16() {
            200 => {
                let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json::<Answer>();
                let answer = answer.map_err(|error| away(error.to_string()))?;
                let is_avro = answer.schema_type.is_none_or(|kind| kind == "AVRO");
                Ok(is_avro.then_some(answer.schema))
            }
            404 => {
                let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
                let text = text.map_err(|error| away(error.to_string()))?;
                // Only the registry itself says this; a proxy in front of it does not.
                let says_unknown = text.contains("40403");
                if says_unknown { Ok(None) } else { Err(away("status 404, but not from a registry".to_owned())) }
            }
            status => Err(away(format!("it answers with status {status}"))),
        }
    }
}
