//! From the first byte to the CONNACK.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stencil_strangers::{Place, shown};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::{self, Accept, Inbound, Will};
use crate::hub::Membership;
use crate::message::Message;
use crate::reason::{Code, Fault};
use crate::wire::{Read, Wire};
use crate::{
    Connect, Endpoint, Event, Options, Policy, RefusedCode, Sink, Source, Transport, Version, topic,
};

/// As much of what a client says is logged, in bytes: of its id, and of what is wrong.
const ID_SHOWN: usize = 64;
const WHY_SHOWN: usize = 256;

/// A client that the policy let in, before it is told.
pub(crate) struct Admitted<Pr> {
    principal: Pr,
    connect: Box<engine::Connect>,
    client_id: String,
    assigned: bool,
}

/// A client that is connected.
pub(crate) struct Connected<Pr: Clone + Send + Sync + 'static> {
    pub(crate) membership: Membership<Pr>,
    pub(crate) version: Version,
    /// The client asked for a session that outlives its connection, which is
    /// not offered yet.
    pub(crate) wants_session: bool,
    /// What to publish when the client is gone without a word.
    pub(crate) will: Option<LastWill>,
    /// After how much silence the client is gone.
    pub(crate) keep_alive: Option<Duration>,
}

/// A will, still without the time from which it expires.
#[derive(Debug)]
pub(crate) struct LastWill {
    message: Message,
    expiry: Option<Duration>,
}

impl LastWill {
    /// The message, if it is published now.
    pub(crate) fn into_message(self, now: Instant) -> Message {
        Message {
            expires: self.expiry.and_then(|expiry| now.checked_add(expiry)),
            ..self.message
        }
    }
}

/// Reads the CONNECT and asks the policy. The answer to a client that is not
/// let in is in the wire's write buffer then.
pub(crate) async fn admit<P: Policy, S: Sink<P::Principal>, IO: AsyncRead + AsyncWrite + Unpin>(
    endpoint: &Endpoint<P, S>,
    wire: &mut Wire<IO>,
    peer: SocketAddr,
    transport: &Transport,
    place: &Place,
) -> Option<Admitted<P::Principal>> {
    let hub = &*endpoint.hub;
    let mut inbox = Vec::new();
    let connect = loop {
        match wire.read(&mut inbox, &hub.counters).await {
            Read::Packets => {}
            Read::Fault(fault) => {
                if hub
                    .strangers
                    .may_write(peer.ip(), "no CONNECT came, but something else")
                {
                    let fault = shown(&fault.what, WHY_SHOWN);
                    tracing::info!(%peer, %fault, "CONNECT refused");
                }
                hub.counters.protocol_errors.one();
                wire.engine.refuse(fault.code, &fault.what, &mut wire.out);
                return None;
            }
            Read::End => return None,
        }
        if let Some(Inbound::Connect(connect)) = inbox.pop() {
            break connect;
        }
    };
    let (client_id, assigned) = match check(&connect, &hub.options) {
        Ok(found) => found,
        Err(fault) => {
            if hub.strangers.may_write(peer.ip(), "CONNECT refused") {
                let client_id = shown(&connect.client_id, ID_SHOWN);
                let fault = shown(&fault.what, WHY_SHOWN);
                tracing::info!(%peer, %client_id, %fault, "CONNECT refused");
            }
            hub.counters.refused.one();
            wire.engine.refuse(fault.code, &fault.what, &mut wire.out);
            return None;
        }
    };
    let asked = Connect {
        client_id: &client_id,
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        peer,
        transport,
        version: connect.version,
    };
    place.judged();
    let verdict = endpoint.policy.authenticate(&asked).await;
    let verdict = verdict.and_then(|principal| match &connect.will {
        Some(will) if !endpoint.policy.may_publish(&principal, &will.message.topic) => {
            Err(crate::Refused::new(
                RefusedCode::NotAuthorized,
                format!(
                    "the will's topic {} is not allowed",
                    shown(&will.message.topic, WHY_SHOWN)
                ),
            ))
        }
        _ => Ok(principal),
    });
    match verdict {
        Ok(principal) => Some(Admitted {
            principal,
            connect,
            client_id,
            assigned,
        }),
        Err(refused) => {
            if hub.strangers.may_write(peer.ip(), cause(refused.code)) {
                let (client_id, why) = (shown(&client_id, ID_SHOWN), &refused.why);
                tracing::info!(%peer, %client_id, code = %refused.code, why, "client refused");
            }
            hub.counters.refused.one();
            let code = code(refused.code);
            wire.engine
                .refuse(code, &refused.code.to_string(), &mut wire.out);
            hub.tell(Event::Refused {
                peer,
                client_id,
                code: refused.code,
                why: refused.why,
            });
            None
        }
    }
}

