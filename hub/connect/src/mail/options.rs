//! What a mail connection may be set to.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;
use stencil_workflow::check_address;

/// The longest name in front of an address, in bytes.
const MAX_NAME: usize = 64;

/// A mail server, and how mail goes through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connection {
    /// The server's name or address.
    pub server: String,
    /// Its port. Default: 465 for `implicit`, 587 for `starttls`, 25 for `none`.
    pub port: Option<u16>,
    /// How the connection is secured. Default `implicit`.
    pub tls: Security,
    /// Who sends: `hub@example.org` or `Stencil Hub <hub@example.org>`.
    pub from: String,
    /// Who signs in at the server; without it nobody does.
    pub user: Option<String>,
    /// A file with the password, which only its owner can read.
    pub password_file: Option<PathBuf>,
    /// Whom to trust: a PEM file. Default: whom the operating system trusts.
    pub roots: Option<PathBuf>,
    /// Whose workflows may send through it. Default: all tenants'.
    pub tenants: Vec<TenantId>,
    /// To whom mail may go: addresses, or domains as `example.org`, which do not
    /// include what is below them. Default: anybody.
    pub recipients: Vec<String>,
    /// The most recipients of one mail, 1 to 50. Default 10.
    pub max_recipients: u32,
    /// The most mails of one tenant in a minute, 1 to 10,000; what is more is
    /// put off. Default 60.
    pub max_per_minute: u32,
    /// The most mails that are being handed over at a time, 1 to 64. Default 4.
    pub max_concurrent: u32,
    /// How long the server may take for an answer, in ms, 100 to 600,000. A
    /// step's `timeout` bounds all of it. Default 20,000.
    pub timeout_ms: u32,
}

/// How a connection is secured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    #[default]
    Implicit,
    /// STARTTLS (RFC 3207), and nothing before it but the greeting; a server
    /// that does not offer it gets no mail.
    Starttls,
    /// None. For a server on this machine only.
    None,
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) name: Option<String>,
    pub(crate) address: String,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {why}")]
pub struct Invalid {
    /// The setting.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            server: String::new(),
            port: None,
            tls: Security::default(),
            from: String::new(),
            user: None,
            password_file: None,
            roots: None,
            tenants: Vec::new(),
            recipients: Vec::new(),
            max_recipients: 10,
            max_per_minute: 60,
            max_concurrent: 4,
            timeout_ms: 20_000,
        }
    }
}

