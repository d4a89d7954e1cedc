//! The rules of RFC 3986 and RFC 5234 that a message's ABNF refers to.

use std::net::{Ipv4Addr, Ipv6Addr};

/// `unreserved`
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// `sub-delims`
fn is_sub_delim(byte: u8) -> bool {
    b"!$&'()*+,;=".contains(&byte)
}

/// `gen-delims`
fn is_gen_delim(byte: u8) -> bool {
    b":/?#[]@".contains(&byte)
}

/// `statement`: what is reserved or unreserved in a URI, and spaces.
pub(crate) fn is_statement(text: &str) -> bool {
    let fits =
        |byte| is_unreserved(byte) || is_sub_delim(byte) || is_gen_delim(byte) || byte == b' ';
    !text.is_empty() && text.bytes().all(fits)
}

/// Characters that fit, and `pct-encoded` ones.
fn all(text: &str, fits: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let coded = bytes.get(at + 1..at + 3);
            if !coded.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
                return false;
            }
            at += 3;
        } else if fits(*byte) {
            at += 1;
        } else {
            return false;
        }
    }
    true
}

fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delim(byte) || b":@".contains(&byte)
}

/// `*pchar`, which a request's id is made of.
pub(crate) fn is_pchars(text: &str) -> bool {
    all(text, is_pchar)
}

/// `scheme`
pub(crate) fn is_scheme(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// `authority` with a host that is not empty.
pub(crate) fn is_authority(text: &str) -> bool {
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, text),
    };
    let user_fits = |byte| is_unreserved(byte) || is_sub_delim(byte) || byte == b':';
    if user.is_some_and(|user| !all(user, user_fits)) {
        return false;
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let Some((literal, rest)) = rest.split_once(']') else {
                return false;
            };
            if !is_ip_literal(literal) {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => (None, port),
                None if rest.is_empty() => (None, ""),
                None => return false,
            }
        }
        None => match place.rsplit_once(':') {
            Some((host, port)) => (Some(host), port),
            None => (Some(place), ""),
        },
    };
    let named = |host: &str| {
        let is_name = all(host, |byte| is_unreserved(byte) || is_sub_delim(byte));
        !host.is_empty() && (is_name || host.parse::<Ipv4Addr>().is_ok())
    };
    host.is_none_or(named) && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// What stands between brackets: `IPv6address` or `IPvFuture`.
fn is_ip_literal(text: &str) -> bool {
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        let Some((version, address)) = future.split_once('.') else {
            return false;
        };
        let fits = |byte| is_unreserved(byte) || is_sub_delim(byte) || byte == b':';
        return !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !address.is_empty()
            && address.bytes().all(fits);
    }
    text.parse::<Ipv6Addr>().is_ok()
}

/// `URI`
pub(crate) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    if !is_scheme(scheme) {
        return false;
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (hierarchy, query) = rest.split_once('?').unwrap_or((rest, ""));
    let loose = |byte| is_pchar(byte) || b"/?".contains(&byte);
    if !all(fragment, loose) || !all(query, loose) {
        return false;
    }
    let in_path = |byte| is_pchar(byte) || byte == b'/';
    match hierarchy.strip_prefix("//") {
        Some(rest) => {
            let at = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(at);
            // `file:///x` has an empty host.
            (authority.is_empty() || is_authority(authority)) && all(path, in_path)
        }
        None => all(hierarchy, in_path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for right in [
            "hub.example.org",
            "localhost:8080",
            "127.0.0.1",
            "a@127.0.0.1:8080",
            "a:b%20c@hub",
            "[::1]",
            "[2001:db8::7]:443",
            "[v1.x:y]",
            "xn--bcher-kva.example",
        ] {
            assert!(is_authority(right), "{right}");
        }
        for wrong in [
            "",
            ":80",
            "a b",
            "#x",
            "a/b",
            "a?b",
            "hub:80a",
            "[::1",
            "[::g]",
            "[::1]x",
            "[v.1]",
            "a%2",
            "b\u{fc}cher.example",
            "a@",
            "a@b@c",
            "hub:80:80",
            "<hub>",
        ] {
            assert!(!is_authority(wrong), "{wrong}");
        }
    }

    #[test]
    fn uris() {
        for right in [
            "https://hub.example.org/login",
            "ipfs://Qme7ss3ARVgxv6rXqVPiikMJ8u2NLgmgszg13pYrDKEoiu",
            "https://[::cafe]",
            "https://127.0.0.1/?query=one#begin",
            "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "did:key:z6Mk",
            "file:///x",
            "a:",
        ] {
            assert!(is_uri(right), "{right}");
        }
        for wrong in [
            "",
            ":not_a_rfc3986_valid_uri_",
            "hub.example.org",
            "1a:b",
            "https://a b",
            "https://a/ - b",
            "https://a#b#c",
            "https://[::g]/",
            "https://a/%zz",
            "https://a/\u{e9}",
            "https://a\\b",
        ] {
            assert!(!is_uri(wrong), "{wrong}");
        }
    }

    #[test]
    fn statements_hold_no_quotes_and_no_line_breaks() {
        assert!(is_statement("I accept the Terms: https://service.org/tos"));
        for wrong in [
            "",
            "a\nb",
            "\"a\"",
            "a\r",
            "50 %",
            "caf\u{e9}",
            "a\tb",
            "<a>",
        ] {
            assert!(!is_statement(wrong), "{wrong:?}");
        }
    }
}
