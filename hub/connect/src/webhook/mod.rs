//! Webhooks: JSON, signed, posted until it is taken.

mod answer;
mod destination;
mod signature;

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stencil_crypto::tls::{self, Policy, Roots};
use stencil_workflow::{Failure, Performed, Request};

use crate::secret::Secrets;
use destination::{Destinations, Refused};

/// What webhooks may be set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether webhooks may go to this machine. Default false; a hub that is
    /// only for development turns it on.
    pub allow_loopback: bool,
    /// Whether webhooks may go to private and link-local networks. Default
    /// false.
    pub allow_private: bool,
    /// Whom to trust: a PEM file. Default: whom the operating system trusts.
    pub roots: Option<PathBuf>,
    /// How long a connection may take to be made, in ms. Default 5,000.
    pub connect_timeout_ms: u32,
    /// The most bytes of an answer that are kept as the step's output; of a
    /// longer one nothing is. Default 8,192.
    pub max_answer_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allow_loopback: false,
            allow_private: false,
            roots: None,
            connect_timeout_ms: 5_000,
            max_answer_bytes: 8_192,
        }
    }
}

/// Why webhooks cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The roots to trust, or the TLS configuration.
    #[error("TLS for webhooks: {0}")]
    Tls(#[from] tls::Error),
    /// rustls refused the configuration.
    #[error("TLS for webhooks: {0}")]
    Rustls(#[from] rustls::Error),
    /// The HTTP client could not be made.
    #[error("HTTP client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
}

/// Posts webhooks.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    destinations: Destinations,
    secrets: Secrets,
    max_answer_bytes: usize,
}

impl Webhook {
    /// A client of its own: TLS 1.3 with X25519MLKEM768 preferred, no proxies,
    /// no redirects, no cookies, no retries but the workflow's.
    ///
    /// # Errors
    /// [`Error`]: the roots to trust cannot be read.
    pub fn new(options: &Options, secrets: Secrets) -> Result<Self, Error> {
        let destinations = Destinations {
            allow_loopback: options.allow_loopback,
            allow_private: options.allow_private,
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls_config(options)?)
            .dns_resolver(destinations)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .connect_timeout(Duration::from_millis(
                options.connect_timeout_ms.max(1).into(),
            ))
            .pool_idle_timeout(Duration::from_secs(15))
            .pool_max_idle_per_host(4)
            .user_agent(concat!("stencil-hub/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let max_answer_bytes = usize::try_from(options.max_answer_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            client,
            destinations,
            secrets,
            max_answer_bytes,
        })
    }

    /// Posts `body` to `url`, signed with the tenant's secret of that name.
    pub(crate) async fn post(
        &self,
        request: &Request<'_>,
        url: &str,
        body: &Value,
        secret: Option<&str>,
    ) -> Result<Performed, Failure> {
        let url = self
            .destinations
            .url(url)
            .map_err(|why| Failure::permanent(why.to_string()))?;
        let body = serde_json::to_vec(body).map_err(|e| Failure::permanent(e.to_string()))?;
        let headers = self.headers(request, &body, secret)?;
        let posted = self
            .client
            .post(url)
            .headers(headers)
            .body(body)
            .timeout(request.timeout);
        let response = posted.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        answer::judge(status, response.headers(), request.now_us)?;
        // The receiver has taken it: whatever comes of the body, it is done.
        let body = self.read(response).await.unwrap_or(Value::Null);
        Ok(Performed::Done(
            json!({ "status": status.as_u16(), "body": body }),
        ))
    }

    fn headers(
        &self,
        request: &Request<'_>,
        body: &[u8],
        secret: Option<&str>,
    ) -> Result<HeaderMap, Failure> {
        let key = HeaderValue::from_str(request.effect_key)
            .map_err(|_| Failure::permanent("the effect key cannot stand in a header"))?;
        let seconds = request.now_us.div_euclid(1_000_000);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", key.clone());
        headers.insert("webhook-id", key);
        headers.insert("webhook-timestamp", HeaderValue::from(seconds));
        if let Some(name) = secret {
            let Some(secret) = self.secrets.get(request.tenant, name) else {
                let message = format!("there is no secret `{name}`; add it to the hub's settings");
                return Err(Failure::permanent(message));
            };
            let signature = signature::sign(secret, request.effect_key, seconds, body);
            let mut signature = HeaderValue::try_from(signature)
                .map_err(|_| Failure::permanent("the signature cannot stand in a header"))?;
            signature.set_sensitive(true);
            headers.insert("webhook-signature", signature);
        }
        Ok(headers)
    }

    /// The answer's body: JSON if it is, else text; `None` if it is empty, too
    /// long or cut off.
    async fn read(&self, mut response: Response) -> Option<Value> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            if bytes.len() + chunk.len() > self.max_answer_bytes {
                return None;
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.is_empty() {
            return None;
        }
        let json = serde_json::from_slice(&bytes).ok();
        json.or_else(|| String::from_utf8(bytes).ok().map(Value::String))
    }
}

/// TLS 1.3 with the hybrid group preferred. A machine that trusts nobody can
/// still post to `http://`; `https://` then fails, and says why.
fn tls_config(options: &Options) -> Result<rustls::ClientConfig, Error> {
    let roots = match &options.roots {
        Some(file) => Roots::load(file)?,
        None => match Roots::system() {
            Ok(roots) => roots,
            Err(error) => {
                tracing::warn!(%error, "webhooks to https:// will fail; set `roots` to a PEM file");
                return without_roots();
            }
        },
    };
    Ok((*tls::client(Policy::Prefer, &roots, None)?).clone())
}

fn without_roots() -> Result<rustls::ClientConfig, Error> {
    let provider = tls::provider(Policy::Prefer);
    Ok(rustls::ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

/// No answer came. What was refused by our own rules stays refused; all else
/// may pass.
fn unreachable(error: &reqwest::Error) -> Failure {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return Failure::permanent(refused.to_string());
        }
        causes.push(inner.to_string());
        cause = inner.source();
    }
    if error.is_timeout() {
        return Failure::retryable("the receiver did not answer in time");
    }
    // The innermost cause says most; the URL may hold a secret, and is left out.
    let why = causes
        .pop()
        .unwrap_or_else(|| "the request failed".to_owned());
    let what = if error.is_connect() {
        "the receiver cannot be reached"
    } else {
        "no answer came"
    };
    Failure::retryable(format!("{what}: {why}"))
}
