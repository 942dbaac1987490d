//! Tokens (JWT, RFC 7519) signed by a provider whose keys (JWKS, RFC 7517) come from an address or a file.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde::Deserialize;

use super::CredentialsError;
use crate::api::access::{Caller, Role};

/// Keys are read again this often.
const READ_EVERY: Duration = Duration::from_secs(300);

/// And for a token of an unknown key at most this often, so that nobody makes us ask the provider for every request.
const READ_FOR_UNKNOWN: Duration = Duration::from_secs(10);

/// How long the provider may take to answer.
const PROVIDER_WAIT: Duration = Duration::from_secs(5);

/// Clocks may differ by this much, in seconds.
const LEEWAY_S: u64 = 30;

/// Signatures that are accepted: none by a shared secret, which whoever checks could forge.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What a token has to be.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// An address (`https://…`), or a file.
    pub jwks: String,
    /// Who signs (`iss`).
    pub issuer: String,
    /// Whom it is for (`aud`).
    pub audience: String,
}

/// The claims that are looked at. `bursar_roles` has roles as in a file of keys.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    bursar_roles: Vec<Role>,
}

/// The provider's keys, as last read.
struct KeysRead {
    set: Arc<JwkSet>,
    at: Instant,
    tried: Instant,
}

/// Checks tokens.
pub struct Tokens {
    rules: TokenRules,
    keys: RwLock<KeysRead>,
}

impl Tokens {
    /// Reads the provider's keys. Blocks.
    ///
    /// # Errors
    /// [`CredentialsError::Jwks`].
    pub fn open(rules: TokenRules) -> Result<Self, CredentialsError> {
        let set = read(&rules.jwks).map_err(|why| CredentialsError::Jwks { place: rules.jwks.clone(), why })?;
        let now = Instant::now();
        Ok(Self { rules, keys: RwLock::new(KeysRead { set: Arc::new(set), at: now, tried: now }) })
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub async fn caller(&self, token: &str) -> Result<Caller, String> {
        let header = decode_header(token).map_err(|_| "the bearer is neither a key nor a token".to_owned())?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("tokens signed by {:?} are not accepted", header.alg));
        }
        let key_id = header.kid.ok_or("the token does not name its key (kid)")?;
        let jwk = match self.known().find(&key_id).cloned() {
            Some(jwk) if !self.are_old(READ_EVERY) => jwk,
            known => {
                if self.are_old(if known.is_some() { READ_EVERY } else { READ_FOR_UNKNOWN }) {
                    self.read_again().await;
                }
                self.known()
                    .find(&key_id)
                    .cloned()
                    .ok_or("the token is signed by a key that the provider does not name")?
            }
        };
        let key = DecodingKey::from_jwk(&jwk).map_err(|error| format!("the provider's key cannot be used: {error}"))?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&[&self.rules.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let token =
            decode::<Claims>(token, &key, &validation).map_err(|error| format!("the token is refused: {error}"))?;
        let Claims { sub, bursar_roles } = token.claims;
        Ok(Caller { subject: sub, roles: bursar_roles })
    }

    fn known(&self) -> Arc<JwkSet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner).set)
    }

    /// Whether it is that long ago that keys were read, or tried to be.
    fn are_old(&self, age: Duration) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.at.max(keys.tried).elapsed() >= age
    }

    /// Reads the keys again; if that fails, those that are known stay.
    async fn read_again(&self) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).tried = Instant::now();
        let place = self.rules.jwks.clone();
        let set =
            tokio::task::spawn_blocking(move || read(&place)).await.unwrap_or_else(|error| Err(error.to_string()));
        match set {
            Ok(set) => {
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                (keys.set, keys.at) = (Arc::new(set), Instant::now());
            }
            Err(why) => tracing::warn!(why, place = self.rules.jwks, "the provider's keys cannot be read again"),
        }
    }
}

fn read(place: &str) -> Result<JwkSet, String> {
    let text = if place.starts_with("http://") || place.starts_with("https://") {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PROVIDER_WAIT)).build().into();
        let mut answer = agent.get(place).call().map_err(|error| error.to_string())?;
        answer.body_mut().read_to_string().map_err(|error| error.to_string())?
    } else {
        std::fs::read_to_string(place).map_err(|error| error.to_string())?
    };
    serde_json::from_str(&text).map_err(|error| format!("this is no set of keys: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    /// RFC 8037, appendix A: a key pair of Ed25519.
    const SECRET_PKCS8: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    /// Another pair (RFC 8032, test 2).
    const OTHER_PKCS8: &str = "MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7";

    fn token(secret: &str, key_id: &str, claims: serde_json::Value) -> String {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).expect("a key of this test");
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &key).expect("it can be signed")
    }

    #[test]
    fn a6_only_tokens_of_the_provider_for_us_and_in_time_are_accepted() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "alg": "EdDSA", "x": PUBLIC }] });
        std::fs::write(file.path(), keys.to_string()).expect("it can be written");
        let (issuer, audience) = ("https://id.example".to_owned(), "bursar".to_owned());
        let rules = TokenRules { jwks: file.path().to_str().expect("a path").to_owned(), issuer, audience };
        let tokens = Tokens::open(rules).expect("keys");
        let now = jsonwebtoken::get_current_timestamp();
        let good = json!({ "sub": "ada", "iss": "https://id.example", "aud": "bursar", "exp": now + 60,
            "bursar_roles": ["admin:acme"] });
        let with = |field: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[field] = value;
            claims
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let check = |token: String, expected: &str| {
            let seen = match runtime.block_on(tokens.caller(&token)) {
                Ok(caller) => format!("{} {:?}", caller.subject, caller.roles),
                Err(why) => why,
            };
            assert!(seen.contains(expected), "{seen}");
        };
        check(token(SECRET_PKCS8, "k1", good.clone()), r#"ada [Admin("acme")]"#);
        check(token(SECRET_PKCS8, "k1", with("exp", json!(now - 60))), "ExpiredSignature");
        check(token(SECRET_PKCS8, "k1", with("nbf", json!(now + 600))), "ImmatureSignature");
        check(token(SECRET_PKCS8, "k1", with("aud", json!("others"))), "InvalidAudience");
        check(token(SECRET_PKCS8, "k1", with("iss", json!("https://evil.example"))), "InvalidIssuer");
        check(token(SECRET_PKCS8, "k1", with("sub", json!(null))), "refused");
        check(token(SECRET_PKCS8, "k1", with("bursar_roles", json!(["king"]))), "refused");
        check(token(OTHER_PKCS8, "k1", good.clone()), "InvalidSignature");
        check(token(SECRET_PKCS8, "k2", good.clone()), "a key that the provider does not name");
        check("nothing".to_owned(), "neither a key nor a token");
        let by_secret = encode(
            &Header { kid: Some("k1".to_owned()), ..Header::default() },
            &good,
            &EncodingKey::from_secret(PUBLIC.as_bytes()),
        );
        check(by_secret.expect("it can be signed"), "HS256 are not accepted");
    }
}
