//! Event signatures as people write them, and what a log of such an event says. Pure.

use alloy_dyn_abi::{DynSolType, DynSolValue, Specifier as _};
use alloy_json_abi::Event;
use alloy_primitives::{B256, Bytes, hex};
use serde_json::{Value, json};

use crate::decode;

/// The longest signature, in bytes.
const MAX_SIGNATURE: usize = 1_024;
/// Indexed parameters that a log has room for beside the event itself.
const MAX_INDEXED: usize = 3;

/// What is wrong with a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {signature:?}: {why}")]
pub struct Error {
    /// The signature.
    pub signature: String,
    /// What was wrong, and what would be right.
    pub why: String,
}

/// An event, e.g. `Transfer(address indexed from, address indexed to, uint256 value)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    event: Event,
    topic0: B256,
    indexed: Vec<DynSolType>,
    body: Vec<DynSolType>,
}

impl Signature {
    /// Reads a signature in Solidity's form; the word `event` and the parameters' names may be left out.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |why: String| Error {
            signature: text.chars().take(200).collect(),
            why,
        };
        if text.len() > MAX_SIGNATURE {
            return Err(fail(format!("longer than {MAX_SIGNATURE} bytes")));
        }
        let trimmed = text.trim().trim_end_matches(';').trim_end();
        let trimmed = trimmed.strip_prefix("event ").unwrap_or(trimmed).trim();
        let Some((name, rest)) = trimmed.split_once('(') else {
            return Err(fail(
                "no parameters; `Transfer(address indexed,address indexed,uint256)` is of the right form"
                    .to_owned(),
            ));
        };
        let name = name.trim_end();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
        if !is_name {
            return Err(fail(format!(
                "{name:?} is no name of an event: letters, digits, `_` and `$`, not beginning with a digit"
            )));
        }
        let Some(inner) = rest.strip_suffix(')') else {
            return Err(fail(if rest.trim_end().ends_with("anonymous") {
                "anonymous events have no topic to be found by; watch all events of the address instead"
                    .to_owned()
            } else {
                "`)` is missing at the end".to_owned()
            }));
        };
        let mut parameters = Vec::new();
        if !inner.trim().is_empty() {
            for (place, parameter) in split(inner).into_iter().enumerate() {
                parameters.push(canonical(parameter).map_err(|why| {
                    fail(format!(
                        "parameter {}, {:?}: {why}",
                        place + 1,
                        parameter.trim()
                    ))
                })?);
            }
        }
        let written = format!("event {name}({})", parameters.join(","));
        let event = Event::parse(&written).map_err(|error| fail(error.to_string()))?;
        let (mut indexed, mut body) = (Vec::new(), Vec::new());
        for input in &event.inputs {
            let ty = input.resolve().map_err(|error| fail(error.to_string()))?;
            match input.indexed {
                true => indexed.push(ty),
                false => body.push(ty),
            }
        }
        if indexed.len() > MAX_INDEXED {
            return Err(fail(format!(
                "{} parameters are indexed; a log has room for {MAX_INDEXED}",
                indexed.len()
            )));
        }
        Ok(Self {
            topic0: event.selector(),
            event,
            indexed,
            body,
        })
    }

    /// The first topic of this event's logs: Keccak-256 of the canonical signature.
    pub fn topic0(&self) -> B256 {
        self.topic0
    }

    /// The canonical signature, which is what is hashed.
    pub fn canonical(&self) -> String {
        self.event.signature()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.event.name
    }

    /// What a log says, by parameter (a number where it has no name): integers as decimal text,
    /// bytes and addresses as `0x…`. `None`: its topics or data are not those of this event, as
    /// with an ERC-721 `Transfer`, which differs from ERC-20's by what is indexed only; or it says more than
    /// is read (10,000 values).
    pub fn decode(&self, topics: &[[u8; 32]], data: &[u8]) -> Option<Value> {
        let (first, topics) = topics.split_first()?;
        if self.topic0 != *first || topics.len() != self.indexed.len() {
            return None;
        }
        let indexed = self.indexed.iter().zip(topics);
        let mut indexed = indexed.map(|(ty, topic)| decode::topic(ty, *topic));
        let mut body = decode::values(&self.body, data)?.into_iter();
        let mut fields = serde_json::Map::new();
        for (place, input) in self.event.inputs.iter().enumerate() {
            let value = if input.indexed {
                indexed.next()??
            } else {
                body.next()?
            };
            let name = if input.name.is_empty() {
                place.to_string()
            } else {
                input.name.clone()
            };
            fields.insert(name, value);
        }
        Some(Value::Object(fields))
    }
}

