//! What requests bring, checked, with errors that say what would be right.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;
use serde_path_to_error::Segment;
use stencil_protocol::id::{DeviceId, TenantId};

use super::problem::{Kind, Problem};

/// The longest JSON body in bytes.
pub(super) const MAX_JSON_BYTES: usize = 16 * 1024;
/// The longest `Idempotency-Key` in bytes.
pub(super) const MAX_KEY_BYTES: usize = 128;
/// The longest form of a page for who is not signed in, in bytes.
const MAX_FORM_BYTES: usize = 4 * 1024;
/// The most bytes that are read of any body: a workflow definition is the longest.
pub(super) const MAX_BODY_BYTES: usize = 128 * 1024;
/// As much of a name that somebody sent as an error repeats, in characters.
const MAX_NAMED: usize = 64;
/// Items of a list when no limit is given.
const DEFAULT_LIMIT: u32 = 100;

/// The query of a list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// The cursor: `next` of the page before.
    pub(super) after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl Paging {
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        limit(self.limit, DEFAULT_LIMIT, stencil_store::MAX_PAGE)
    }
}

/// A limit within its bounds.
pub(super) fn limit(asked: Option<u32>, default: u32, max: u32) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(default);
    if (1..=max).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::invalid(format!(
            "`limit` is {limit}, it has to be 1 to {max}"
        )))
    }
}

/// A limit of a list.
pub(super) fn list_limit(asked: Option<u32>) -> Result<u32, Problem> {
    limit(asked, DEFAULT_LIMIT, stencil_store::MAX_PAGE)
}

/// Refuses a query where there is no parameter to it. A layer of all routes but those whose handlers
/// take a [`Query`].
pub(super) async fn no_query(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let first = query.split('&').find(|pair| !pair.is_empty());
    match first {
        None => next.run(request).await,
        Some(pair) => {
            let name = pair.split('=').next().unwrap_or_default();
            let name: String = name.chars().take(MAX_NAMED).collect();
            let detail = format!("there is no parameter `{name}` here: this takes no query");
            Problem::invalid(detail).into_response()
        }
    }
}

/// The query string as a `T`; unknown parameters are refused by `T`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Query(query.0))
            .map_err(|error| {
                let query = parts.uri.query().unwrap_or_default();
                Problem::invalid(wrong_query(query, &error.body_text()))
            })
    }
}

/// What is wrong with a query, by the parameter's name: what was said of it begins with that.
fn wrong_query(query: &str, said: &str) -> String {
    let said = said.rsplit_once("query string: ").map_or(said, |it| it.1);
    let Some((name, why)) = said.split_once(": ") else {
        return format!("the query can't be read: {said}");
    };
    let mut pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let Some((_, value)) = pairs.find(|(of, _)| *of == name) else {
        return format!("the query can't be read: {said}");
    };
    let value: String = value.chars().take(MAX_NAMED).collect();
    // As Rust says of a text that is no number.
    let is_number = [
        "invalid digit",
        "cannot parse integer",
        "too large to fit",
        "too small to fit",
    ];
    match is_number.iter().any(|words| why.contains(words)) {
        true => format!(
            "`{name}` is `{value}`, it has to be a whole number in decimal digits, such as 100"
        ),
        false => format!("`{name}` is `{value}`: {why}"),
    }
}

/// The parts of the path, percent-decoded.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|path| Path(path.0))
            .map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// A JSON body of at most `MAX` bytes.
#[derive(Debug)]
pub(super) struct Json<T, const MAX: usize = MAX_JSON_BYTES>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned, const MAX: usize> FromRequest<S> for Json<T, MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        is_json(&request)?;
        let bytes = body(request, state, MAX).await?;
        parsed(&bytes).map(Json)
    }
}

/// Refuses a body that is said to be something else.
pub(super) fn is_json(request: &Request) -> Result<(), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = kind.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = format!("the content type is `{media_type}`, not `application/json`");
    Err(Problem::new(Kind::MediaType, detail))
}

/// JSON as a `T`. What is wrong is named by its place: a JSON pointer where the JSON is well formed
/// (as in RFC 9457, section 3), else line and column.
pub(super) fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // All bodies are objects; a list of a type's fields in their order would be taken as well.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|first| *first != b'{')
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
    {
        let what = "it has to be a JSON object";
        let place = json!({ "pointer": "#", "what": what });
        return Err(Problem::invalid(format!("the body: {what}")).with_errors(vec![place]));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json);
    let parsed = parsed.map_err(|error| (pointer(error.path()), error.into_inner()));
    let whole = parsed.and_then(|value| match json.end() {
        Ok(()) => Ok(value),
        Err(error) => Err((String::new(), error)),
    });
    whole.map_err(|(pointer, error)| {
        if !error.is_data() {
            return Problem::invalid(format!("the body is not JSON: {error}"));
        }
        let place = json!({ "pointer": format!("#{pointer}"), "what": error.to_string() });
        let at = if pointer.is_empty() { "" } else { " at " };
        Problem::invalid(format!("the body{at}{pointer}: {error}")).with_errors(vec![place])
    })
}

