//! The CBOR forms of what the stream holds.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::{MAX_TEXT, OwnedValue};
use stencil_rules::{Cause, Clearing, Finite, Firing};

/// Bytes that are no record of a stream.
#[derive(Debug, thiserror::Error)]
#[error("not a record of a rule stream: {0}")]
pub struct Error(#[from] pub(crate) minicbor::decode::Error);

/// A value as a sample or a command has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    #[n(0)]
    Bool(#[n(0)] bool),
    /// A whole number.
    #[n(1)]
    Integer(#[n(0)] i64),
    /// A number.
    #[n(2)]
    Number(#[n(0)] f64),
    /// A text.
    #[n(3)]
    Text(#[n(0)] String),
}

impl From<&OwnedValue> for Scalar {
    fn from(value: &OwnedValue) -> Self {
        match value {
            OwnedValue::Bool(bit) => Self::Bool(*bit),
            OwnedValue::Integer(integer) => Self::Integer(*integer),
            OwnedValue::Number(number) => Self::Number(*number),
            OwnedValue::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl From<Scalar> for OwnedValue {
    fn from(value: Scalar) -> Self {
        match value {
            Scalar::Bool(bit) => Self::Bool(bit),
            Scalar::Integer(integer) => Self::Integer(integer),
            Scalar::Number(number) => Self::Number(number),
            Scalar::Text(text) => Self::Text(text),
        }
    }
}

impl Scalar {
    /// Whether a command can have it.
    pub(crate) fn is_usable(&self) -> bool {
        match self {
            Self::Bool(_) | Self::Integer(_) => true,
            Self::Number(number) => number.is_finite(),
            Self::Text(text) => text.len() <= MAX_TEXT,
        }
    }
}

#[derive(Encode, Decode)]
pub(crate) enum CauseForm {
    #[n(0)]
    Numbered(#[n(0)] u32, #[n(1)] u64),
    #[n(1)]
    Timed(#[n(0)] i64),
    #[n(2)]
    Silence(#[n(0)] i64),
    #[n(3)]
    Window(#[n(0)] i64),
}

impl From<Cause> for CauseForm {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Numbered { boot, seq } => Self::Numbered(boot.0, seq.0),
            Cause::Timed { time_us } => Self::Timed(time_us),
            Cause::Silence { since_us } => Self::Silence(since_us),
            Cause::Window { end_us } => Self::Window(end_us),
        }
    }
}

impl From<CauseForm> for Cause {
    fn from(form: CauseForm) -> Self {
        match form {
            CauseForm::Numbered(boot, seq) => Self::Numbered {
                boot: Boot(boot),
                seq: Seq(seq),
            },
            CauseForm::Timed(time_us) => Self::Timed { time_us },
            CauseForm::Silence(since_us) => Self::Silence { since_us },
            CauseForm::Window(end_us) => Self::Window { end_us },
        }
    }
}

#[derive(Encode, Decode)]
pub(crate) struct ChangeForm {
    #[n(0)]
    fired: bool,
    #[n(1)]
    since_us: i64,
    #[n(2)]
    at_us: i64,
    #[n(3)]
    value: Option<Finite>,
    #[n(4)]
    cause: CauseForm,
}

impl From<stencil_rules::Change> for ChangeForm {
    fn from(change: stencil_rules::Change) -> Self {
        let (fired, (since_us, at_us, value, cause)) = match change {
            stencil_rules::Change::Fired(it) => (true, (it.since_us, it.at_us, it.value, it.cause)),
            stencil_rules::Change::Cleared(it) => {
                (false, (it.since_us, it.at_us, it.value, it.cause))
            }
        };
        Self {
            fired,
            since_us,
            at_us,
            value,
            cause: cause.into(),
        }
    }
}

impl From<ChangeForm> for stencil_rules::Change {
    fn from(form: ChangeForm) -> Self {
        let ChangeForm {
            fired,
            since_us,
            at_us,
            value,
            cause,
        } = form;
        let cause = cause.into();
        if fired {
            Self::Fired(Firing {
                since_us,
                at_us,
                value,
                cause,
            })
        } else {
            Self::Cleared(Clearing {
                since_us,
                at_us,
                value,
                cause,
            })
        }
    }
}
