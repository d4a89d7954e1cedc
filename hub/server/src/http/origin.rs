//! Where a browser's request comes from: a page of this hub, or of somebody else.
//!
//! A browser sends a cookie by itself, whoever's page makes it do so; what changes something is
//! therefore taken by cookie only from the hub's own pages. Browsers say where a request comes
//! from in `Sec-Fetch-Site` (Fetch Metadata) or, older ones, in `Origin` (RFC 6454), and no script
//! can set either. `SameSite=Strict` says the same to the browser; this holds without it too.

use http::{HeaderMap, HeaderName, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From a page of this hub.
    Same,
    /// From a page of somebody else, or from something that is no page.
    Foreign,
    /// Nothing is said: not a browser of today.
    Unsaid,
}

impl Origin {
    /// What the headers say. Each that is there once has to be in order; one that is there twice
    /// is foreign.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(SEC_FETCH_SITE) {
            return match only(headers, &SEC_FETCH_SITE) {
                Some("same-origin") => Self::Same,
                _ => Self::Foreign,
            };
        }
        if !headers.contains_key(header::ORIGIN) {
            return Self::Unsaid;
        }
        let origin = only(headers, &header::ORIGIN).and_then(|origin| {
            let (scheme, host) = origin.split_once("://")?;
            matches!(scheme, "http" | "https").then_some(host)
        });
        match (origin, only(headers, &header::HOST)) {
            (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host) => Self::Same,
            _ => Self::Foreign,
        }
    }
}

/// Whether a browser says that a page of another site has sent it here. Who types an address, or
/// follows it from another program, is sent by nobody.
pub(super) fn sent_by_another_site(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .any(|site| site != "none" && site != "same-origin")
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(headers: &[(&'static str, &'static str)]) -> Origin {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Origin::of(&map)
    }

    #[test]
    fn fetch_metadata_decides_where_it_is_there() {
        let own = ("origin", "http://hub:8080");
        let host = ("host", "hub:8080");
        assert_eq!(origin(&[("sec-fetch-site", "same-origin")]), Origin::Same);
        for site in ["same-site", "cross-site", "none", "", "SAME-ORIGIN "] {
            assert_eq!(
                origin(&[("sec-fetch-site", site), own, host]),
                Origin::Foreign,
                "{site}"
            );
        }
        let twice = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(origin(&twice), Origin::Foreign);
    }

    #[test]
    fn else_the_origin_has_to_be_the_host() {
        let host = ("host", "hub:8080");
        for same in ["http://hub:8080", "https://hub:8080", "http://HUB:8080"] {
            assert_eq!(origin(&[("origin", same), host]), Origin::Same, "{same}");
        }
        for foreign in [
            "null",
            "",
            "http://evil.example",
            "http://hub",
            "http://hub:8081",
            "http://hub:8080.evil.example",
            "http://evil.example/hub:8080",
            "ftp://hub:8080",
            "hub:8080",
        ] {
            assert_eq!(
                origin(&[("origin", foreign), host]),
                Origin::Foreign,
                "{foreign}"
            );
        }
        assert_eq!(origin(&[("origin", "http://hub:8080")]), Origin::Foreign);
        assert_eq!(origin(&[host]), Origin::Unsaid);
    }
}
