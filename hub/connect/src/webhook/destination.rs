//! Where a webhook may go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Url;

/// Which addresses webhooks may go to, besides public ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destinations {
    pub(super) allow_loopback: bool,
    pub(super) allow_private: bool,
}

/// Why a webhook may not go somewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("`{0}` is not a URL: {1}")]
    NotAUrl(String, String),
    #[error("the URL's scheme is `{0}`; only https and http are allowed")]
    Scheme(String),
    #[error("the URL holds a user name or password; use a signing secret instead")]
    Credentials,
    #[error("{0} is a loopback address; `allow_loopback` is off")]
    Loopback(IpAddr),
    #[error("{0} is an address of a private network; `allow_private` is off")]
    Private(IpAddr),
    #[error("{0} is not an address of a machine")]
    Special(IpAddr),
}

/// Why no connection is made.
pub(super) type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Public,
    Loopback,
    Private,
    Special,
}

impl Destinations {
    /// Checks a URL; an address in it is checked now, a name when it is
    /// resolved.
    pub(super) fn url(self, text: &str) -> Result<Url, Refused> {
        let shown = || text.chars().take(100).collect();
        let url = Url::parse(text).map_err(|error| Refused::NotAUrl(shown(), error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let host = url.host_str().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            self.address(address)?;
        }
        Ok(url)
    }

    /// The addresses of a host that may be connected to: the connection is made
    /// to what was checked, whatever the name says a moment later.
    pub(super) async fn resolve(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failed> {
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in tokio::net::lookup_host((host, port)).await? {
            match self.address(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(why) => refused = Some(why),
            }
        }
        match (allowed.is_empty(), refused) {
            (true, Some(why)) => Err(why.into()),
            _ => Ok(allowed),
        }
    }

    /// Checks an address.
    pub(super) fn address(self, address: IpAddr) -> Result<(), Refused> {
        match class(address) {
            Class::Public => Ok(()),
            Class::Loopback if self.allow_loopback => Ok(()),
            Class::Private if self.allow_private => Ok(()),
            Class::Loopback => Err(Refused::Loopback(address)),
            Class::Private => Err(Refused::Private(address)),
            Class::Special => Err(Refused::Special(address)),
        }
    }
}

fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

/// By the IANA special-purpose registry (RFC 6890 and its updates).
fn class_v4(address: Ipv4Addr) -> Class {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Class::Loopback,
        // Where cloud machines find their credentials is link-local (169.254).
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (169, 254, _) => {
            Class::Private
        }
        (0, ..) | (192, 0, 0) | (198, 18..=19, _) | (224..=255, ..) => Class::Special,
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Class::Special,
        _ => Class::Public,
    }
}

fn class_v6(address: Ipv6Addr) -> Class {
    if address.is_loopback() {
        return Class::Loopback;
    }
    let segments = address.segments();
    // Addresses that carry an IPv4 address inside: mapped, compatible,
    // translated (RFC 6052, RFC 8215), 6to4.
    let inside = match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some((high, low)),
        [0x64, 0xff9b, _, _, _, _, high, low] => Some((high, low)),
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = inside {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        return class_v4(Ipv4Addr::new(a, b, c, d));
    }
    match segments[0] {
        0xfc00..=0xfdff | 0xfe80..=0xfeff => Class::Private,
        0x2000..=0x3fff
            if segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0xdb8) =>
        {
            Class::Special
        }
        0x2000..=0x3fff => Class::Public,
        _ => Class::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_addresses() {
        for (text, expected) in [
            ("1.1.1.1", Class::Public),
            ("2606:4700::1111", Class::Public),
            ("127.0.0.1", Class::Loopback),
            ("127.255.0.9", Class::Loopback),
            ("::1", Class::Loopback),
            ("::ffff:127.0.0.1", Class::Loopback),
            ("64:ff9b::7f00:1", Class::Loopback),
            ("10.1.2.3", Class::Private),
            ("172.31.0.1", Class::Private),
            ("172.32.0.1", Class::Public),
            ("192.168.0.1", Class::Private),
            ("100.64.0.1", Class::Private),
            ("169.254.169.254", Class::Private),
            ("::ffff:169.254.169.254", Class::Private),
            ("2002:a9fe:a9fe::1", Class::Private),
            ("fd00::1", Class::Private),
            ("fe80::1", Class::Private),
            ("0.0.0.0", Class::Special),
            ("::", Class::Special),
            ("224.0.0.1", Class::Special),
            ("255.255.255.255", Class::Special),
            ("ff02::1", Class::Special),
            ("2001:db8::1", Class::Special),
        ] {
            assert_eq!(class(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn urls_that_may_not_be_called() {
        let public = Destinations {
            allow_loopback: false,
            allow_private: false,
        };
        for (url, says) in [
            ("ftp://example.org/", "scheme is `ftp`"),
            ("example.org", "is not a URL"),
            ("http://me:pass@example.org/", "user name"),
            ("http://127.0.0.1/", "loopback"),
            ("http://[::1]:80/", "loopback"),
            ("http://0x7f.1/", "loopback"),
            ("http://2130706433/", "loopback"),
            ("http://169.254.169.254/latest", "private"),
            ("http://0.0.0.0/", "not an address of a machine"),
        ] {
            let error = public.url(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
        assert!(public.url("https://example.org/hook?a=b").is_ok());
        let both = Destinations {
            allow_loopback: true,
            allow_private: true,
        };
        assert!(both.url("http://127.0.0.1:9/").is_ok());
        assert!(both.url("http://10.0.0.1/").is_ok());
        assert!(both.url("http://0.0.0.0/").is_err());
    }
}
