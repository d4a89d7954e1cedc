//! Cookies: whether a browser came by TLS, under which names it keeps them, and how they are set.
//!
//! A page of a sister name (`shop.example.org` beside `hub.example.org`) can set a cookie for the domain
//! that both are of, and so sign somebody in as another; the `Cookie` header does not tell it from the
//! hub's own. A name that begins with `__Host-` (RFC 6265bis, section 4.1.3.2) is taken by browsers
//! only with `Secure`, `Path=/` and without `Domain`, which is from this very host by TLS; where people
//! come by TLS no other name is read. Over plain HTTP on loopback browsers refuse such names: there it is the name
//! alone. Nobody has a sister name of loopback.

use std::borrow::Cow;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, header};

use super::State;
use super::host::is_of_loopback;
use super::problem::Problem;

const PREFIX: &str = "__Host-";

/// How the browser of a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By TLS, of this listener or of a proxy before it.
    Tls,
    /// By plain HTTP, on loopback.
    Plain,
}

impl Way {
    /// How these headers have come. A proxy on this machine has to hand on the name that the browser has
    /// asked for: what was sent to a name of loopback has not come from elsewhere.
    pub(super) fn of(state: &State, headers: &HeaderMap) -> Self {
        let is_public = state.public_url.starts_with("https://") && !to_loopback(headers);
        if state.tls().is_some() || is_public {
            Self::Tls
        } else {
            Self::Plain
        }
    }

    /// What the browser calls this cookie.
    pub(super) fn name(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Tls => Cow::Owned(format!("{PREFIX}{name}")),
            Self::Plain => Cow::Borrowed(name),
        }
    }

    /// The value of the first cookie of this name.
    pub(super) fn find<'h>(self, headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
        let wanted = self.name(wanted);
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == wanted).then_some(value))
    }
}

/// A cookie for the hub's own pages, which no script reads, in answer to a request with these headers.
pub(super) fn set(
    state: &State,
    headers: &HeaderMap,
    name: &str,
    value: &str,
) -> Result<HeaderValue, Problem> {
    let name = Way::of(state, headers).name(name);
    let secure = if state.tls().is_some() || state.public_url.starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&cookie).map_err(Problem::internal)
}

/// Whether the one name that a request was sent to is one of loopback.
pub(super) fn to_loopback(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(name), None) = (named.next(), named.next()) else {
        return false;
    };
    let name = name.to_str().ok().and_then(|it| it.parse().ok());
    name.is_some_and(|name: Authority| is_of_loopback(name.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_tls_no_other_name_is_read() {
        let mut headers = HeaderMap::new();
        let all = "s=sister; __host-s=small; __Host-s=own; __Host-t=other";
        headers.insert(header::COOKIE, all.parse().unwrap());
        assert_eq!(Way::Tls.find(&headers, "s"), Some("own"));
        assert_eq!(Way::Plain.find(&headers, "s"), Some("sister"));
        headers.insert(header::COOKIE, "s=sister".parse().unwrap());
        assert_eq!(Way::Tls.find(&headers, "s"), None);
    }

    #[test]
    fn a_name_of_loopback_is_told_from_others() {
        let to = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, name.parse().unwrap());
            to_loopback(&headers)
        };
        for name in ["localhost", "127.0.0.1:8080", "[::1]:443", "a.localhost"] {
            assert!(to(name), "{name}");
        }
        for name in [
            "hub.example.org",
            "localhost.example.org:443",
            "",
            "a b",
            "192.0.2.7",
        ] {
            assert!(!to(name), "{name}");
        }
        assert!(!to_loopback(&HeaderMap::new()));
    }
}