/// Parts between commas that are in no parenthesis.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0_i32, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// `uint indexed amount` as `uint256 indexed amount`: what is hashed has no short forms.
pub(crate) fn canonical(parameter: &str) -> Result<String, String> {
    let parameter = parameter.trim();
    if parameter.is_empty() {
        return Err("nothing between two commas".to_owned());
    }
    // A tuple's own parameters may have spaces.
    let end = match parameter.rfind(')') {
        Some(close) => parameter[close..]
            .find(char::is_whitespace)
            .map(|space| close + space),
        None => parameter.find(char::is_whitespace),
    };
    let (ty, rest) = parameter.split_at(end.unwrap_or(parameter.len()));
    let parsed = DynSolType::parse(&without_names(ty)).map_err(|_| {
        let hint = match ty {
            "int" | "uint" => "",
            "string[" | "bytes[" => "; a `]` is missing",
            "indexed" => "; the type comes first: `address indexed`",
            _ => "; types are such as address, bool, uint256, int64, bytes32, bytes, string, uint8[], (address,uint256)",
        };
        format!("{ty:?} is no type of Solidity{hint}")
    })?;
    decode::check(&parsed)?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words.as_slice() {
        [] | ["indexed"] | ["indexed", _] => {}
        [name] if !name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$') => {}
        _ => {
            return Err(
                "`TYPE`, `TYPE NAME`, `TYPE indexed` or `TYPE indexed NAME` is right".to_owned(),
            );
        }
    }
    Ok(format!("{} {}", parsed.sol_type_name(), words.join(" ")))
}

/// `(address maker, uint value)[]` as `(address,uint)[]`: the names within a tuple are not hashed.
fn without_names(ty: &str) -> String {
    let inside = ty
        .find('(')
        .and_then(|open| Some((open, ty.rfind(')').filter(|close| *close > open)?)));
    let Some((open, close)) = inside.filter(|(open, _)| matches!(&ty[..*open], "" | "tuple"))
    else {
        return ty.to_owned();
    };
    let parts: Vec<String> = split(&ty[open + 1..close])
        .into_iter()
        .map(|part| {
            let part = part.trim();
            let end = match part.rfind(')') {
                Some(inner) => part[inner..].find(char::is_whitespace).map(|at| at + inner),
                None => part.find(char::is_whitespace),
            };
            without_names(&part[..end.unwrap_or(part.len())])
        })
        .collect();
    format!("({}){}", parts.join(","), &ty[close + 1..])
}

