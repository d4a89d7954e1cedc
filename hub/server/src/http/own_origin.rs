//! Under which of its own origins the hub is asked, for what is signed: a wallet shows its owner who asks,
//! and nobody else's name may stand there.
//!
//! Own are the address of the settings (`http.public_url`), the names beside it (`http.public_names`) at
//! the same port, and, where the hub listens on loopback, the names of loopback at that port. Off
//! loopback HTTP may be reached under any name ([`super::host`]), but signed is the own ones' only: a page
//! of somebody else that passes the question on gets no text with its own name.

use std::net::SocketAddr;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use super::State;
use super::host::is_of_loopback;
use super::problem::{Kind, Problem};
use crate::wallets::Origin;

/// The origin under which this request was sent.
pub(super) fn of(state: &State, headers: &HeaderMap) -> Result<Origin, Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let own = host.as_ref().and_then(|host| {
        let public: Option<Uri> = state.public_url.parse().ok();
        let known = |name: &str| state.hosts().has(name);
        let within_tls = state.tls().is_some();
        own(host, public.as_ref(), known, state.listens(), within_tls)
    });
    own.ok_or_else(|| {
        let detail = format!(
            "wallets sign in under the hub's own names only: {}, or another name of `http.public_names`",
            state.public_url
        );
        Problem::new(Kind::Misdirected, detail)
    })
}

fn port_of(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

fn own(
    host: &Authority,
    public: Option<&Uri>,
    known: impl Fn(&str) -> bool,
    listens: Option<SocketAddr>,
    within_tls: bool,
) -> Option<Origin> {
    let scheme = match public.and_then(Uri::scheme_str) {
        Some("https") => "https",
        _ => "http",
    };
    let port = |scheme| host.port_u16().unwrap_or(port_of(scheme));
    let public_port = public.map(|public| public.port_u16().unwrap_or(port_of(scheme)));
    let of = |scheme| {
        let domain = host.as_str().to_ascii_lowercase();
        Some(Origin { scheme, domain })
    };
    if host.as_str().contains('@') {
        return None;
    }
    let is_public = public
        .and_then(Uri::host)
        .is_some_and(|name| name.eq_ignore_ascii_case(host.host()));
    if (is_public || known(host.host())) && public_port == Some(port(scheme)) {
        return of(scheme);
    }
    let listened = if within_tls { "https" } else { "http" };
    let at_loopback = listens
        .is_some_and(|listens| listens.ip().is_loopback() && listens.port() == port(listened));
    (at_loopback && is_of_loopback(host.host()))
        .then(|| of(listened))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_its_own_at_its_own_port_are_signed() {
        let names = ["hub.example.org", "iot.example.org", "127.0.0.1"];
        let listens: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let ask = |host: &str, public: &str| {
            let (host, public) = (host.parse().unwrap(), public.parse().unwrap());
            let known = |name: &str| names.contains(&name);
            let own = own(&host, Some(&public), known, Some(listens), false)?;
            Some(format!("{}://{}", own.scheme, own.domain))
        };
        let proxied = "https://hub.example.org";
        for (host, origin) in [
            ("hub.example.org", Some("https://hub.example.org")),
            ("hub.example.org:443", Some("https://hub.example.org:443")),
            ("IOT.example.org", None),
            ("iot.example.org", Some("https://iot.example.org")),
            ("hub.example.org:8080", None),
            ("evil.example", None),
            ("a@hub.example.org", None),
            ("localhost:8080", Some("http://localhost:8080")),
            ("[::1]:8080", Some("http://[::1]:8080")),
            // Another program of the same machine.
            ("localhost:9999", None),
            ("localhost", None),
        ] {
            assert_eq!(ask(host, proxied).as_deref(), origin, "{host}");
        }
        let direct = "http://127.0.0.1:8080";
        assert!(ask("127.0.0.1:8080", direct).is_some());
        assert!(ask("127.0.0.1", direct).is_none());
    }
}
