//! A client of the hub's HTTP API, for the commands that ask a running hub.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::Method;
use serde_json::Value;
use stencil_chain::plain;

use crate::output;

/// The variable that holds the API token where no flag names one.
const TOKEN: &str = "STENCIL_TOKEN";

/// How often a request is sent that the hub answers with "too many".
const MAX_TRIES: u32 = 30;

/// The longest wait until it is sent again.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Where a hub listens by default.
const LOCAL: &str = "http://127.0.0.1:8080";

/// How long most answers may take.
const SHORT: Duration = Duration::from_secs(30);

/// How long a file may take to come: a day.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Bytes of a token file; a token has 72.
const MAX_TOKEN_FILE: usize = 4096;

/// Which hub, and with what right.
#[derive(Args, Clone, Debug)]
pub(crate) struct Hub {
    /// The hub's HTTP address.
    #[arg(
        long,
        env = "STENCIL_HUB_URL",
        default_value = LOCAL,
        global = true
    )]
    pub hub: String,
    /// A PEM file of root certificates that the hub's HTTPS certificate may be under, in place of
    /// those of the system: for a hub's own authority, root.pem of its folder `authority`.
    #[arg(long, env = "STENCIL_HUB_ROOT", value_name = "FILE", global = true)]
    pub hub_root: Option<PathBuf>,
    /// An API token; better in the environment (STENCIL_TOKEN) or a file than on the command
    /// line.
    #[arg(long, global = true)]
    pub token: Option<String>,
    /// A file that holds the API token.
    #[arg(long, conflicts_with = "token", global = true)]
    pub token_file: Option<PathBuf>,
    /// Send the token to an http:// address of another machine, too: whoever is on the way there reads it.
    #[arg(
        long,
        env = "STENCIL_ALLOW_PLAIN",
        value_parser = is_said,
        global = true
    )]
    pub allow_plain: bool,
}

/// Reads a yes or no of the environment, where an empty one counts as none.
fn is_said(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => Ok(true),
        "" | "false" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("true or false is right"),
    }
}

impl Hub {
    /// Where it is.
    fn base(&self) -> &str {
        if self.hub.is_empty() {
            LOCAL
        } else {
            &self.hub
        }
    }

    /// Whether the token would cross a network for all to read, and nobody has said that it may.
    fn is_open(&self) -> bool {
        !self.allow_plain && is_open(self.base())
    }

    /// The token: of the flags, else of the environment, where an empty one counts as none.
    fn secret(&self, environment: Option<String>) -> anyhow::Result<String> {
        let (secret, from) = match (&self.token, &self.token_file) {
            (Some(token), _) => (token.clone(), "--token".to_owned()),
            (None, Some(file)) => (
                crate::bounded::text(file, MAX_TOKEN_FILE).context("the token file")?,
                format!("the token file {}", file.display()),
            ),
            (None, None) => (environment.unwrap_or_default(), TOKEN.to_owned()),
        };
        match secret.trim() {
            "" if from == TOKEN => {
                bail!("a token is needed: --token-file FILE, or {TOKEN} in the environment")
            }
            "" => bail!("{from} is empty"),
            secret => Ok(secret.to_owned()),
        }
    }
}

