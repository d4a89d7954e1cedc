//! Settings that contradict each other, or that would open the hub by mistake, are refused at
//! start.

use std::net::IpAddr;

use super::{HttpOptions, Options, ranges};
use crate::Error;
use crate::ingest::MAX_APPEND_BYTES;

impl Options {
    /// Refuses settings that contradict each other or that would open the hub by mistake.
    ///
    /// # Errors
    /// [`Error::Option`] with the key, what is wrong with it and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(plain) = self.mqtt.plain
            && !plain.ip().is_loopback()
        {
            return Err(Error::option(
                "mqtt.plain",
                format!(
                    "{plain} is not a loopback address; use 127.0.0.1, or `mqtt.prefer` for TLS"
                ),
            ));
        }
        self.http.check()?;
        if let Some(url) = &self.http.public_url {
            public_url(url)?;
        }
        self.http
            .public_names
            .iter()
            .try_for_each(|name| public_name(name))?;
        ranges::check(self)?;
        crate::chains::check_rates(&self.rates)?;
        let connect = self.connect.check();
        connect.map_err(|(key, why)| Error::option(&key, why))?;
        if self.mqtt.max_packet_bytes < 2_048 {
            return Err(Error::option(
                "mqtt.max_packet_bytes",
                "a device's batch may have 1024 bytes and its topic some more; use 2048 or more",
            ));
        }
        if self.log.segment_bytes < u64::from(self.mqtt.max_packet_bytes) + 1_024 {
            return Err(Error::option(
                "log.segment_bytes",
                "a segment must hold the largest packet (`mqtt.max_packet_bytes` + 1024)",
            ));
        }
        let room = self
            .log
            .segment_bytes
            .saturating_mul(2)
            .saturating_add(self.log.keep_bytes)
            .saturating_add(u64::from(self.mqtt.max_packet_bytes))
            .saturating_add(MAX_APPEND_BYTES);
        if self.log.max_bytes < room {
            return Err(Error::option(
                "log.max_bytes",
                format!(
                    "{} is too little: `keep_bytes`, two segments, the largest packet and what \
                     one read of a socket may bring must fit, else the log would be full for \
                     ever; at least {room}",
                    self.log.max_bytes
                ),
            ));
        }
        Ok(())
    }
}

impl HttpOptions {
    /// What would let passwords, sessions and tokens cross a network for all to read is refused.
    fn check(&self) -> Result<(), Error> {
        let listen = self.listen;
        if !listen.ip().is_loopback() && !self.tls {
            return Err(Error::option(
                "http.listen",
                format!(
                    "{listen} is not a loopback address, and without TLS passwords and tokens \
                     would cross the network for all to read; set `http.tls = true` (--http-tls): \
                     with `http.certificate` and `http.key` browsers are shown these, without \
                     them the certificate of the hub's own authority. Or listen on 127.0.0.1"
                ),
            ));
        }
        if self.certificate.is_some() != self.key.is_some() {
            let missing = if self.key.is_none() {
                "http.key"
            } else {
                "http.certificate"
            };
            return Err(Error::option(
                missing,
                "a certificate and its private key go together: set both, or neither for those of \
                 the hub's own authority",
            ));
        }
        if self.certificate.is_some() && !self.tls {
            return Err(Error::option(
                "http.tls",
                "a certificate is set, but TLS is off; set `http.tls = true`",
            ));
        }
        Ok(())
    }
}

/// An address that a browser takes, without anything behind the host and port: paths of the hub are
/// put there.
fn public_url(url: &str) -> Result<(), Error> {
    let parsed: Option<http::Uri> = url.parse().ok();
    let right = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
    });
    if right {
        return Ok(());
    }
    Err(Error::option(
        "http.public_url",
        format!("{url:?} is no address of a hub; use one such as \"https://hub.example.org\""),
    ))
}

