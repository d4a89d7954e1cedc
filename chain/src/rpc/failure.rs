//! What can go wrong with a call, sorted by what to do about it.

use alloy_json_rpc::{ErrorPayload, RpcError};
use alloy_transport::{TransportError, TransportErrorKind};

use super::revert::Revert;
use super::transport::TooLarge;

/// Why one endpoint gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was not reached, took too long, or said that it can't at the moment: whether what was asked
    /// for is so stays unknown.
    #[error("{0}")]
    Transient(String),
    /// What was asked for is not there, or not yet.
    #[error("it has no {0}")]
    Missing(String),
    /// The answer would be larger than the endpoint or we allow: ask for less.
    #[error("too much for one answer: {0}")]
    TooLarge(String),
    /// It won't answer this question, whenever it is asked.
    #[error("refused: {0}")]
    Refused(String),
    /// The contract that was called reverted, for this reason.
    #[error("reverted: {0}")]
    Reverted(Revert),
    /// It does not take the transaction, and won't while it and the account are as they are.
    #[error("not taken: {0}")]
    NotTaken(String),
    /// It answered what can't be so.
    #[error("its answer can't be right: {0}")]
    Wrong(String),
    /// It is an endpoint of another chain.
    #[error("it is of chain {found}, not {expected}")]
    WrongChain {
        /// The chain id that was expected.
        expected: u64,
        /// The one that it has.
        found: u64,
    },
}

/// Why the endpoints together gave no answer that can be used. Endpoints are named by host and port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Too few answered: what was asked for is unknown, and will be asked again.
    #[error(
        "unknown: {what}: {have} of {want} endpoints that must say the same answered ({})",
        said(why)
    )]
    Unknown {
        /// What was asked.
        what: String,
        /// How many said the same.
        have: usize,
        /// How many must.
        want: usize,
        /// Who gave no answer, and why.
        why: Vec<(String, Failure)>,
    },
    /// They say different things.
    #[error("endpoints disagree on {what}: {}", said(who))]
    Disagree {
        /// What was asked.
        what: String,
        /// Who says what.
        who: Vec<(String, String)>,
    },
    /// The answer would be too large.
    #[error("{what} is too much for one answer: {}", said(why))]
    TooLarge {
        /// What was asked.
        what: String,
        /// Who said so.
        why: Vec<(String, Failure)>,
    },
    /// An endpoint is of another chain.
    #[error(
        "endpoint {endpoint} is of chain {found}, not {expected}: set `chain_id`, or another endpoint"
    )]
    WrongChain {
        /// Which.
        endpoint: String,
        /// The chain id that was expected.
        expected: u64,
        /// The one that it has.
        found: u64,
    },
    /// Too few are left of those that answer this question at all.
    #[error("{what} is refused: {}", said(why))]
    Refused {
        /// What was asked.
        what: String,
        /// Who refuses, and how.
        why: Vec<(String, Failure)>,
    },
    /// The chain's newest block is far below what was read already.
    #[error("{}", behind(*head, *cursor, *is_known, lag))]
    Behind {
        /// The newest block that enough endpoints have.
        head: u64,
        /// Up to which block the chain was read.
        cursor: u64,
        /// They have a block that was read, with the same hash: it is the same chain.
        is_known: bool,
        /// Who has not come to what was read, with the newest block of each, where another one has.
        lag: Vec<(String, u64)>,
    },
}

fn behind(head: u64, cursor: u64, is_known: bool, lag: &[(String, u64)]) -> String {
    if !lag.is_empty() {
        let who: Vec<String> = lag
            .iter()
            .map(|(who, head)| format!("{who} lags, with block {head} as its newest"))
            .collect();
        return format!(
            "{}; it was read up to block {cursor} already, and too few other endpoints have what comes next: nothing \
             new is seen until there are enough",
            who.join("; ")
        );
    }
    let why = if is_known {
        "they were set back, and what they have is of the chain that was followed; nothing new is seen until they \
         are there again"
    } else {
        "they were set back, or are of another chain with the same id, which none of the blocks that are kept is \
         low enough to tell. Nothing of it is looked at until it comes to a block that is kept: if it is another \
         chain, follow it under another name, from its first block"
    };
    format!(
        "the newest block of its endpoints is {head}, and it was read up to block {cursor} already: {why}"
    )
}

