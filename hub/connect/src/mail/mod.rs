//! Mail through a server that the operator has set up.
//!
//! SMTP cannot be exactly-once: when the answer to the end of a mail is lost,
//! nobody knows whether the server has taken it. So a mail is sent *at least
//! once*, each time with the same bytes and the same `Message-ID`, by which a
//! mailbox or its reader tells a repeat. The window is as narrow as it can be:
//! nothing stands between the server's answer and the record of the step, and
//! within one life of the hub a mail that the server has taken is not sent again
//! even if that record fails.

mod message;
mod options;
mod smtp;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use stencil_protocol::id::TenantId;
use stencil_workflow::{Failure, Mail, Performed, Request};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use options::{Connection, Invalid, Security};

use crate::trust;
use crate::turns::{PATIENCE, Turns};
use message::Message;
use options::Sender;
use smtp::{Accepted, Envelope, Server};

/// Mails of which it is remembered that the server has them.
const REMEMBERED: usize = 1_024;
const MINUTE: Duration = Duration::from_secs(60);

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] Invalid),
    /// The password's file cannot be read, is readable for others, or holds none.
    #[error("the password: {0}")]
    Password(String),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(#[from] trust::Error),
}

/// All mail connections of a hub, by name.
pub(crate) struct Mailer {
    connections: BTreeMap<String, Through>,
    turns: Arc<Turns>,
    /// What the server has taken, by effect key, oldest first.
    taken: Mutex<VecDeque<(String, Value)>>,
}

/// One connection.
struct Through {
    settings: Connection,
    sender: Sender,
    server: Server,
    /// When each tenant's minute is used up, were it to go on evenly.
    used_until: Mutex<BTreeMap<TenantId, Instant>>,
}

impl Mailer {
    /// Reads the passwords.
    pub(crate) fn new(connections: &BTreeMap<String, Connection>) -> Result<Self, (String, Error)> {
        let connections = connections.iter().map(|(name, settings)| {
            let through = Through::new(name, settings).map_err(|error| (name.clone(), error))?;
            Ok((name.clone(), through))
        });
        Ok(Self {
            connections: connections.collect::<Result<_, _>>()?,
            turns: Turns::new(PATIENCE),
            taken: Mutex::default(),
        })
    }

    /// Hands a mail to its connection's server.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        mail: &Mail,
    ) -> Result<Performed, Failure> {
        if let Some(output) = self.taken_before(request.effect_key) {
            return Ok(Performed::Done(output));
        }
        let name = &mail.connection;
        let through = self.connections.get(name).filter(|through| {
            let tenants = &through.settings.tenants;
            tenants.is_empty() || tenants.contains(request.tenant)
        });
        let Some(through) = through else {
            let message = format!(
                "there is no mail connection `{name}`; add `connect.mail.{name}` to the hub's \
                 settings"
            );
            return Err(Failure::permanent(message));
        };
        through.check(mail)?;
        let limit = usize::try_from(through.settings.max_concurrent).unwrap_or(usize::MAX);
        let _turn = match self.turns.take(name, request.tenant, limit).await {
            Ok(turn) => turn,
            Err(later) => return Ok(Performed::Later(later)),
        };
        if let Err(later) = through.spend(request.tenant, Instant::now()) {
            return Ok(Performed::Later(later));
        }
        let message = Message::new(mail, &through.sender, request.effect_key, request.at_us);
        let envelope = Envelope {
            from: &through.sender.address,
            to: &mail.to,
            message: &message.bytes,
        };
        let Accepted {
            answer,
            refused,
            link,
        } = smtp::send(&through.server, &envelope).await?;
        for (to, why) in &refused {
            tracing::warn!(connection = %name, %to, why, "a recipient of a mail was refused");
        }
        let refused: BTreeMap<String, String> = refused.into_iter().collect();
        let output = json!({
            "message_id": message.id,
            "accepted": mail.to.len() - refused.len().min(mail.to.len()),
            "refused": refused,
            "answer": answer,
            "link": link,
        });
        self.remember(request.effect_key, &output);
        Ok(Performed::Done(output))
    }

    fn taken_before(&self, key: &str) -> Option<Value> {
        let taken = self.taken();
        let found = taken.iter().find(|(other, _)| other == key);
        found.map(|(_, output)| output.clone())
    }

    fn remember(&self, key: &str, output: &Value) {
        let mut taken = self.taken();
        if taken.len() >= REMEMBERED {
            taken.pop_front();
        }
        taken.push_back((key.to_owned(), output.clone()));
    }

    fn taken(&self) -> MutexGuard<'_, VecDeque<(String, Value)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Through {
    fn new(name: &str, settings: &Connection) -> Result<Self, Error> {
        settings.check()?;
        let sender = settings.sender()?;
        let user = match (&settings.user, &settings.password_file) {
            (Some(user), Some(file)) => {
                let text = stencil_crypto::keyfile::read_text(file)
                    .map_err(|error| Error::Password(error.to_string()))?;
                let password = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
                if password.is_empty() || password.contains(['\r', '\n', '\0']) {
                    let why = format!("{} holds no password of one line", file.display());
                    return Err(Error::Password(why));
                }
                Some((user.clone(), password))
            }
            _ => None,
        };
        let whose = format!("mail through `{name}`");
        let server = Server {
            host: settings.server.clone(),
            port: settings.port(),
            security: settings.tls,
            tls: trust::client(settings.roots.as_deref(), &whose)?,
            user,
            timeout: Duration::from_millis(settings.timeout_ms.into()),
        };
        Ok(Self {
            settings: settings.clone(),
            sender,
            server,
            used_until: Mutex::default(),
        })
    }

    fn check(&self, mail: &Mail) -> Result<(), Failure> {
        let most = usize::try_from(self.settings.max_recipients).unwrap_or(usize::MAX);
        if mail.to.len() > most {
            let count = mail.to.len();
            let message = format!("{count} recipients; this connection takes at most {most}");
            return Err(Failure::permanent(message));
        }
        let not_allowed = mail.to.iter().find(|to| !self.settings.may_go_to(to));
        not_allowed.map_or(Ok(()), |to| {
            let message = format!("mail may not go to {to}: it is not among `recipients`");
            Err(Failure::permanent(message))
        })
    }

    /// One more mail of a tenant, or when to come again.
    fn spend(&self, tenant: &TenantId, now: Instant) -> Result<(), Duration> {
        let each = MINUTE / self.settings.max_per_minute.max(1);
        let mut used_until = self
            .used_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        used_until.retain(|_, until| *until > now);
        let until = used_until.get(tenant).copied().unwrap_or(now) + each;
        let ahead = until - now;
        // In the first moment a whole minute's may be spent at once.
        if ahead > MINUTE {
            return Err(ahead - MINUTE + Duration::from_millis(50));
        }
        used_until.insert(tenant.clone(), until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_own_minute() {
        let settings = Connection {
            server: "localhost".to_owned(),
            tls: Security::None,
            from: "hub@example.org".to_owned(),
            max_per_minute: 3,
            ..Connection::default()
        };
        let through = Through::new("default", &settings).unwrap();
        let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(through.spend(&a, now), Ok(()));
        }
        let later = through.spend(&a, now).unwrap_err();
        assert!(later > Duration::from_secs(19) && later < Duration::from_secs(21));
        assert_eq!(through.spend(&b, now), Ok(()));
        assert_eq!(through.spend(&a, now + later), Ok(()));
        assert!(through.spend(&a, now + later).is_err());
    }
}