pub(crate) fn shown(value: &DynSolValue) -> Value {
    match value {
        DynSolValue::Bool(yes) => json!(yes),
        DynSolValue::Int(number, _) => json!(number.to_string()),
        DynSolValue::Uint(number, _) => json!(number.to_string()),
        DynSolValue::FixedBytes(word, size) => json!(hex::encode_prefixed(&word[..*size])),
        DynSolValue::Address(address) => json!(address.to_checksum(None)),
        DynSolValue::Function(function) => json!(hex::encode_prefixed(function.as_slice())),
        DynSolValue::Bytes(bytes) => json!(Bytes::copy_from_slice(bytes).to_string()),
        DynSolValue::String(text) => json!(text),
        DynSolValue::Array(values)
        | DynSolValue::FixedArray(values)
        | DynSolValue::Tuple(values) => Value::Array(values.iter().map(shown).collect()),
        // Of EIP-712 only; no event has one.
        #[allow(
            unreachable_patterns,
            reason = "a variant of a feature that others may turn on"
        )]
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRANSFER: &str = "Transfer(address indexed from, address indexed to, uint256 value)";

    #[test]
    fn known_events_have_their_known_topics() {
        for (text, topic0) in [
            (
                TRANSFER,
                "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
            ),
            // Short forms and left-out words mean the same.
            (
                "event Transfer(address indexed,address indexed,uint);",
                "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
            ),
            (
                "AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)",
                "98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5",
            ),
            (
                "UpdateUser(uint256 indexed,address indexed,uint64)",
                "4e06b4e7000e659094299b3533b47b6aa8ad048e95e872d23d1f4ee55af89cfe",
            ),
            (
                "Paused()",
                "9e87fac88ff661f02d44f95383c817fece4bce600a3dab7a54406878b965e752",
            ),
        ] {
            let signature = Signature::parse(text).unwrap();
            assert_eq!(hex::encode(signature.topic0()), topic0, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        for (text, expected) in [
            ("Transfer", "is of the right form"),
            ("Transfer(address,uint256", "`)` is missing"),
            (
                "Transfer(adress,uint256)",
                "parameter 1, \"adress\": \"adress\" is no type",
            ),
            ("Transfer(address,,uint256)", "nothing between two commas"),
            ("Transfer(indexed address)", "the type comes first"),
            ("Transfer(uint7)", "no type of Solidity"),
            (
                "Transfer(address indexed a b)",
                "`TYPE indexed NAME` is right",
            ),
            ("3Transfer(address)", "no name of an event"),
            ("(address)", "no name of an event"),
            (
                "T(uint indexed,uint indexed,uint indexed,uint indexed)",
                "room for 3",
            ),
            ("T(uint) anonymous", "watch all events of the address"),
        ] {
            let error = Signature::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_log_is_read_by_names_and_one_of_another_shape_is_not() {
        let signature = Signature::parse(TRANSFER).unwrap();
        let word = |n: u8| {
            let mut word = [0; 32];
            word[31] = n;
            word
        };
        let topics = [signature.topic0().0, word(1), word(2)];
        let decoded = signature.decode(&topics, &word(200)).unwrap();
        assert_eq!(decoded["value"], "200");
        assert_eq!(decoded["to"], "0x0000000000000000000000000000000000000002");
        // ERC-721: the third is indexed, too.
        let nft = [topics.as_slice(), &[word(3)]].concat();
        assert_eq!(signature.decode(&nft, &[]), None);
        assert_eq!(signature.decode(&topics, &word(200)[..31]), None);
    }

    #[test]
    fn tuples_and_arrays_are_taken() {
        let signature =
            Signature::parse("Filled((address maker, uint value)[] orders, bytes32 indexed id)");
        let canonical = signature.map(|signature| signature.canonical());
        assert_eq!(
            canonical.as_deref(),
            Ok("Filled((address,uint256)[],bytes32)")
        );
    }

    #[test]
    fn a_small_log_that_would_be_gigabytes_says_nothing() {
        let signature = Signature::parse("E(uint256[][][][] all, bytes32 indexed id)").unwrap();
        let topics = [signature.topic0().0, [7; 32]];
        let word = |n: u16| {
            let mut word = [0; 32];
            word[30..].copy_from_slice(&n.to_be_bytes());
            word
        };
        // Four lists of 72, and all members of a list are the next one.
        let mut words = vec![word(32)];
        for _ in 0..4 {
            words.push(word(72));
            words.extend([word(72 * 32); 72]);
        }
        assert!(words.len() * 32 < 10_000);
        assert_eq!(signature.decode(&topics, words.as_flattened()), None);
        // One of each is read.
        let one = [
            word(32),
            word(1),
            word(32),
            word(1),
            word(32),
            word(1),
            word(32),
            word(1),
            word(9),
        ];
        let decoded = signature.decode(&topics, one.as_flattened()).unwrap();
        assert_eq!(decoded["all"], json!([[[["9"]]]]));
        assert_eq!(decoded["id"], hex::encode_prefixed([7; 32]));
    }

    #[test]
    fn what_is_nested_too_deep_or_too_large_by_itself_is_refused() {
        for ty in [
            format!("uint256{}", "[]".repeat(480)),
            format!("{}uint256{}", "(".repeat(480), ")".repeat(480)),
            "uint256[4000000000]".to_owned(),
        ] {
            Signature::parse(&format!("E({ty})")).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_gets_an_answer(text in "\\PC{0,60}|[A-Za-z]{1,8}\\([a-z0-9\\[\\](), ]{0,50}\\)?") {
            let _ = Signature::parse(&text);
        }

        #[test]
        fn whatever_a_log_has_gets_an_answer(
            topics in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
            data in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let signature = Signature::parse("E(string a, uint8[] b, (bool,bytes)[2] c, bytes32 indexed d)").unwrap();
            let mut topics = topics;
            if let Some(first) = topics.first_mut() {
                *first = signature.topic0().0;
            }
            let _ = signature.decode(&topics, &data);
        }
    }
}