/// Makes the client known and puts the CONNACK into the write buffer; also for
/// a client that is not let in for want of room.
pub(crate) fn welcome<P: Policy, S: Sink<P::Principal>, IO: AsyncRead + AsyncWrite + Unpin>(
    endpoint: &Endpoint<P, S>,
    wire: &mut Wire<IO>,
    admitted: Admitted<P::Principal>,
    peer: SocketAddr,
    transport: Transport,
) -> Option<Connected<P::Principal>> {
    let hub = &endpoint.hub;
    let Admitted {
        principal,
        connect,
        client_id,
        assigned,
    } = admitted;
    let (keep_alive_s, told) = keep_alive(&connect, hub.options.max_keep_alive_s);
    let accept = Accept {
        receive_maximum: hub.options.receive_maximum,
        topic_alias_maximum: hub.options.topic_alias_maximum,
        assigned_client_id: assigned.then_some(client_id.as_str()),
        keep_alive_s: told.then_some(keep_alive_s),
        session_expires_at_once: connect.session_expiry_s > 0,
    };
    if let Err(fault) = wire.engine.accept(&accept, &mut wire.out) {
        if hub
            .strangers
            .may_write(peer.ip(), "the client accepts no CONNACK")
        {
            tracing::info!(%peer, %fault, "the client accepts no CONNACK");
        }
        return None;
    }
    let source = Arc::new(Source {
        principal,
        transport,
        client_id,
        peer,
    });
    let namespace = endpoint.policy.namespace(&source.principal);
    let Ok(membership) = hub.join(namespace, hub.next_session(), Arc::clone(&source)) else {
        let why = "its namespace has as many clients as are allowed";
        if hub
            .strangers
            .may_write(peer.ip(), cause(RefusedCode::Quota))
        {
            let client_id = shown(&source.client_id, ID_SHOWN);
            tracing::info!(%peer, namespace, %client_id, why, "client refused");
        }
        hub.counters.refused.one();
        wire.engine
            .refuse(Code::QUOTA, "too many clients", &mut wire.out);
        hub.tell(Event::Refused {
            peer,
            client_id: source.client_id.clone(),
            code: RefusedCode::Quota,
            why: why.to_owned(),
        });
        return None;
    };
    tracing::debug!(
        namespace = &*membership.namespace.name,
        client_id = source.client_id,
        %peer,
        version = ?connect.version,
        "client connected"
    );
    hub.tell(Event::Connected {
        namespace: Arc::clone(&membership.namespace.name),
        source,
        version: connect.version,
    });
    Some(Connected {
        membership,
        version: connect.version,
        wants_session: connect.session_expiry_s > 0,
        will: connect.will.map(|will| LastWill {
            message: will.message,
            expiry: will.expiry,
        }),
        // §3.1.2.10: one and a half times.
        keep_alive: (keep_alive_s > 0)
            .then(|| Duration::from_millis(u64::from(keep_alive_s) * 1_500)),
    })
}

/// The client id to use, and whether it was made up.
fn check(connect: &engine::Connect, options: &Options) -> Result<(String, bool), Fault> {
    if connect.authentication_method {
        return Err(Fault::new(
            Code::BAD_AUTHENTICATION_METHOD,
            "extended authentication is not supported: use user name and password",
        ));
    }
    if let Some(will) = &connect.will {
        check_will(will, connect.version, options)?;
    }
    if connect.client_id.is_empty() {
        if connect.version == Version::V3 && !connect.clean {
            return Err(Fault::new(
                Code::CLIENT_ID,
                "an empty client id needs a clean session",
            ));
        }
        return Ok((made_up_client_id(), true));
    }
    let bytes = connect.client_id.len();
    if bytes > options.max_client_id_bytes {
        return Err(Fault::new(
            Code::CLIENT_ID,
            format!(
                "the client id has {bytes} bytes, the bound is {}",
                options.max_client_id_bytes
            ),
        ));
    }
    if connect.client_id.chars().any(char::is_control) {
        return Err(Fault::new(
            Code::CLIENT_ID,
            "the client id has a control character",
        ));
    }
    Ok((connect.client_id.clone(), false))
}

fn check_will(will: &Will, version: Version, options: &Options) -> Result<(), Fault> {
    if let Err(error) = topic::check_name(&will.message.topic, options.into()) {
        let code = match version {
            Version::V5 => Code::TOPIC_NAME_INVALID,
            // 3.1.1 has no code for it; this is the nearest.
            Version::V3 => Code::NOT_AUTHORIZED,
        };
        return Err(Fault::new(code, format!("the will's topic: {error}")));
    }
    // A 3.1.1 client can't be told that QoS 2 isn't offered; it gets QoS 1.
    if will.exactly_once && version == Version::V5 {
        return Err(Fault::new(
            Code::QOS_NOT_SUPPORTED,
            "the will has QoS 2, the maximum is 1",
        ));
    }
    Ok(())
}

/// The keep-alive to watch, and whether the client must be told of it.
fn keep_alive(connect: &engine::Connect, max_s: u16) -> (u16, bool) {
    let asked = connect.keep_alive_s;
    let too_long = max_s > 0 && (asked == 0 || asked > max_s);
    match connect.version {
        Version::V5 if too_long => (max_s, true),
        _ => (asked, false),
    }
}

/// Nobody can foresee it, so nobody takes it over by chance or on purpose.
fn made_up_client_id() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("auto-{:016x}{:016x}", part(), part())
}

/// What a refusal is counted as in the log.
fn cause(code: RefusedCode) -> &'static str {
    match code {
        RefusedCode::ClientId => "client refused: client id not valid",
        RefusedCode::Credentials => "client refused: bad user name, password or certificate",
        RefusedCode::NotAuthorized => "client refused: not authorized",
        RefusedCode::Unavailable => "client refused: server unavailable",
        RefusedCode::Quota => "client refused: quota exceeded",
        RefusedCode::Banned => "client refused: banned",
    }
}

fn code(code: RefusedCode) -> Code {
    match code {
        RefusedCode::ClientId => Code::CLIENT_ID,
        RefusedCode::Credentials => Code::CREDENTIALS,
        RefusedCode::NotAuthorized => Code::NOT_AUTHORIZED,
        RefusedCode::Unavailable => Code::UNAVAILABLE,
        RefusedCode::Quota => Code::QUOTA,
        RefusedCode::Banned => Code::BANNED,
    }
}
