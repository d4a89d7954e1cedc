//! Documents that tokens name by their content.

use stencil_ownership::cid::Cid;
use stencil_store::MAX_DOCUMENT;

/// What a document may be. Nothing that a browser would run in the hub's name is among it.
pub(crate) const MEDIA_TYPES: [&str; 5] = [
    "application/json",
    "text/plain",
    "image/png",
    "image/jpeg",
    "image/webp",
];

/// A document's name, and what it is.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn checked(media_type: &str, body: &[u8]) -> Result<(Cid, &'static str), String> {
    let plain = media_type.split(';').next().unwrap_or_default().trim();
    let known = MEDIA_TYPES
        .into_iter()
        .find(|known| plain.eq_ignore_ascii_case(known));
    let Some(known) = known else {
        let plain: String = plain.chars().take(64).collect();
        return Err(format!(
            "the content type is `{plain}`; a document is one of {}",
            MEDIA_TYPES.join(", ")
        ));
    };
    if body.is_empty() || body.len() > MAX_DOCUMENT {
        return Err(format!(
            "the document has {} bytes, not 1 to {MAX_DOCUMENT}",
            body.len()
        ));
    }
    if known == "application/json" {
        serde_json::from_slice::<serde::de::IgnoredAny>(body)
            .map_err(|error| format!("the document is no JSON: {error}"))?;
    } else if known == "text/plain" && std::str::from_utf8(body).is_err() {
        return Err("the document is no UTF-8".to_owned());
    }
    Ok((Cid::of(body), known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_named_by_its_bytes() {
        let (cid, media_type) = checked("text/plain; charset=utf-8", b"hello").unwrap();
        assert_eq!(
            cid.to_string(),
            "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
        );
        assert_eq!(media_type, "text/plain");
    }

    #[test]
    fn what_a_browser_would_run_and_what_is_not_what_it_says_are_refused() {
        for (media_type, body, why) in [
            ("text/html", &b"<p>"[..], "one of"),
            ("image/svg+xml", b"<svg/>", "one of"),
            ("", b"x", "one of"),
            ("application/json", b"{", "no JSON"),
            ("text/plain", b"\xff", "no UTF-8"),
            ("image/png", b"", "0 bytes"),
        ] {
            let error = checked(media_type, body).unwrap_err();
            assert!(error.contains(why), "{media_type}: {error}");
        }
        assert!(checked("image/png", &vec![0; MAX_DOCUMENT + 1]).is_err());
    }
}
