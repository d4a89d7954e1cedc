//! Addresses that are reached without TLS: on this machine anybody may be asked so; elsewhere what is asked and
//! answered would cross the network for all to read and to change, and so it takes the operator's word.

use url::{Host, Url};

use crate::Error;
use crate::config::label;

/// Whether an address is of this machine, by its host.
#[must_use]
pub fn is_on_this_machine(url: &Url) -> bool {
    match url.host() {
        // Names below it should be loopback, too (RFC 6761, section 6.3), but not every system's resolver has it
        // so: it may ask the network for them.
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether an address has neither TLS nor is on this machine.
#[must_use]
pub fn is_open(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "ws") && !is_on_this_machine(url)
}

/// Refuses an address of the setting `key` that [`is_open`], unless the setting `consent` is true.
pub(crate) fn check(
    key: &'static str,
    url: &Url,
    (consent, allowed): (&str, bool),
) -> Result<(), Error> {
    if allowed || !is_open(url) {
        return Ok(());
    }
    let scheme = url.scheme();
    Err(Error::setting(
        key,
        format!(
            "{} is on another machine and asked by {scheme}://, without TLS: whoever sits between reads what \
             is asked, keys in the address among it, and can change what is answered. {scheme}s:// is \
             right; where that network is trusted so far, set `{consent} = true` beside it",
            label(url)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_is_for_this_machine() {
        for on_this_machine in [
            "http://127.0.0.1:8545",
            "http://127.9.9.9",
            "http://localhost:8545",
            "ws://LOCALHOST",
            "http://[::1]:8545",
            // Written otherwise, and the same.
            "http://0x7f000001",
        ] {
            let url = Url::parse(on_this_machine).unwrap();
            assert!(!is_open(&url), "{on_this_machine}");
        }
        for open in [
            "http://192.0.2.7:8545",
            "http://10.0.0.1",
            "ws://rpc.example",
            "http://localhost.example",
            "http://hub.localhost:8080",
            "http://127.0.0.1.example",
            "http://127.0.0.1@rpc.example",
            "http://[::]:8545",
            "http://0.0.0.0:8545",
            "http://[::ffff:192.0.2.7]",
        ] {
            assert!(is_open(&Url::parse(open).unwrap()), "{open}");
        }
        for tls in ["https://rpc.example", "wss://rpc.example"] {
            assert!(!is_open(&Url::parse(tls).unwrap()), "{tls}");
        }
    }
}