/// A hub that can be asked.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// A client for `hub`.
    pub(crate) fn new(hub: &Hub) -> anyhow::Result<Self> {
        let token = hub.secret(std::env::var(TOKEN).ok())?;
        if hub.is_open() {
            bail!(
                "{} is on another machine and reached without TLS: whoever is on the way there would read \
                 the token. Give the hub's https:// address (--hub, STENCIL_HUB_URL), with --hub-root where its \
                 certificate is of its own authority; where that network is trusted so far, --allow-plain sends \
                 the token all the same (STENCIL_ALLOW_PLAIN=true)",
                output::escaped(hub.base())
            );
        }
        Self::under(hub.hub_root.as_deref(), hub.base(), &token)
    }

    /// A client for what needs no token, which it brings if there is one and nobody on the way reads it.
    pub(crate) fn for_anybody(hub: &Hub) -> anyhow::Result<Self> {
        let token = match (&hub.token, &hub.token_file) {
            (None, None) => std::env::var(TOKEN).unwrap_or_default(),
            _ => hub.secret(None)?,
        };
        let token = if hub.is_open() { "" } else { token.trim() };
        Self::under(hub.hub_root.as_deref(), hub.base(), token)
    }

    /// A client for the hub at `base`.
    pub(crate) fn with(base: &str, token: &str) -> anyhow::Result<Self> {
        Self::under(None, base, token)
    }

    fn under(root: Option<&std::path::Path>, base: &str, token: &str) -> anyhow::Result<Self> {
        let http = match root {
            Some(root) => crate::tls::http_under(root)?,
            None => crate::tls::http()?,
        };
        let http = http.timeout(SHORT);
        // What is for this machine goes by no proxy, which may be on another one.
        let http = if is_on_this_machine(base) {
            http.no_proxy()
        } else {
            http
        };
        let http = http.build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        })
    }

    /// Asks, and reads the JSON answer; a problem document becomes the error's text.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> anyhow::Result<Value> {
        self.call_within(SHORT, method, path, body).await
    }

    /// As [`Client::call`]; the hub may take so long over it.
    pub(crate) async fn call_within(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> anyhow::Result<Value> {
        let mut tries = 0;
        let answer = loop {
            let mut request = self
                .http
                .request(method.clone(), format!("{}{path}", self.base))
                .timeout(limit)
                .bearer_auth(&self.token);
            if let Some((kind, bytes)) = &body {
                request = request.header("content-type", *kind).body(bytes.clone());
            }
            let answer = request
                .send()
                .await
                .with_context(|| format!("no answer from the hub at {}", self.base))?;
            tries += 1;
            match wait(&answer) {
                Some(wait) if tries < MAX_TRIES => tokio::time::sleep(wait).await,
                _ => break answer,
            }
        };
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            return Err(refused(status, &text));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Posts a JSON document.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = ("application/json", body.to_string().into_bytes());
        self.call(Method::POST, path, Some(body)).await
    }

    /// Asks for one document.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for a list, page after page.
    pub(crate) async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        self.newest(path, usize::MAX).await
    }

    /// Asks for the first `limit` items of a list, page after page.
    pub(crate) async fn newest(&self, path: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = if after.is_empty() {
                self.get(path).await?
            } else {
                self.get(&format!("{path}{joint}after={after}")).await?
            };
            if let Some(found) = page["items"].as_array() {
                items.extend(found.iter().take(limit - items.len()).cloned());
            }
            if items.len() == limit {
                return Ok(items);
            }
            match page["next"].as_str() {
                Some(next) if next != after => after = next.to_owned(),
                _ => return Ok(items),
            }
        }
    }

    /// Asks for a file and writes it as it comes, however long that takes; gives its length. An
    /// answer that breaks off is an error.
    pub(crate) async fn download(
        &self,
        path: &str,
        out: &mut impl std::io::Write,
    ) -> anyhow::Result<u64> {
        let mut answer = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .timeout(LONGEST)
            .send()
            .await
            .with_context(|| format!("no answer from the hub at {}", self.base))?;
        if !answer.status().is_success() {
            return Err(refused(answer.status(), &answer.text().await?));
        }
        let mut bytes = 0;
        while let Some(part) = answer
            .chunk()
            .await
            .context("the hub's answer broke off: it is not whole")?
        {
            out.write_all(&part)?;
            bytes += part.len() as u64;
        }
        Ok(bytes)
    }

    /// Asks a public page, without the token.
    pub(crate) async fn public(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}

/// Whether what is sent to this address crosses a network without TLS.
fn is_open(base: &str) -> bool {
    reqwest::Url::parse(base).is_ok_and(|url| plain::is_open(&url))
}

fn is_on_this_machine(base: &str) -> bool {
    reqwest::Url::parse(base).is_ok_and(|url| plain::is_on_this_machine(&url))
}

/// A part of a path: what is not a letter, digit or one of `-._~` stands as `%` and its bytes.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// A problem document as an error.
fn refused(status: reqwest::StatusCode, text: &str) -> anyhow::Error {
    let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    // Where a document is made of several, each has its place. The detail is the first of them.
    let errors = value["errors"].as_array().into_iter().flatten();
    let errors: Vec<_> = errors
        .filter(|error| error["section"].is_string())
        .collect();
    let detail = value["detail"].as_str().filter(|_| errors.is_empty());
    let said = detail.or(value["title"].as_str());
    let mut said = output::escaped(said.unwrap_or(text));
    for error in errors {
        let text = |name: &str| output::escaped(error[name].as_str().unwrap_or_default());
        let (line, column) = (&error["line"], &error["column"]);
        said.push_str(&format!(
            "\n  {}, line {line}, column {column}: {}",
            text("section"),
            text("what")
        ));
    }
    Refused { status, said }.into()
}

