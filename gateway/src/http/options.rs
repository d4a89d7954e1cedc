//! What an operator can set of the listener for probes.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Health and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where `/livez`, `/readyz` and `/metrics` are served. They name no device and no value.
    pub listen: SocketAddr,
    /// Has to be true for an address that is not of loopback: there is neither TLS nor a password,
    /// so whoever reaches it reads what is served, and who sits between changes it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain: bool,
    /// Connections at once; for one more, that which has said least makes way.
    pub max_connections: usize,
    /// How long a connection may last, however much it asks or says.
    pub connection_timeout_ms: u64,
}

impl Http {
    /// What would open the gateway by mistake, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let listen = self.listen;
        if listen.ip().is_loopback() || self.allow_plain {
            return Ok(());
        }
        Err(format!(
            "http.listen = \"{listen}\" is not a loopback address, and there is neither TLS nor a password: \
             whoever reaches it would read this gateway's health and counts, and who sits between could change \
             them. Listen on 127.0.0.1, and have a proxy there ask for a password; or, where that network is \
             trusted so far, set `http.allow_plain = true`"
        ))
    }

    /// What an operator has to know of it; nothing of one on loopback.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        (!self.listen.ip().is_loopback()).then_some(
            "there is neither TLS nor a password: whoever reaches it reads this gateway's health and counts",
        )
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            allow_plain: false,
            max_connections: 64,
            connection_timeout_ms: 5_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_loopback_it_is_refused_unless_the_operator_says_so() {
        let mut options = Http::default();
        assert_eq!((options.check(), options.warning()), (Ok(()), None));
        options.listen = "[::1]:9464".parse().unwrap();
        assert_eq!((options.check(), options.warning()), (Ok(()), None));
        for listen in ["0.0.0.0:9464", "[::]:9464", "192.0.2.7:9464"] {
            options.listen = listen.parse().unwrap();
            options.allow_plain = false;
            let error = options.check().unwrap_err();
            for part in [listen, "http.listen", "127.0.0.1", "http.allow_plain"] {
                assert!(error.contains(part), "{part}: {error}");
            }
            options.allow_plain = true;
            assert_eq!(options.check(), Ok(()));
            assert!(options.warning().is_some());
        }
    }
}
