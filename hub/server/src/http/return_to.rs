//! Where somebody was going when they were sent to sign in, so that they get there afterwards.
//!
//! The place travels in the address of the form (`/login?next=…`), which anybody can write. It is
//! therefore taken only if it is a page of this hub's console, by its path: no scheme, no host,
//! nothing that a browser would read as one, and no path that signs in, out or changes something.
//! What stands behind an address's `#` no server is sent; browsers carry it along by themselves,
//! through redirects and through a form that is sent to the address that it stands at.

use std::collections::HashSet;
use std::sync::LazyLock;

use http::Uri;

use super::access::Access;
use super::routes::routes;

/// The longest place in bytes; of a longer one nothing is kept.
const MAX_BYTES: usize = 1_024;

/// Pages for more or fewer people than the console's are.
const OTHERS: [&str; 2] = ["/audit", "/wallet/buy"];

/// The first parts of the paths of all pages.
static PAGES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let pages = routes()
        .into_iter()
        .filter(|route| route.access == Access::Page || OTHERS.contains(&route.path));
    pages.filter_map(|route| first_part(route.path)).collect()
});

/// A page of the console with its query, such as `/alarms?state=active`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReturnTo(String);

impl ReturnTo {
    /// Takes a place that somebody wrote; `None` if it is not a page of the console.
    pub(super) fn parse(place: &str) -> Option<Self> {
        // A browser takes `\` for `/`, drops tabs and line ends, and goes up at dots, coded or not:
        // what it would not leave as it is, is not taken.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>".contains(&byte);
        if place.len() > MAX_BYTES || !place.bytes().all(is_plain) {
            return None;
        }
        let path = place.split('?').next().unwrap_or_default();
        let lower = path.to_ascii_lowercase();
        if path.contains("//") || path.contains("..") || lower.contains("%2e") {
            return None;
        }
        PAGES
            .contains(first_part(path)?)
            .then(|| Self(place.to_owned()))
    }

    /// The page that was asked for; `None` for the first page, where everybody gets to anyway.
    pub(super) fn of(asked: &Uri) -> Option<Self> {
        let place = asked.path_and_query()?.as_str();
        Self::parse(place).filter(|place| place.0 != "/")
    }

    /// Where to go.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What stands between the first two slashes.
fn first_part(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next()
}

/// The address of the form, from where it goes on to `place`.
pub(super) fn login(place: Option<&ReturnTo>) -> String {
    match place {
        Some(place) => format!("/login?next={}", super::page::encoded(place.as_str())),
        None => "/login".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_console_are_taken_as_they_are() {
        for place in [
            "/",
            "/claim",
            "/devices/freezer-07",
            "/devices?search=a%20b&after=x",
            "/alarms?state=active",
            "/enrolment/a%2Fb",
            "/?a=//b",
            "/wallet/buy",
        ] {
            let taken = ReturnTo::parse(place);
            assert_eq!(taken.as_ref().map(ReturnTo::as_str), Some(place));
        }
        let asked: Uri = "/alarms?state=active".parse().unwrap();
        let login = login(ReturnTo::of(&asked).as_ref());
        assert_eq!(login, "/login?next=%2Falarms%3Fstate%3Dactive");
        assert_eq!(ReturnTo::of(&"/".parse().unwrap()), None);
    }

    #[test]
    fn nothing_else_is() {
        let long = format!("/devices?search={}", "x".repeat(MAX_BYTES));
        for place in [
            "",
            "claim",
            "//evil.example",
            "//evil.example/claim",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " /claim",
            "https://evil.example/claim",
            "https:claim",
            "javascript:alert(1)",
            "/claim/../login?token=x",
            "/claim/%2e%2E/login?token=x",
            "/claim//evil.example",
            "/login?token=x",
            "/logout",
            "/link/x",
            "/api/v1/devices",
            "/nothing",
            "/claim#x",
            "/claim\r\nset-cookie: x=y",
            "/dev\u{ff0f}ices",
            &long,
        ] {
            assert_eq!(ReturnTo::parse(place), None, "{place}");
        }
    }
}
