//! What the hub's DID is called, and whose a DID below it is.

use stencil_identity::did::{Did, Web};

/// The part of a path below which tenants are.
pub(super) const TENANTS: &str = "tenants";

/// Whose a DID below the hub's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    /// The hub's own.
    Hub,
    /// A tenant's.
    Tenant(&'a str),
    /// A tenant's gateway's.
    Gateway(&'a str, &'a str),
    /// A tenant's device's.
    Device(&'a str, &'a str),
}

/// The hub's place in the Web, from the address that people reach it at. On a loopback address it is
/// `localhost`: a did:web names no address.
pub(super) fn hub(url: &str) -> Result<Web, String> {
    let says = |what: &str| {
        format!(
            "the hub is reached at {url}, which no did:web can name: {what}; set http.public_url to \
             https and a name, such as https://hub.example.org"
        )
    };
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| says("it is no address"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().map_err(|_| says("its port is none"))?;
            (host, Some(port))
        }
        _ => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    let plain = host.trim_matches(['[', ']']);
    let host = match plain.parse::<std::net::IpAddr>() {
        Ok(address) if address.is_loopback() => "localhost".to_owned(),
        Ok(_) => return Err(says("it is an address, where a name is needed")),
        Err(_) => host,
    };
    if scheme != "https" && host != "localhost" {
        return Err(says("documents and lists are fetched by https alone"));
    }
    let port = match (scheme, port) {
        ("https", Some(443)) => None,
        // Whoever looks asks by https at this port.
        ("http", None) => Some(80),
        (_, port) => port,
    };
    Web::new(&host, port, &[]).map_err(|error| says(&error.to_string()))
}

/// Whose a DID is, if it is below the hub's.
pub(super) fn whose<'a>(hub: &Web, did: &'a Did) -> Option<Whose<'a>> {
    let web = did.as_web()?;
    if web.domain() != hub.domain() || web.port() != hub.port() {
        return None;
    }
    let path: Vec<&str> = web.path().iter().map(String::as_str).collect();
    match path.as_slice() {
        [] => Some(Whose::Hub),
        [TENANTS, tenant] => Some(Whose::Tenant(tenant)),
        [TENANTS, tenant, "gateways", gateway] => Some(Whose::Gateway(tenant, gateway)),
        [TENANTS, tenant, "devices", device] => Some(Whose::Device(tenant, device)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_is_called() {
        for (url, name) in [
            ("https://hub.example.org", "hub.example.org"),
            ("https://Hub.example.org:443", "hub.example.org"),
            ("https://hub.example.org:8443", "hub.example.org%3A8443"),
            ("http://127.0.0.1:8080", "localhost%3A8080"),
            ("http://[::1]:8080", "localhost%3A8080"),
            ("http://localhost", "localhost%3A80"),
        ] {
            assert_eq!(
                hub(url).map(|web| web.to_string()),
                Ok(name.to_owned()),
                "{url}"
            );
        }
        for url in [
            "http://192.0.2.7:8080",
            "http://hub.example.org",
            "http://hub.lan:8080",
            "ftp://hub.example.org",
            "https://[2001:db8::1]",
            "https://a_b",
            "nowhere",
        ] {
            let error = hub(url).expect_err(url);
            assert!(error.contains("set http.public_url"), "{error}");
        }
    }

    #[test]
    fn whose_a_did_is() {
        let web = hub("https://hub.example.org").expect("a name");
        let of = |text: &str| {
            let did = Did::parse(text).expect(text);
            whose(&web, &did).map(|whose| format!("{whose:?}"))
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(of("did:web:hub.example.org"), is("Hub"));
        assert_eq!(
            of("did:web:hub.example.org:tenants:acme"),
            is("Tenant(\"acme\")")
        );
        assert_eq!(
            of("did:web:hub.example.org:tenants:acme:devices:d-1"),
            is("Device(\"acme\", \"d-1\")")
        );
        for others in [
            "did:web:other.example.org:tenants:acme",
            "did:web:hub.example.org%3A8443:tenants:acme",
            "did:web:hub.example.org:people:ann",
            "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a",
        ] {
            assert_eq!(of(others), None, "{others}");
        }
    }
}
