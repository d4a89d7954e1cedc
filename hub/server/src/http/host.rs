//! By which names the console may be reached.
//!
//! A page of somebody else can have its own name lead to a loopback address (DNS rebinding); to the
//! browser the hub is then that page's own site, and `Origin` and `Host` agree. So what a browser
//! does at a hub on loopback is taken under names of loopback, and under those that the settings
//! have. A token in the `Authorization` header is nothing that a browser adds by itself: who has one
//! may use any name.

use std::net::IpAddr;

use axum::extract::Request;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use super::access::Access;
use super::problem::{Kind, Problem};
use super::{State, session};

/// As much of a name that somebody sent as an error repeats, in characters.
const MAX_NAMED: usize = 80;

/// The names that are taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    /// Whether every name is: off loopback HTTP is within TLS, whose certificate says as much.
    any: bool,
    names: Vec<String>,
}

impl Hosts {
    /// Takes all names.
    pub(super) fn any(&mut self) {
        self.any = true;
    }

    /// Takes this name or address, too.
    pub(super) fn also(&mut self, name: &str) {
        let name = bare(name);
        if !name.is_empty() {
            self.names.push(name);
        }
    }

    /// Takes the name in this address, too.
    pub(super) fn also_of(&mut self, url: &str) {
        let uri: Option<Uri> = url.parse().ok();
        if let Some(host) = uri.as_ref().and_then(Uri::host) {
            self.also(host);
        }
    }

    fn takes(&self, host: &str) -> bool {
        self.any || is_of_loopback(host) || self.has(host)
    }

    /// Whether the settings have this name or address.
    pub(super) fn has(&self, host: &str) -> bool {
        self.names.contains(&bare(host))
    }

    /// Whether the names that a request was sent to are all taken.
    pub(super) fn take(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if self.any {
            return Ok(());
        }
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            _ => return Err(misdirected("without one `Host` header")),
        };
        let host = host.parse::<Authority>();
        let host = host.as_ref().map(Authority::host).unwrap_or_default();
        match uri.host().filter(|absolute| !self.takes(absolute)) {
            Some(absolute) => Err(other(absolute)),
            None if self.takes(host) => Ok(()),
            None => Err(other(host)),
        }
    }
}

/// Whether browsers reach their own machine by this name.
pub(super) fn is_of_loopback(host: &str) -> bool {
    let host = bare(host);
    host == "localhost"
        // All of it is loopback to browsers (RFC 6761, section 6.3).
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// In small letters, and an address without its brackets.
fn bare(host: &str) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).to_ascii_lowercase()
}

fn other(host: &str) -> Problem {
    let host: String = host.chars().take(MAX_NAMED).collect();
    misdirected(&format!("as `{host}`"))
}

fn misdirected(how: &str) -> Problem {
    let detail = format!(
        "the hub was asked {how}, which is no name that the console is reached by; if it should \
         be, add it to `http.public_names` or set `http.public_url` in the hub's settings. A \
         program that sends its token in the `Authorization` header may use any name"
    );
    Problem::new(Kind::Misdirected, detail)
}

/// Refuses what a browser does under a name that is not the hub's.
pub(super) fn check(state: &State, access: Access, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let of_console = match access {
        // Here a token in a header counts for nothing.
        Access::SignIn => true,
        Access::Public => false,
        _ if headers.contains_key(header::AUTHORIZATION) => false,
        Access::Page | Access::WalletPage => true,
        _ => session::cookie(state, headers).is_some(),
    };
    if of_console {
        state.hosts().take(request.uri(), headers)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(hosts: &Hosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        hosts.take(&Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn loopback_and_the_settings_names_are_taken_with_any_port() {
        let mut hosts = Hosts::default();
        hosts.also("Hub.Example.org");
        hosts.also_of("https://iot.example.org:8443");
        hosts.also_of("http://192.0.2.7");
        for right in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "127.8.9.1",
            "[::1]:8080",
            "hub.localhost",
            "hub.example.org",
            "HUB.example.org:1",
            "iot.example.org",
            "192.0.2.7:80",
        ] {
            assert!(taken(&hosts, right), "{right}");
        }
        for wrong in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "128.0.0.1",
            "0.0.0.0",
            "[::2]",
            "hub",
            "a.hub.example.org",
            "hub.example.org.evil.example",
            "evil.example/localhost",
            "localhost evil",
        ] {
            assert!(!taken(&hosts, wrong), "{wrong}");
        }
        hosts.any();
        assert!(taken(&hosts, "evil.example"));
    }

    #[test]
    fn each_name_of_a_request_counts() {
        let hosts = Hosts::default();
        let headers = |all: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in all {
                headers.append("host", host.parse().unwrap());
            }
            headers
        };
        let path = Uri::from_static("/");
        assert!(hosts.take(&path, &headers(&["localhost"])).is_ok());
        assert!(hosts.take(&path, &headers(&[])).is_err());
        let twice = headers(&["localhost", "localhost"]);
        assert!(hosts.take(&path, &twice).is_err());
        let absolute = Uri::from_static("http://evil.example/");
        assert!(hosts.take(&absolute, &headers(&["localhost"])).is_err());
        let own = Uri::from_static("http://localhost:8080/");
        assert!(hosts.take(&own, &headers(&["localhost"])).is_ok());
    }
}