impl Trouble {
    /// Whether asking again may help. What an endpoint refuses or finds too large today it may answer
    /// tomorrow; one of another chain is a setting that somebody has to change.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::WrongChain { .. })
    }

    /// What kind it is, without the name of an endpoint or what one has said.
    pub fn in_short(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "too few of its endpoints answer",
            Self::Disagree { .. } => "its endpoints disagree",
            Self::TooLarge { .. } => "what is asked is too much for its endpoints",
            Self::WrongChain { .. } => "an endpoint is of another chain",
            Self::Refused { .. } => "its endpoints refuse what is asked",
            Self::Behind { lag, .. } if !lag.is_empty() => {
                "an endpoint lags behind what was read, and too few others are left"
            }
            Self::Behind { is_known: true, .. } => "its endpoints were set back",
            Self::Behind { .. } => "its endpoints were set back, or are of another chain",
        }
    }

    /// Whether somebody says that what was asked for is not there, or is another.
    pub(crate) fn may_be_gone(&self) -> bool {
        match self {
            Self::Unknown { why, .. } => why
                .iter()
                .any(|(_, failure)| matches!(failure, Failure::Missing(_))),
            Self::Disagree { .. } => true,
            _ => false,
        }
    }
}

fn said<T: std::fmt::Display>(who: &[(String, T)]) -> String {
    let said: Vec<String> = who
        .iter()
        .map(|(who, what)| format!("{who}: {what}"))
        .collect();
    said.join("; ")
}

/// Texts are an endpoint's: they are cut, and may not steer a terminal.
pub(super) fn cut(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect()
}

/// Words in which endpoints say that a range or its result is too large: there is no code for it
/// that all use.
const TOO_LARGE: [&str; 14] = [
    "block range",
    "range is too large",
    "range too large",
    "range limit",
    "too many results",
    "too many blocks",
    "too many logs",
    "more than 10000 results",
    "query returned more than",
    "response size",
    "response is too big",
    "log response",
    "exceed maximum block",
    "exceeds the limit",
];

/// Words in which endpoints say that a block is not there (yet).
const MISSING: [&str; 5] = [
    "unknown block",
    "header not found",
    "block not found",
    "could not be found",
    "missing trie node",
];

/// Words in which nodes say that what was called came to an end of its own: asked again it does the same.
const FAILED: [&str; 6] = [
    "revert",
    "out of gas",
    "outofgas",
    "invalid opcode",
    "insufficient funds",
    "insufficient balance",
];

/// Words in which nodes say of a transaction what is no fault of its own, or may be otherwise the next time: its
/// nonce, what others pay, how full the node is, and how busy.
const TAKEN_LATER: [&str; 18] = [
    "nonce",
    "underpriced",
    "already",
    "known",
    "base fee",
    "basefee",
    "fee too low",
    "feetoolow",
    "gas price",
    "is full",
    "account limit",
    "rate limit",
    "too many requests",
    "try again",
    "timeout",
    "timed out",
    "sync",
    "internal error",
];

/// Of an error of the JSON-RPC client.
pub(super) fn of(error: TransportError, method: &str) -> Failure {
    match error {
        RpcError::ErrorResp(payload) => of_payload(&payload, method),
        RpcError::NullResp => Failure::Missing(format!("answer to {method}")),
        RpcError::DeserError { err, .. } => {
            Failure::Wrong(format!("{method}: {}", cut(&err.to_string())))
        }
        RpcError::Transport(kind) => of_transport(&kind, method),
        other => Failure::Refused(format!("{method}: {}", cut(&other.to_string()))),
    }
}

fn of_payload(payload: &ErrorPayload, method: &str) -> Failure {
    let message = payload.message.to_lowercase();
    let told = format!("{method}: {} ({})", cut(&payload.message), payload.code);
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    // Nodes have code 3 for it (geth, Besu, anvil), or say it in words.
    if method == "eth_call" && (payload.code == 3 || says(&FAILED)) {
        let data = payload.data.as_deref();
        return Failure::Reverted(Revert::of(&payload.message, data));
    }
    // Nodes have codes of their own for it, which mean other things elsewhere. -32601: it takes none at all.
    if method == "eth_sendRawTransaction" && payload.code != -32601 {
        return if says(&TAKEN_LATER) {
            Failure::Transient(told)
        } else {
            Failure::NotTaken(told)
        };
    }
    // Codes of EIP-1474 and of JSON-RPC 2.0.
    if method == "eth_getLogs" && (says(&TOO_LARGE) || payload.code == -32005) {
        Failure::TooLarge(told)
    } else if says(&MISSING) || payload.code == -32001 {
        Failure::Missing(format!("such block ({told})"))
    } else if matches!(payload.code, -32602..=-32600 | -32004) {
        Failure::Refused(told)
    } else {
        Failure::Transient(told)
    }
}

