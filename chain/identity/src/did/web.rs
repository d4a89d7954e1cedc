//! `did:web`: a place in the Web where the document is (did:web Method Specification, section 3.2).

use std::fmt;

use super::Error;
use crate::text::shown;

/// A domain, perhaps a port, and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    domain: String,
    port: Option<u16>,
    path: Vec<String>,
}

/// The most segments of a path.
const MAX_SEGMENTS: usize = 16;

fn wrong(part: &'static str, text: &str, wrong: &'static str) -> Error {
    Error::Web {
        part,
        text: shown(text),
        wrong,
    }
}

impl Web {
    /// The place with this domain, port and path.
    ///
    /// # Errors
    /// [`Error::Web`].
    pub fn new(domain: &str, port: Option<u16>, path: &[&str]) -> Result<Self, Error> {
        check_domain(domain)?;
        if port == Some(0) {
            return Err(wrong("port", "0", "ports are from 1 to 65535"));
        }
        if path.len() > MAX_SEGMENTS {
            return Err(wrong("path", &path.join(":"), "it has more than 16 parts"));
        }
        for segment in path {
            check_segment(segment)?;
        }
        Ok(Self {
            domain: domain.to_owned(),
            port,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
        })
    }

    /// What follows on `did:web:`.
    pub(super) fn parse(id: &str) -> Result<Self, Error> {
        let mut parts = id.split(':');
        let host = parts.next().unwrap_or_default();
        let (domain, port) = match host.split_once('%') {
            None => (host, None),
            Some((domain, rest)) => {
                let digits = rest
                    .strip_prefix("3A")
                    .or_else(|| rest.strip_prefix("3a"))
                    .ok_or_else(|| {
                        wrong(
                            "domain",
                            host,
                            "only %3A before a port may be escaped in it",
                        )
                    })?;
                let port = Some(digits)
                    .filter(|digits| {
                        digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
                    })
                    .and_then(|digits| digits.parse().ok())
                    .ok_or_else(|| wrong("port", digits, "ports are from 1 to 65535"))?;
                (domain, Some(port))
            }
        };
        let path: Vec<&str> = parts.take(MAX_SEGMENTS + 1).collect();
        Self::new(domain, port, &path)
    }

    /// Where its document is, always by https.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = format!("https://{}", self.domain);
        if let Some(port) = self.port {
            url.push_str(&format!(":{port}"));
        }
        if self.path.is_empty() {
            url.push_str("/.well-known");
        }
        for segment in &self.path {
            url.push('/');
            url.push_str(segment);
        }
        url.push_str("/did.json");
        url
    }

    /// Its domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Its port, if it is not that of https.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The parts of its path.
    #[must_use]
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// The place below it.
    ///
    /// # Errors
    /// [`Error::Web`].
    pub fn below(&self, segments: &[&str]) -> Result<Self, Error> {
        let path: Vec<&str> = self
            .path
            .iter()
            .map(String::as_str)
            .chain(segments.iter().copied())
            .collect();
        Self::new(&self.domain, self.port, &path)
    }
}

impl fmt::Display for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.domain)?;
        if let Some(port) = self.port {
            write!(f, "%3A{port}")?;
        }
        for segment in &self.path {
            write!(f, ":{segment}")?;
        }
        Ok(())
    }
}

/// A domain in lower case; the method allows no address.
fn check_domain(domain: &str) -> Result<(), Error> {
    let says = |what| Err(wrong("domain", domain, what));
    if domain.is_empty() || domain.len() > 253 {
        return says("a domain has from 1 to 253 characters");
    }
    if domain.bytes().any(|b| b.is_ascii_uppercase()) {
        return says("it is written in lower case");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !domain.split('.').all(label) {
        return says("its parts are of a-z, 0-9 and -, with points between");
    }
    let last = domain.rsplit('.').next().unwrap_or_default();
    // What clients read as an IPv4 address (URL Standard, "ends in a number").
    let hexadecimal = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    if last.bytes().all(|b| b.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(hexadecimal)
    {
        return says("it is a domain, no address");
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), Error> {
    let says = |what| Err(wrong("path", segment, what));
    if segment.is_empty() || segment.len() > 128 {
        return says("each of its parts has from 1 to 128 characters");
    }
    if segment.bytes().all(|b| b == b'.') {
        return says("a part of points alone leads elsewhere");
    }
    if !segment
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    {
        return says("its parts are of letters, digits, “.”, “-” and “_”");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::did::Did;

    /// The first three are the specification's.
    #[test]
    fn where_documents_are() {
        for (did, url) in [
            (
                "did:web:w3c-ccg.github.io",
                "https://w3c-ccg.github.io/.well-known/did.json",
            ),
            (
                "did:web:w3c-ccg.github.io:user:alice",
                "https://w3c-ccg.github.io/user/alice/did.json",
            ),
            (
                "did:web:example.com%3A3000:user:alice",
                "https://example.com:3000/user/alice/did.json",
            ),
            (
                "did:web:localhost%3A8443",
                "https://localhost:8443/.well-known/did.json",
            ),
        ] {
            let did = Did::parse(did).expect(did);
            assert_eq!(did.as_web().expect("a place").url(), url);
            let below = did.as_web().expect("a place").below(&["devices", "d-1"]);
            let below = Did::from_web(below.expect("a place below"));
            assert_eq!(below.as_str(), format!("{did}:devices:d-1"));
            assert_eq!(Did::parse(below.as_str()), Ok(below));
        }
    }

    #[test]
    fn what_names_no_place_or_another_one() {
        let many = format!("did:web:a.example{}", ":x".repeat(17));
        for (did, wrong) in [
            ("did:web:Hub.example", "lower case"),
            ("did:web:127.0.0.1", "no address"),
            ("did:web:0x7f000001", "no address"),
            ("did:web:a.0x7f", "no address"),
            ("did:web:127.0.0.0x", "no address"),
            ("did:web:%5B%3A%3A1%5D", "only %3A before a port"),
            ("did:web:hub.example%3A0", "from 1 to 65535"),
            ("did:web:hub.example%3A65536", "from 1 to 65535"),
            ("did:web:hub.example%3A+80", "from 1 to 65535"),
            ("did:web:hub.example%2Fx", "only %3A before a port"),
            ("did:web:-hub.example", "a-z, 0-9"),
            ("did:web:hub..example", "a-z, 0-9"),
            ("did:web:user@hub.example", "a-z, 0-9"),
            ("did:web:hub.example:", "from 1 to 128"),
            ("did:web:hub.example:..:x", "leads elsewhere"),
            ("did:web:hub.example:a%2Fb", "letters, digits"),
            ("did:web:hübsch.example", "a-z, 0-9"),
            (many.as_str(), "more than 16 parts"),
        ] {
            let error = Did::parse(did).expect_err(did).to_string();
            assert!(error.contains(wrong), "{did}: {error}");
        }
    }
}