/// What the hub has refused.
#[derive(Debug)]
pub(crate) struct Refused {
    status: reqwest::StatusCode,
    said: String,
}

impl Refused {
    /// The status that it answered with.
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the hub has done nothing, for certain.
    pub(crate) fn is_final(&self) -> bool {
        self.status.is_client_error()
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the hub answered {}: {}", self.status, self.said)
    }
}

impl std::error::Error for Refused {}

/// How long to wait with a request that came too early: it has done nothing.
fn wait(answer: &reqwest::Response) -> Option<Duration> {
    if answer.status() != reqwest::StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let after = answer.headers().get("retry-after")?.to_str().ok()?;
    let wait = Duration::from_secs(after.parse().ok()?);
    (wait <= MAX_WAIT).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flaw_is_told_once() {
        let problem = serde_json::json!({
            "title": "The desired state has errors",
            "detail": "settings, line 2, column 3: too small; and 1 more",
            "errors": [
                { "section": "settings", "line": 2, "column": 3, "what": "too small" },
                { "section": "mapping", "line": 4, "column": 1, "what": "unknown" },
            ],
        });
        let status = reqwest::StatusCode::UNPROCESSABLE_ENTITY;
        let said = refused(status, &problem.to_string()).to_string();
        assert!(said.contains("422"), "{said}");
        assert_eq!(said.matches("too small").count(), 1, "{said}");
        assert!(
            said.contains("mapping, line 4, column 1: unknown"),
            "{said}"
        );
    }

    fn secret(token: Option<&str>, file: Option<PathBuf>, environment: &str) -> String {
        let hub = Hub {
            hub: String::new(),
            hub_root: None,
            token: token.map(str::to_owned),
            token_file: file,
            allow_plain: false,
        };
        match hub.secret(Some(environment.to_owned())) {
            Ok(secret) => secret,
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn what_the_environment_says_of_plain_addresses_may_be_empty() {
        for (said, is) in [("", false), ("true", true), ("1", true), ("No", false)] {
            assert_eq!(is_said(said), Ok(is), "{said:?}");
        }
        is_said("certainly").unwrap_err();
    }

    #[test]
    fn a_token_goes_to_another_machine_within_tls_only_or_where_that_is_said() {
        let of = |hub: &str, allow_plain| {
            let hub = Hub {
                hub: hub.to_owned(),
                hub_root: None,
                token: Some("hunter2".to_owned()),
                token_file: None,
                allow_plain,
            };
            let anybody = Client::for_anybody(&hub).unwrap().token;
            let said = Client::new(&hub).err().map(|error| error.to_string());
            (said, anybody)
        };
        for open in ["http://hub.example.org", "http://192.0.2.7:8080/"] {
            let (said, anybody) = of(open, false);
            let said = said.unwrap();
            for part in [open, "https://", "--hub-root", "--allow-plain"] {
                assert!(said.contains(part), "{part}: {said}");
            }
            assert!(!said.contains("hunter2"), "{said}");
            // What needs no token is asked without it.
            assert_eq!(anybody, "");
            assert_eq!(of(open, true), (None, "hunter2".to_owned()));
        }
        for right in [
            "",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "https://hub.example.org",
        ] {
            assert_eq!(of(right, false), (None, "hunter2".to_owned()), "{right}");
        }
    }

    #[test]
    fn flags_go_before_the_environment_and_nothing_is_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from-file\n").unwrap();
        assert_eq!(secret(Some("given"), None, "set"), "given");
        assert_eq!(secret(None, Some(file.clone()), "set"), "from-file");
        assert_eq!(secret(None, Some(file.clone()), ""), "from-file");
        assert_eq!(secret(None, None, "set"), "set");
        for empty in ["", " "] {
            let said = secret(None, None, empty);
            assert!(said.contains("a token is needed"), "{said}");
        }
        std::fs::write(&file, "").unwrap();
        let said = secret(None, Some(file), "set");
        assert!(said.contains("is empty"), "{said}");
    }
}