fn of_transport(kind: &TransportErrorKind, method: &str) -> Failure {
    if let Some(TooLarge(max)) = kind
        .as_custom()
        .and_then(|error| error.downcast_ref::<TooLarge>())
    {
        return Failure::TooLarge(format!(
            "{method}: an answer of more than {} KiB (`max_answer_kib`)",
            max / 1024
        ));
    }
    match kind.as_http_error() {
        Some(error) => {
            let told = format!("{method}: HTTP status {}", error.status);
            match error.status {
                401 | 403 | 404 | 405 => Failure::Refused(told),
                413 => Failure::TooLarge(told),
                _ => Failure::Transient(told),
            }
        }
        None => Failure::Transient(format!("{method}: {}", cut(&kind.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(code: i64, message: &'static str) -> Failure {
        let payload = ErrorPayload {
            code,
            message: message.into(),
            data: None,
        };
        of(RpcError::ErrorResp(payload), "eth_getLogs")
    }

    #[test]
    fn what_endpoints_say_about_ranges_is_understood() {
        for (code, message) in [
            (-32005, "query returned more than 10000 results"),
            (-32602, "block range too large, maximum is 10000"),
            (-32000, "Log response size exceeded."),
            (-32600, "eth_getLogs is limited to a 2000 block range"),
            (-32000, "exceed maximum block range: 5000"),
        ] {
            let failure = payload(code, message);
            assert!(matches!(failure, Failure::TooLarge(_)), "{failure:?}");
        }
        assert!(matches!(
            payload(-32000, "header not found"),
            Failure::Missing(_)
        ));
        assert!(matches!(
            payload(-32601, "the method does not exist"),
            Failure::Refused(_)
        ));
        assert!(matches!(
            payload(-32000, "try again later"),
            Failure::Transient(_)
        ));
    }

    #[test]
    fn what_a_contract_does_is_not_its_endpoints_fault() {
        let called = |code, message: &'static str| {
            let payload = ErrorPayload {
                code,
                message: message.into(),
                data: None,
            };
            of(RpcError::ErrorResp(payload), "eth_call")
        };
        for (code, message) in [
            (3, "execution reverted: no"),
            (-32000, "VM execution error: revert"),
            (-32000, "out of gas"),
            (-32003, "EVM error OutOfGas"),
        ] {
            let failure = called(code, message);
            assert!(matches!(failure, Failure::Reverted(_)), "{failure:?}");
        }
        let failure = called(-32000, "execution aborted (timeout = 5s)");
        assert!(matches!(failure, Failure::Transient(_)), "{failure:?}");
    }

    /// As geth, Besu, Nethermind, reth and anvil word it.
    #[test]
    fn what_a_transaction_is_itself_is_told_from_what_passes() {
        let sent = |code, message: &'static str| {
            let payload = ErrorPayload {
                code,
                message: message.into(),
                data: None,
            };
            of(RpcError::ErrorResp(payload), "eth_sendRawTransaction")
        };
        for (code, message) in [
            (
                -32000,
                "intrinsic gas too low: gas 21000, minimum needed 21064",
            ),
            (-32003, "Intrinsic gas exceeds gas limit"),
            (-32010, "IntrinsicGasTooLow"),
            (-32000, "exceeds block gas limit"),
            (-32005, "Transaction gas limit exceeds block gas limit"),
            (
                -32000,
                "transaction gas limit too high (cap: 16777216, tx: 30000000)",
            ),
            (-32004, "Upfront cost exceeds account balance"),
            (-32003, "Insufficient funds for gas * price + value"),
            (
                -32000,
                "insufficient funds for gas * price + value: balance 1, tx cost 2, overshot 1",
            ),
        ] {
            let failure = sent(code, message);
            assert!(matches!(failure, Failure::NotTaken(_)), "{failure:?}");
        }
        for (code, message) in [
            (-32000, "nonce too low: next nonce 7, tx nonce 5"),
            (-32000, "replacement transaction underpriced"),
            (
                -32000,
                "max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 2",
            ),
            (-32000, "txpool is full"),
            (-32005, "rate limit exceeded"),
            (-32010, "FeeTooLow, MaxFeePerGas too low"),
            (-32603, "Internal error"),
        ] {
            let failure = sent(code, message);
            assert!(matches!(failure, Failure::Transient(_)), "{failure:?}");
        }
        let none = sent(-32601, "the method does not exist");
        assert!(matches!(none, Failure::Refused(_)), "{none:?}");
    }

    #[test]
    fn a_text_of_an_endpoint_can_not_steer_a_terminal() {
        assert_eq!(cut("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(cut(&"x".repeat(10_000)).len(), 200);
    }
}
