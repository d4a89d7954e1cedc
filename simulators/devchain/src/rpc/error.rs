//! Errors as they are sent.

use alloy_primitives::Bytes;
use serde_json::{Value, json};

use crate::chain::{CallError, LogsError, ReorgError};
use crate::pool::Refusal;

/// Error codes of JSON-RPC 2.0, EIP-1474 and geth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Code {
    Parse = -32_700,
    InvalidRequest = -32_600,
    MethodNotFound = -32_601,
    InvalidParams = -32_602,
    Internal = -32_603,
    Server = -32_000,
    ResponseTooLarge = -32_003,
    LimitExceeded = -32_005,
    Reverted = 3,
    Pruned = 4_444,
}

/// An error object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Error {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) data: Option<Bytes>,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParams, message)
    }

    pub(crate) fn pruned() -> Self {
        Self::new(Code::Pruned, "pruned history unavailable")
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut object = json!({ "code": self.code as i32, "message": self.message });
        if let (Some(data), Some(fields)) = (&self.data, object.as_object_mut()) {
            fields.insert("data".to_owned(), json!(data));
        }
        object
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(Code::Server, refusal.to_string())
    }
}

impl From<ReorgError> for Error {
    fn from(error: ReorgError) -> Self {
        Self::params(error.to_string())
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Reverted(data) => Self {
                code: Code::Reverted,
                message,
                data: Some(data),
            },
            CallError::Halted(_) | CallError::Invalid(_) => Self::new(Code::Server, message),
        }
    }
}

impl From<LogsError> for Error {
    fn from(error: LogsError) -> Self {
        let code = match error {
            LogsError::UnknownBlock => Code::Server,
            LogsError::Backwards
            | LogsError::BeyondHead { .. }
            | LogsError::RangeTooLarge { .. } => Code::InvalidParams,
            LogsError::TooMany { .. } => Code::LimitExceeded,
            LogsError::Pruned => Code::Pruned,
        };
        Self::new(code, error.to_string())
    }
}