/// A host name or an address, and nothing else.
fn public_name(name: &str) -> Result<(), Error> {
    let is_address = name.parse::<IpAddr>().is_ok();
    let authority: Option<http::uri::Authority> = name.parse().ok();
    if is_address || authority.is_some_and(|authority| authority.host() == name) {
        return Ok(());
    }
    Err(Error::option(
        "http.public_names",
        format!("{name:?} is no host name or address; use one such as \"hub.example.org\""),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_consistent_and_on_loopback() {
        let options = Options::default();
        options.check().unwrap();
        assert!(options.http.listen.ip().is_loopback());
        assert!(options.mqtt.strict.ip().is_loopback());
        assert!(options.mqtt.prefer.is_none() && options.mqtt.plain.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<Options>(r#"{"mqtt":{"pliain":"127.0.0.1:1883"}}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("pliain"), "{error}");
    }

    #[test]
    fn a_plain_listener_off_loopback_is_refused() {
        let mut options = Options::default();
        options.mqtt.plain = Some("0.0.0.0:1883".parse().unwrap());
        let error = options.check().unwrap_err().to_string();
        assert!(
            error.contains("mqtt.plain") && error.contains("loopback"),
            "{error}"
        );
    }

    #[test]
    fn a_public_url_is_an_origin() {
        let mut options = Options::default();
        for right in ["https://hub.example.org", "http://10.0.0.1:8080/"] {
            options.http.public_url = Some(right.to_owned());
            options.check().unwrap();
            assert!(!options.http.url(options.http.listen).ends_with('/'));
        }
        for wrong in [
            "",
            "hub.example.org",
            "ftp://hub.example.org",
            "https://hub.example.org/stencil",
            "https://hub.example.org/?a",
            "https://ann@hub.example.org",
            "javascript:alert(1)",
        ] {
            options.http.public_url = Some(wrong.to_owned());
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains("http.public_url"), "{wrong}: {error}");
        }
        options.http.public_url = None;
        let any = "0.0.0.0:80".parse().unwrap();
        assert_eq!(options.http.url(any), "http://127.0.0.1:80");
    }

    #[test]
    fn a_public_name_is_a_host_without_scheme_and_port() {
        let mut options = Options::default();
        let right = [
            "hub.example.org",
            "hub",
            "192.0.2.7",
            "::1",
            "[2001:db8::1]",
        ];
        options.http.public_names = right.map(str::to_owned).to_vec();
        options.check().unwrap();
        for wrong in [
            "",
            "http://hub.example.org",
            "hub.example.org:8080",
            "hub.example.org/",
            "ann@hub",
            "a b",
        ] {
            options.http.public_names = vec!["hub".to_owned(), wrong.to_owned()];
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains("http.public_names"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_mail_connection_that_cannot_be_used_is_refused_with_its_key() {
        let mut options = Options::default();
        let connection = stencil_connect::mail::Connection {
            server: "mail.example.org".to_owned(),
            ..Default::default()
        };
        options
            .connect
            .mail
            .insert("default".to_owned(), connection);
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("`connect.mail.default.from`"), "{error}");
    }

    #[test]
    fn http_off_loopback_is_within_tls_or_refused_with_the_way_out() {
        let mut options = Options::default();
        for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:80"] {
            options.http.listen = listen.parse().unwrap();
            options.http.tls = false;
            let error = options.check().unwrap_err().to_string();
            for part in [listen, "http.listen", "http.tls", "http.certificate"] {
                assert!(error.contains(part), "{part}: {error}");
            }
            options.http.tls = true;
            options.check().unwrap();
            assert!(
                options
                    .http
                    .url(options.http.listen)
                    .starts_with("https://")
            );
        }
    }

    #[test]
    fn a_certificate_without_its_key_or_without_tls_is_refused() {
        let mut options = Options::default();
        options.http.certificate = Some("hub.pem".into());
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("http.key"), "{error}");
        options.http.key = Some("hub.key".into());
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("http.tls"), "{error}");
        options.http.tls = true;
        options.check().unwrap();
    }

    #[test]
    fn a_log_that_could_never_have_room_is_refused() {
        let mut options = Options::default();
        options.log.max_bytes = options.log.keep_bytes;
        assert!(
            options
                .check()
                .unwrap_err()
                .to_string()
                .contains("log.max_bytes")
        );
    }
}