impl Connection {
    /// Checks each setting, and those that belong together.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn check(&self) -> Result<(), Invalid> {
        let invalid = |key, why: String| Err(Invalid { key, why });
        let sane = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
        if self.server.is_empty() || self.server.len() > 253 || !self.server.chars().all(sane) {
            let why = format!("{:?} is no server; write its name or address", self.server);
            return invalid("server", why);
        }
        if self.port == Some(0) {
            return invalid("port", "0 is no port; use 1 to 65535".to_owned());
        }
        if self.tls == Security::None && !self.is_local() {
            let why = format!(
                "`none` is for a server on this machine, and {} is not; use implicit or starttls",
                self.server
            );
            return invalid("tls", why);
        }
        self.sender()?;
        match (&self.user, &self.password_file) {
            (Some(_), None) => {
                let why = "who signs in needs a `password_file`".to_owned();
                return invalid("user", why);
            }
            (None, Some(_)) => {
                let why = "a password needs a `user`".to_owned();
                return invalid("password_file", why);
            }
            (Some(user), Some(_)) if user.is_empty() || user.chars().any(char::is_control) => {
                let why = "write it without control characters".to_owned();
                return invalid("user", why);
            }
            _ => {}
        }
        let wrong = self.recipients.iter().find(|allowed| {
            let whole = match allowed.contains('@') {
                true => (*allowed).clone(),
                false => format!("x@{allowed}"),
            };
            check_address(&whole).is_err()
        });
        if let Some(wrong) = wrong {
            let why = format!("{wrong:?} is neither an address nor a domain");
            return invalid("recipients", why);
        }
        let most = u32::try_from(stencil_workflow::MAX_RECIPIENTS).unwrap_or(u32::MAX);
        for (key, value, least, most) in [
            ("max_recipients", self.max_recipients, 1, most),
            ("max_per_minute", self.max_per_minute, 1, 10_000),
            ("max_concurrent", self.max_concurrent, 1, 64),
            ("timeout_ms", self.timeout_ms, 100, 600_000),
        ] {
            if !(least..=most).contains(&value) {
                return invalid(
                    key,
                    format!("{value} is out of range; use {least} to {most}"),
                );
            }
        }
        Ok(())
    }

    /// Who sends.
    pub(crate) fn sender(&self) -> Result<Sender, Invalid> {
        let (name, address) = match self.from.split_once('<') {
            Some((name, rest)) => (Some(name.trim()), rest.strip_suffix('>').unwrap_or("")),
            None => (None, self.from.as_str()),
        };
        let good = name.is_none_or(|name| {
            !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
        });
        if !good || check_address(address).is_err() {
            return Err(Invalid {
                key: "from",
                why: format!(
                    "{:?} names no sender; write hub@example.org or Stencil Hub <hub@example.org>",
                    self.from
                ),
            });
        }
        Ok(Sender {
            name: name.map(ToOwned::to_owned),
            address: address.to_owned(),
        })
    }

    /// Whether mail may go to this address, which is one.
    pub(crate) fn may_go_to(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.recipients.is_empty()
            || self.recipients.iter().any(|allowed| {
                allowed.eq_ignore_ascii_case(address) || allowed.eq_ignore_ascii_case(domain)
            })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Security::Implicit => 465,
            Security::Starttls => 587,
            Security::None => 25,
        })
    }

    /// Whether the server is this machine, by what it is called.
    fn is_local(&self) -> bool {
        self.server.eq_ignore_ascii_case("localhost")
            || self
                .server
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Connection {
        Connection {
            server: "mail.example.org".to_owned(),
            from: "Stencil Hub <hub@example.org>".to_owned(),
            ..Connection::default()
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_what_would_be_right() {
        assert_eq!(good().check(), Ok(()));
        type Change = fn(&mut Connection);
        let cases: &[(Change, &str)] = &[
            (|c| c.server.clear(), "`server`: \"\" is no server"),
            (|c| c.server = "a b".to_owned(), "`server`"),
            (|c| c.port = Some(0), "`port`: 0 is no port"),
            (
                |c| c.tls = Security::None,
                "`tls`: `none` is for a server on this machine",
            ),
            (
                |c| c.from = "hub".to_owned(),
                "`from`: \"hub\" names no sender",
            ),
            (
                |c| c.from = "a\r\nBcc: x <a@b.example>".to_owned(),
                "`from`",
            ),
            (
                |c| c.user = Some("me".to_owned()),
                "`user`: who signs in needs",
            ),
            (
                |c| c.password_file = Some("p".into()),
                "`password_file`: a password needs",
            ),
            (
                |c| c.recipients = vec!["a b".to_owned()],
                "`recipients`: \"a b\"",
            ),
            (
                |c| c.max_recipients = 51,
                "`max_recipients`: 51 is out of range; use 1 to 50",
            ),
            (
                |c| c.max_per_minute = 0,
                "`max_per_minute`: 0 is out of range; use 1 to",
            ),
            (|c| c.max_concurrent = 65, "`max_concurrent`: 65"),
            (|c| c.timeout_ms = 99, "`timeout_ms`: 99"),
        ];
        for (change, says) in cases {
            let mut connection = good();
            change(&mut connection);
            let error = connection.check().unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
        let local = Connection {
            server: "127.0.0.1".to_owned(),
            tls: Security::None,
            ..good()
        };
        assert_eq!(local.check(), Ok(()));
    }

    #[test]
    fn who_may_get_mail() {
        let mut connection = good();
        assert!(connection.may_go_to("anybody@anywhere.example"));
        connection.recipients = vec!["example.org".to_owned(), "me@example.net".to_owned()];
        assert!(connection.may_go_to("a@EXAMPLE.org") && connection.may_go_to("me@example.net"));
        assert!(!connection.may_go_to("you@example.net"));
        assert!(!connection.may_go_to("a@below.example.org"));
        assert!(!connection.may_go_to("example.org@evil.example"));
    }
}
