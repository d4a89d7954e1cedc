//! Webhooks: JSON, signed, posted until it is taken.

mod answer;
mod client;
mod destination;
mod signature;

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stencil_workflow::{Failure, Performed, Request};
use tokio::time::{Instant, timeout_at};

use crate::secret::Secrets;
use crate::trust;
use crate::turns::{PATIENCE, Turns};
use client::{Connector, Http, Secured};
use destination::{Destinations, Refused};

/// What this hub calls itself.
const AGENT: &str = concat!("stencil-hub/", env!("CARGO_PKG_VERSION"));

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
    /// How many calls may be under way to one receiver (host and port) at a
    /// time, over all tenants, which share them evenly. At one that hangs the
    /// others are put off, so that they hold up nobody else. Default 8.
    pub max_per_host: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allow_loopback: false,
            allow_private: false,
            roots: None,
            connect_timeout_ms: 5_000,
            max_answer_bytes: 8_192,
            max_per_host: 8,
        }
    }
}

impl Options {
    /// Whether a webhook may go to this URL, as far as that is known without looking up a name.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, url: &str) -> Result<(), String> {
        let allowed = self.destinations().url(url);
        allowed.map(drop).map_err(|why| why.to_string())
    }

    fn destinations(&self) -> Destinations {
        Destinations {
            allow_loopback: self.allow_loopback,
            allow_private: self.allow_private,
        }
    }
}

/// Why webhooks cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The roots to trust, or the TLS configuration.
    #[error("TLS for webhooks: {0}")]
    Tls(#[from] trust::Error),
}

/// Posts webhooks.
#[derive(Debug)]
pub struct Webhook {
    client: Http,
    destinations: Destinations,
    secrets: Secrets,
    max_answer_bytes: usize,
    turns: Arc<Turns>,
    max_per_host: usize,
}

impl Webhook {
    /// A client of its own: TLS 1.3 with X25519MLKEM768 preferred, no proxies,
    /// no redirects, no cookies, no retries but the workflow's.
    ///
    /// # Errors
    /// [`Error`]: the roots to trust cannot be read.
    pub fn new(options: &Options, secrets: Secrets) -> Result<Self, Error> {
        let destinations = options.destinations();
        let client = client::client(Connector {
            destinations,
            tls: trust::client(options.roots.as_deref(), "webhooks")?,
            timeout: Duration::from_millis(options.connect_timeout_ms.max(1).into()),
        });
        let wide = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            client,
            destinations,
            secrets,
            max_answer_bytes: wide(options.max_answer_bytes),
            turns: Turns::new(PATIENCE),
            max_per_host: wide(options.max_per_host),
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
        let uri = Uri::try_from(url.as_str())
            .map_err(|error| Failure::permanent(format!("the URL cannot be called: {error}")))?;
        let body = serde_json::to_vec(body).map_err(|e| Failure::permanent(e.to_string()))?;
        let headers = self.headers(request, &body, secret)?;
        let until = Instant::now() + request.timeout;
        let (host, port) = (
            url.host_str().unwrap_or_default(),
            url.port_or_known_default(),
        );
        let receiver = format!("{host}:{}", port.unwrap_or_default());
        let turn = self
            .turns
            .take(&receiver, request.tenant, self.max_per_host);
        let _turn = match turn.await {
            Ok(turn) => turn,
            Err(later) => return Ok(Performed::Later(later)),
        };
        let mut posted = http::Request::new(Full::new(Bytes::from(body)));
        *posted.method_mut() = Method::POST;
        *posted.uri_mut() = uri;
        *posted.headers_mut() = headers;
        let answer = match timeout_at(until, self.client.request(posted)).await {
            Ok(answer) => answer.map_err(|error| unreachable(&error))?,
            Err(_) => return Err(Failure::retryable("the receiver did not answer in time")),
        };
        let status = answer.status();
        answer::judge(status, answer.headers(), request.now_us)?;
        let link = answer.extensions().get::<Secured>();
        let link = link.map(|Secured(link)| link.clone());
        // The receiver has taken it: whatever comes of the body, it is done.
        let body = timeout_at(until, self.read(answer.into_body())).await;
        Ok(Performed::Done(json!({
            "status": status.as_u16(),
            "body": body.ok().flatten(),
            "link": link,
        })))
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
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert("idempotency-key", key.clone());
        headers.insert("webhook-id", key);
        headers.insert("webhook-timestamp", HeaderValue::from(seconds));
        if let Some(name) = secret {
            let Some(secrets) = self.secrets.get(request.tenant, name) else {
                let message = format!("there is no secret `{name}`; add it to the hub's settings");
                return Err(Failure::permanent(message));
            };
            let signature = signature::sign(secrets, request.effect_key, seconds, body);
            let mut signature = HeaderValue::try_from(signature)
                .map_err(|_| Failure::permanent("the signature cannot stand in a header"))?;
            signature.set_sensitive(true);
            headers.insert("webhook-signature", signature);
        }
        Ok(headers)
    }

    /// The answer's body: JSON if it is, else text; `None` if it is empty, too
    /// long or cut off.
    async fn read(&self, mut body: Incoming) -> Option<Value> {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame.ok()?.into_data() else {
                continue;
            };
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

/// No answer came. What was refused by our own rules stays refused; all else
/// may pass.
fn unreachable(error: &legacy::Error) -> Failure {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return Failure::permanent(refused.to_string());
        }
        causes.push(inner.to_string());
        cause = inner.source();
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
