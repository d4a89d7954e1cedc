//! Requests, batches and their answers.

use serde_json::{Value, json};

use super::{Code, Error, Params};

/// Calls that a batch may have, as geth's default.
pub(crate) const MAX_BATCH: usize = 1_000;
/// Bytes of answers to one batch, as geth's default.
pub(crate) const MAX_ANSWER_BYTES: usize = 25_000_000;
/// Bytes of a request, as geth's default.
pub(crate) const MAX_REQUEST_BYTES: usize = 5 * 1024 * 1024;

/// What came in.
pub(crate) enum Incoming {
    One(Result<Request, Refused>),
    Batch(Vec<Result<Request, Refused>>),
    /// No request at all.
    Bad(Error),
}

/// A call.
pub(crate) struct Request {
    /// Absent for a notification, which gets no answer.
    pub(crate) id: Option<Value>,
    pub(crate) method: String,
    pub(crate) params: Result<Params, Error>,
}

/// A request that can't be answered but with an error.
pub(crate) struct Refused {
    pub(crate) id: Value,
    pub(crate) error: Error,
}

/// Reads what came in.
pub(crate) fn read(bytes: &[u8]) -> Incoming {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => {
            return Incoming::Bad(Error::new(Code::Parse, format!("parse error: {error}")));
        }
    };
    match value {
        Value::Array(calls) if calls.is_empty() => {
            Incoming::Bad(Error::new(Code::InvalidRequest, "empty batch"))
        }
        Value::Array(calls) if calls.len() > MAX_BATCH => Incoming::Bad(Error::new(
            Code::InvalidRequest,
            format!(
                "batch too large: {} calls, at most {MAX_BATCH}",
                calls.len()
            ),
        )),
        Value::Array(calls) => Incoming::Batch(calls.into_iter().map(request).collect()),
        one => Incoming::One(request(one)),
    }
}

fn request(value: Value) -> Result<Request, Refused> {
    let refused = |id: Value, message: &str| Refused {
        id,
        error: Error::new(Code::InvalidRequest, message),
    };
    let Value::Object(mut fields) = value else {
        return Err(refused(Value::Null, "invalid request: an object is wanted"));
    };
    let id = fields.remove("id");
    // An id is text, a number or null; anything else can't be told in the answer.
    let told = match &id {
        Some(id @ (Value::String(_) | Value::Number(_))) => id.clone(),
        None | Some(Value::Null) => Value::Null,
        Some(_) => {
            return Err(refused(
                Value::Null,
                "invalid request: id is neither text nor a number",
            ));
        }
    };
    if fields.get("jsonrpc") != Some(&Value::String("2.0".to_owned())) {
        return Err(refused(told, r#"invalid request: jsonrpc is not "2.0""#));
    }
    let Some(Value::String(method)) = fields.remove("method") else {
        return Err(refused(
            told,
            "invalid request: method is missing or no text",
        ));
    };
    Ok(Request {
        id,
        method,
        params: Params::read(fields.remove("params")),
    })
}

/// The answer to a call.
pub(crate) fn answer(id: &Value, result: Result<Value, Error>) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => json!({ "jsonrpc": "2.0", "id": id, "error": error.to_json() }),
    }
}

/// Answers what came in by `call`. Nothing when nothing is to be answered.
pub(crate) fn respond(
    incoming: Incoming,
    mut call: impl FnMut(&str, Params) -> Result<Value, Error>,
) -> Option<Value> {
    let mut one = |request: Result<Request, Refused>| match request {
        Ok(Request { id, method, params }) => {
            let result = params.and_then(|params| call(&method, params));
            id.map(|id| answer(&id, result))
        }
        Err(Refused { id, error }) => Some(answer(&id, Err(error))),
    };
    match incoming {
        Incoming::Bad(error) => Some(answer(&Value::Null, Err(error))),
        Incoming::One(request) => one(request),
        Incoming::Batch(requests) => {
            let mut bytes = 0;
            let mut answers = Vec::new();
            for request in requests {
                let id = match &request {
                    Ok(request) => request.id.clone(),
                    Err(refused) => Some(refused.id.clone()),
                };
                let next = if bytes > MAX_ANSWER_BYTES {
                    id.map(|id| {
                        let error = Error::new(Code::ResponseTooLarge, "response too large");
                        answer(&id, Err(error))
                    })
                } else {
                    one(request)
                };
                if let Some(next) = next {
                    bytes += next.to_string().len();
                    answers.push(next);
                }
            }
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond_to(text: &str) -> Option<Value> {
        respond(read(text.as_bytes()), |method, _| match method {
            "known" => Ok(json!(1)),
            other => Err(Error::new(Code::MethodNotFound, other)),
        })
    }

    fn code(text: &str) -> i64 {
        respond_to(text).unwrap()["error"]["code"].as_i64().unwrap()
    }

    #[test]
    fn the_examples_of_the_specification_are_answered_as_it_says() {
        assert_eq!(
            code(r#"{"jsonrpc": "2.0", "method": "foobar, "params"]"#),
            -32_700
        );
        assert_eq!(
            code(r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#),
            -32_600
        );
        assert_eq!(code("[]"), -32_600);
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","method":"unknown","id":"1"}"#),
            -32_601
        );
        let batch = respond_to("[1,2,3]").unwrap();
        assert_eq!(batch.as_array().unwrap().len(), 3);
        assert!(
            batch
                .as_array()
                .unwrap()
                .iter()
                .all(|answer| { answer["error"]["code"] == -32_600 && answer["id"].is_null() })
        );
        assert_eq!(respond_to(r#"{"jsonrpc":"2.0","method":"known"}"#), None);
        assert_eq!(respond_to(r#"[{"jsonrpc":"2.0","method":"known"}]"#), None);
        let answer = respond_to(r#"{"jsonrpc":"2.0","method":"known","id":null}"#).unwrap();
        assert_eq!(answer, json!({"jsonrpc":"2.0","id":null,"result":1}));
    }

    #[test]
    fn depth_and_count_are_bounded() {
        assert_eq!(code(&"[".repeat(100_000)), -32_700);
        let call = r#"{"jsonrpc":"2.0","method":"known","id":1},"#;
        let batch = |count| format!("[{}]", call.repeat(count).trim_end_matches(','));
        assert_eq!(code(&batch(MAX_BATCH + 1)), -32_600);
        assert!(respond_to(&batch(MAX_BATCH)).unwrap().is_array());
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","method":"known","id":{"a":1}}"#),
            -32_600
        );
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","method":"known","id":1,"params":{"a":1}}"#),
            -32_602
        );
    }
}
