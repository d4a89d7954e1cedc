//! The hub's API, for one token.

use serde_json::Value;

/// Items of a page.
const PAGE: u32 = 1_000;

pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// Why there is no answer that helps.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The same may be asked again: the hub is away, or waits for its chain.
    pub(crate) temporary: bool,
    /// It contradicts what is stored.
    pub(crate) conflict: bool,
    why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl Api {
    pub(crate) fn new(address: &str, token: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            http,
            base: format!("http://{address}"),
            token: token.to_owned(),
        }
    }

    /// The same hub, asked with another token.
    pub(crate) fn acting_as(&self, token: &str) -> Self {
        Self {
            http: self.http.clone(),
            base: self.base.clone(),
            token: token.to_owned(),
        }
    }

    /// All items of a list.
    pub(crate) async fn items(&self, path: &str) -> Result<Vec<Value>, Refused> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let mut page = self
                .send("GET", &format!("{path}?limit={PAGE}{after}"), None, None)
                .await?;
            if let Some(more) = page["items"].as_array_mut() {
                items.append(more);
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(items),
            }
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, Refused> {
        let method = method.parse().unwrap();
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        // A text is YAML, all else JSON.
        match body {
            Some(Value::String(yaml)) => {
                request = request
                    .header("content-type", "application/yaml")
                    .body(yaml.clone());
            }
            Some(body) => request = request.json(body),
            None => {}
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let away = |error: reqwest::Error| Refused {
            temporary: true,
            conflict: false,
            why: error.to_string(),
        };
        let answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let text = answer.text().await.map_err(away)?;
        if status.is_success() {
            return Ok(serde_json::from_str(&text).unwrap_or_default());
        }
        Err(Refused {
            temporary: status.is_server_error() || status.as_u16() == 429,
            conflict: status.as_u16() == 409,
            why: format!("{path}: {status}: {text:.500}"),
        })
    }
}
