//! Headers: base64 of JSON, with bounds.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{PaymentPayload, Reason, Refused, VERSION};

/// The longest header that is looked at, in bytes of base64: a payment has about a thousand.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How deep objects and lists may be within each other.
pub const MAX_DEPTH: usize = 16;

/// Takes base64 with and without padding: the specification does not say which.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A header's value.
///
/// # Errors
/// None but a bug: what is written here can be written.
pub fn encode(what: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(STANDARD.encode(serde_json::to_vec(what)?))
}

/// Reads the value of a [`PAYMENT_SIGNATURE`](super::PAYMENT_SIGNATURE) header.
///
/// # Errors
/// `invalid_payload` with the place of what was not understood, `invalid_x402_version` where that is
/// another one.
pub fn payment(value: &[u8]) -> Result<PaymentPayload, Refused> {
    let json = json(value)?;
    // The version first: what another version's fields are called is no error of theirs.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        x402_version: u32,
    }
    let Version { x402_version } = parse(&json)?;
    if x402_version != VERSION {
        let detail = format!("x402 version {x402_version} is not spoken here: use {VERSION}");
        return Err(Refused::new(Reason::InvalidX402Version, detail));
    }
    parse(&json)
}

/// Reads any header of x402.
///
/// # Errors
/// `invalid_payload` with the place of what was not understood.
pub fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, Refused> {
    parse(&json(value)?)
}

fn json(value: &[u8]) -> Result<Vec<u8>, Refused> {
    if value.len() > MAX_HEADER_BYTES {
        let detail = format!(
            "the header has {} bytes: at most {MAX_HEADER_BYTES}",
            value.len()
        );
        return Err(malformed(detail));
    }
    let json = LENIENT
        .decode(value.trim_ascii())
        .map_err(|error| malformed(format!("the header is no base64: {error}")))?;
    if depth(&json) > MAX_DEPTH {
        return Err(malformed(format!(
            "the JSON is nested deeper than {MAX_DEPTH}"
        )));
    }
    Ok(json)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Refused> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        malformed(format!(
            "at {}: {}",
            shown(&path),
            shown(&error.inner().to_string())
        ))
    })?;
    reader
        .end()
        .map_err(|_| malformed("there is something behind the JSON"))?;
    Ok(parsed)
}

pub(super) fn malformed(detail: impl Into<String>) -> Refused {
    Refused::new(Reason::InvalidPayload, detail)
}

/// As much of a stranger's text as fits into an answer.
pub(super) fn shown(text: &str) -> String {
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(160).collect()
}

/// How deep objects and lists are within each other, without regard to what is in texts.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' | b'[' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
