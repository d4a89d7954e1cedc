//! Documents that tokens name by their content.
//!
//! What a document is follows from its bytes, as its name does: whoever keeps the same bytes keeps the same
//! document, and nobody says of another's that it is something else.

use stencil_ownership::cid::Cid;
use stencil_store::MAX_DOCUMENT;

/// What a document may be. Nothing that a browser would run in the hub's name is among it.
pub(crate) const MEDIA_TYPES: [&str; 5] = [JSON, TEXT, "image/png", "image/jpeg", "image/webp"];
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// What is wrong with a document.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// It is said to be something that no document is.
    #[error("the content type is `{0}`; a document is one of {kinds}", kinds = MEDIA_TYPES.join(", "))]
    Kind(String),
    /// Its length.
    #[error("the document has {0} bytes, not 1 to {MAX_DOCUMENT}")]
    Length(usize),
    /// It is not what it is said to be.
    #[error("the document is no {said}{reason}", reason = .why.as_deref().unwrap_or_default())]
    Not {
        said: &'static str,
        why: Option<String>,
    },
}

/// A document's name, and what it is.
///
/// # Errors
/// [`Wrong`].
pub(crate) fn checked(media_type: &str, body: &[u8]) -> Result<(Cid, &'static str), Wrong> {
    let plain = media_type.split(';').next().unwrap_or_default().trim();
    let known = MEDIA_TYPES
        .into_iter()
        .find(|known| plain.eq_ignore_ascii_case(known));
    let Some(said) = known else {
        return Err(Wrong::Kind(plain.chars().take(64).collect()));
    };
    if body.is_empty() || body.len() > MAX_DOCUMENT {
        return Err(Wrong::Length(body.len()));
    }
    let is = kind(body);
    match is {
        Some(is) if is == said => Ok((Cid::of(body), is)),
        // JSON is text as well, and is what it says.
        Some(JSON) if said == TEXT => Ok((Cid::of(body), JSON)),
        _ => Err(Wrong::Not {
            said: match said {
                JSON => "JSON, which is an object or a list",
                TEXT => "UTF-8 text",
                other => other.trim_start_matches("image/"),
            },
            why: json_error(said, body),
        }),
    }
}

/// What a document is by its bytes; `None`: nothing of what one may be.
pub(crate) fn kind(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        _ => {
            let text = std::str::from_utf8(body).ok()?;
            let is_json = text.trim_start().starts_with(['{', '['])
                && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            Some(if is_json { JSON } else { TEXT })
        }
    }
}

/// How a document is served.
pub(crate) fn served(kind: &str) -> String {
    match kind {
        TEXT => format!("{TEXT}; charset=utf-8"),
        other => other.to_owned(),
    }
}

/// Where what should be JSON goes wrong.
fn json_error(said: &str, body: &[u8]) -> Option<String> {
    if said != JSON {
        return None;
    }
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(body).err()?;
    Some(format!(": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    #[test]
    fn a_document_is_named_by_its_bytes() {
        let (cid, media_type) = checked("text/plain; charset=utf-8", b"hello").unwrap();
        assert_eq!(
            cid.to_string(),
            "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
        );
        assert_eq!(media_type, "text/plain");
        assert_eq!(served(media_type), "text/plain; charset=utf-8");
        assert_eq!(served("image/png"), "image/png");
    }

    #[test]
    fn what_it_is_follows_from_its_bytes() {
        for (said, body, is) in [
            ("application/json", &b" {\"a\":1}"[..], "application/json"),
            ("text/plain", b"[1]", "application/json"),
            ("text/plain", b"{no JSON", "text/plain"),
            ("text/plain", b"5", "text/plain"),
            ("image/png", PNG, "image/png"),
            ("IMAGE/JPEG", b"\xff\xd8\xff\xe0", "image/jpeg"),
            ("image/webp", b"RIFF\x08\0\0\0WEBPVP8L", "image/webp"),
        ] {
            assert_eq!(checked(said, body).unwrap().1, is, "{said}");
            assert_eq!(kind(body), Some(is), "{said}");
        }
        assert_eq!(kind(b"\xff\xfe"), None);
    }

    #[test]
    fn what_a_browser_would_run_and_what_is_not_what_it_says_are_refused() {
        for (media_type, body, why) in [
            ("text/html", &b"<p>"[..], "one of"),
            ("image/svg+xml", b"<svg/>", "one of"),
            ("", b"x", "one of"),
            ("application/json", b"{", "no JSON"),
            ("application/json", b"{", "line 1"),
            ("application/json", b"5", "an object or a list"),
            ("application/json", PNG, "no JSON"),
            ("text/plain", b"\xff", "no UTF-8"),
            ("text/plain", PNG, "no UTF-8"),
            ("image/png", b"", "0 bytes"),
            ("image/png", b"{\"a\":1}", "no png"),
            ("image/png", b"\xff\xd8\xff", "no png"),
            ("image/webp", b"RIFF", "no webp"),
        ] {
            let error = checked(media_type, body).unwrap_err().to_string();
            assert!(error.contains(why), "{media_type}: {error}");
        }
        assert!(checked("image/png", &vec![0; MAX_DOCUMENT + 1]).is_err());
    }
}