/// A place in JSON as RFC 6901 writes it.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                let key: String = key.chars().take(MAX_NAMED).collect();
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// A JSON body, for a handler that asks more of the request.
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<Json<T>, Problem> {
    Json::from_request(request, &()).await
}

/// A JSON body of which something is signed: names that occur twice and whole numbers that readers may take for
/// others are refused, which else would be what one of the readers makes of it.
pub(super) async fn signed_json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    is_json(&request)?;
    let bytes = body(request, &(), MAX_JSON_BYTES).await?;
    let value = parsed(&bytes)?;
    stencil_identity::json::parse(&bytes, MAX_JSON_BYTES)
        .map_err(|error| Problem::invalid(format!("the body: {error}")))?;
    Ok(value)
}

/// A JSON body that may be longer than others, for a handler that takes the request as it is.
pub(super) async fn long_json<T: DeserializeOwned>(
    request: Request,
    max: usize,
) -> Result<T, Problem> {
    is_json(&request)?;
    let bytes = axum::body::to_bytes(request.into_body(), max).await;
    let bytes = bytes.map_err(|error| {
        let error = error.into_inner();
        if error.is::<http_body_util::LengthLimitError>() {
            let detail = format!("the body may have at most {max} bytes");
            return Problem::new(Kind::TooLarge, detail);
        }
        Problem::invalid("the body ended before its stated length, or did not come in time")
    })?;
    parsed(&bytes)
}

/// The fields of a form of a page; `None` if they are not those of a `T`.
pub(super) async fn form<T: DeserializeOwned>(request: Request) -> Result<Option<T>, Problem> {
    let body = body(request, &(), MAX_FORM_BYTES).await?;
    // A form is coded as a query is.
    let query = String::from_utf8_lossy(&body);
    let uri = format!("/?{query}").parse::<http::Uri>().ok();
    let form = uri.and_then(|uri| axum::extract::Query::try_from_uri(&uri).ok());
    Ok(form.map(|form| form.0))
}

/// The body's bytes, at most `max`.
pub(super) async fn body<S: Send + Sync>(
    request: Request,
    state: &S,
    max: usize,
) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Kind::TooLarge,
            format!("the body may have at most {max} bytes"),
        )
    };
    let bytes = match Bytes::from_request(request, state).await {
        Ok(bytes) => bytes,
        Err(BytesRejection::FailedToBufferBody(error))
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE =>
        {
            return Err(too_large());
        }
        Err(_) => {
            return Err(Problem::invalid(
                "the body ended before its stated length, or did not come in time",
            ));
        }
    };
    if bytes.len() > max {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

/// The key by which a caller knows a request again.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let (Some(value), more) = (values.next(), values.next()) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if more.is_none() && !key.is_empty() && key.len() <= MAX_KEY_BYTES => Ok(Some(key)),
        _ => Err(Problem::invalid(format!(
            "`Idempotency-Key` has to be there once, of 1 to {MAX_KEY_BYTES} visible ASCII \
             characters"
        ))),
    }
}

/// A device's id out of a path.
pub(super) fn device(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(text).map_err(|error| Problem::invalid(format!("the device: {error}")))
}

/// A tenant's id out of a public path: what is none has nothing.
pub(super) fn tenant(text: &str) -> Result<TenantId, Problem> {
    TenantId::parse(text).map_err(|_| Problem::not_found("tenant", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[allow(dead_code)]
        to_us: Option<i64>,
    }

    async fn asks(query: &str) -> Result<(), String> {
        let uri = format!("http://hub/x?{query}");
        let request = http::Request::builder().uri(uri).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let asked = Query::<Asked>::from_request_parts(&mut parts, &()).await;
        let Err(problem) = asked else { return Ok(()) };
        let body = axum::body::to_bytes(problem.into_response().into_body(), 10_000).await;
        let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
        Err(body["detail"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_parameter_that_is_wrong_is_named() {
        assert_eq!(asks("to_us=12").await, Ok(()));
        for wrong in ["1e3", "", "99999999999999999999", "1.5"] {
            let told = asks(&format!("to_us={wrong}")).await.unwrap_err();
            let expected = format!("`to_us` is `{wrong}`, it has to be a whole number");
            assert!(told.starts_with(&expected), "{told}");
        }
        let told = asks("two_us=1").await.unwrap_err();
        assert!(told.contains("two_us") && told.contains("to_us"), "{told}");
    }
}
