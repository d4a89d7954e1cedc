//! Who may connect, and what they may publish: what the mapping gives to their devices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use stencil_field::mqtt::Table;
use stencil_mqtt::{Connect, Policy, Refused, RefusedCode, Transport};
use stencil_protocol::{id::DeviceId, line::Line};

use super::{
    clients::{Clients, Denied},
    throttle::Throttle,
};

/// What is asked which client has which topics.
pub(crate) trait Topics: Send + Sync + 'static {
    /// The table in force; none: every client that is known may publish on every topic.
    fn table(&self) -> Option<Arc<Table>>;
}

/// A client that was let in.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) client: Arc<str>,
    pub(crate) line: Line,
    is_good: Arc<AtomicBool>,
}

/// The policy of a gateway's listeners.
pub(crate) struct Local<T> {
    pub(crate) clients: Arc<Clients>,
    pub(crate) topics: T,
    pub(crate) throttle: Throttle,
}

impl<T: Topics> Policy for Local<T> {
    type Principal = Principal;

    async fn authenticate(&self, connect: &Connect<'_>) -> Result<Principal, Refused> {
        let refused = |why: &str| Err(Refused::new(RefusedCode::Credentials, why));
        let (Some(name), Some(password)) = (connect.username, connect.password) else {
            return refused("it gives no user name or no password");
        };
        let Ok(client) = DeviceId::parse(name) else {
            return refused("its user name is none that a client can have");
        };
        let address = connect.peer.ip();
        if let Err(wait) = self.throttle.begin(name, address, Instant::now()) {
            let why = format!(
                "too many wrong passwords: the next is looked at in {} s",
                wait.as_secs() + 1
            );
            return Err(Refused::new(RefusedCode::Quota, why));
        }
        let is_good = match self.clients.enter(&client, password).await {
            Ok(is_good) => is_good,
            Err(Denied::Wrong) => {
                return refused("there is no such client, or its password is another one");
            }
            Err(Denied::Busy) => {
                self.throttle.not_looked_at(name, address);
                let why = "too many connect at once";
                return Err(Refused::new(RefusedCode::Unavailable, why));
            }
            Err(Denied::Unusable(why)) => {
                return Err(Refused::new(RefusedCode::Unavailable, why));
            }
        };
        self.throttle.succeeded(name, address, Instant::now());
        let knows = |table: &Table| table.knows(name);
        if !self.topics.table().is_none_or(|table| knows(&table)) {
            let why = format!("no device of the mapping has the client {name}");
            return Err(Refused::new(RefusedCode::NotAuthorized, why));
        }
        Ok(Principal {
            client: name.into(),
            line: line(connect.transport),
            is_good,
        })
    }

    /// Clients do not even see each other's client ids.
    fn namespace<'a>(&self, principal: &'a Principal) -> &'a str {
        &principal.client
    }

    fn may_publish(&self, principal: &Principal, topic: &str) -> bool {
        let may = |table: &Table| table.may_publish(&principal.client, topic);
        self.topics.table().is_none_or(|table| may(&table))
    }

    /// Nothing is said to a device yet.
    fn may_subscribe(&self, _principal: &Principal, _filter: &str) -> bool {
        false
    }

    fn may_stay(&self, principal: &Principal) -> bool {
        principal.is_good.load(Ordering::Acquire)
    }
}

fn line(transport: &Transport) -> Line {
    match transport {
        Transport::Plain => Line::MqttPlain,
        Transport::Tls {
            post_quantum: true, ..
        } => Line::Mqtt,
        Transport::Tls { .. } => Line::MqttClassical,
    }
}
