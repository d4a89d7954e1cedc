//! A session with a server: how the server is found, known and told who we are.

use std::{future::Future, io, path::Path, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use opcua::{
    client::{
        Client, ClientBuilder, ConnectionSource, Session, SessionPollResult,
        transport::{
            Connector, RequestRecv, SecureChannelState, StreamConnection, StreamConnector,
            StreamTransport, TransportConfiguration,
        },
    },
    core::comms::tcp_codec::TcpCodec,
    types::{
        ByteString, DecodingOptions, EndpointDescription, Error, MessageSecurityMode, StatusCode,
    },
};
use tempfile::TempDir;
use tokio::net::{TcpStream, tcp};
use tokio_util::codec::FramedRead;

use super::{
    files::{self, Identity, fingerprint},
    guard::{Guarded, MAX_FRAME, Refused, Rules},
    value::told,
};
use crate::{
    Fault,
    mapping::{Policy, Secured, Security, Server, TcpAddress, User},
};

/// The largest message of a server, and how many frames it may come in.
const MAX_MESSAGE: usize = 4 << 20;
const MAX_FRAMES: usize = 128;
/// The longest array and text in it.
const MAX_ARRAY: usize = 20_000;
const MAX_TEXT: usize = 1 << 20;
/// How long a session outlives its connection, if the server agrees.
pub(super) const SESSION_MS: u32 = 120_000;
/// How often a connection that was lost is tried again before everything begins anew.
const RETRIES: i32 = 8;
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(15);
/// How often a quiet session is tested; after so many times without an answer it is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_FAILURES: u64 = 2;
/// How long the end of a session may take.
const LEAVE: Duration = Duration::from_secs(3);
/// How long a request to be told of changes may wait in the server: longer than the subscription
/// is ever silent.
const PUBLISH: Duration = Duration::from_secs(90);

/// What is read of a connection is guarded.
type Reader = Guarded<tcp::OwnedReadHalf>;

/// A session that is about to be made, and what it needs meanwhile.
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    pub(super) events: Events,
    pub(super) refused: Refused,
    /// Whether it is there: who drives the events says so.
    pub(super) is_connected: bool,
    /// Where the library keeps certificates: what is trusted is decided before it looks there.
    folder: Option<TempDir>,
}

/// What happens to a session, which it is to be driven by.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<SessionPollResult, StatusCode>> + Send>>;

impl Drop for Opened {
    /// Tells the server that the session is over: small ones have few of them.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_connected {
            return;
        }
        let none: Events = Box::pin(futures_util::stream::empty());
        let mut events = std::mem::replace(&mut self.events, none);
        let (session, folder) = (Arc::clone(&self.session), self.folder.take());
        runtime.spawn(async move {
            let _ = tokio::time::timeout(LEAVE, leave(&mut events, &session)).await;
            drop(folder);
        });
    }
}

/// Makes connections that pass the guard.
#[derive(Clone)]
struct Door {
    server: Server,
    rules: Rules,
    timeout: Duration,
}

impl ConnectionSource for Door {
    type Builder = Door;

    fn get_connector(&self, _: &EndpointDescription) -> Result<Door, Error> {
        Ok(self.clone())
    }
}

impl Connector for Door {
    type Transport = StreamTransport<Reader, tcp::OwnedWriteHalf>;

    async fn connect(
        &self,
        channel: Arc<SecureChannelState>,
        outgoing: RequestRecv,
        config: TransportConfiguration,
    ) -> Result<Self::Transport, Error> {
        let door = self.clone();
        let enter = move |url: String, options: DecodingOptions| {
            let door = door.clone();
            async move { door.enter(url, options).await }
        };
        let connector = StreamConnector::new(enter, self.server.url.to_string());
        connector.connect(channel, outgoing, config).await
    }

    fn default_endpoint(&self) -> EndpointDescription {
        EndpointDescription::from(&*self.server.url)
    }
}

impl Door {
    fn new(server: &Server, pinned: Option<(Policy, &Arc<[u8]>)>, timeout: Duration) -> Self {
        Self {
            server: server.clone(),
            rules: Rules {
                secured: pinned.map(|(policy, der)| (policy.uri(), Arc::clone(der))),
                refused: Refused::default(),
            },
            timeout,
        }
    }

    async fn enter(
        &self,
        url: String,
        options: DecodingOptions,
    ) -> Result<StreamConnection<Reader, tcp::OwnedWriteHalf>, Error> {
        let TcpAddress { host, port } = &self.server.address;
        let failed = |error: &io::Error| {
            let fault = Fault::connect(&self.server.place(), error);
            let status = Error::new(StatusCode::BadCommunicationError, fault.to_string());
            self.rules.refused.set(fault);
            status
        };
        let connecting = TcpStream::connect((host.as_str(), *port));
        let stream = match tokio::time::timeout(self.timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| failed(&error))?,
            Err(_) => {
                let ms = self.timeout.as_millis();
                return Err(failed(&io::Error::other(format!(
                    "it takes longer than {ms} ms"
                ))));
            }
        };
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (read, write) = stream.into_split();
        let reader = FramedRead::new(
            Guarded::new(read, self.rules.clone()),
            TcpCodec::new(options),
        );
        Ok(StreamConnection::new(reader, write, url))
    }
}

/// What a server offers, by its own word: nobody has proved anything yet.
pub(super) async fn endpoints(
    server: &Server,
    timeout: Duration,
) -> Result<Vec<EndpointDescription>, Fault> {
    let folder = folder(server)?;
    let door = Door::new(server, None, timeout);
    let client = client(folder.path(), timeout, None, "")?;
    let asking = client.get_endpoints(door.clone(), &[], &[]);
    match tokio::time::timeout(timeout.saturating_mul(3), asking).await {
        Ok(Ok(endpoints)) => Ok(endpoints),
        Ok(Err(error)) => Err(fault(server, error.status(), &door.rules.refused)),
        Err(_) => Err(Fault::Connect {
            to: server.place(),
            why: late(timeout),
        }),
    }
}

/// Makes all ready for a session: looks what the server offers, and that it is the one that is
/// pinned. The events are to be driven then.
pub(super) async fn open(server: &Server, timeout: Duration) -> Result<Opened, Fault> {
    let wrong = Fault::Refused;
    files::stay_in(server).map_err(wrong)?;
    let token = files::token(&server.user).map_err(wrong)?;
    let identity = match &server.security {
        Security::None => None,
        Security::Secured(secured) => Some((secured, files::identity(secured).map_err(wrong)?)),
    };
    let offered = endpoints(server, timeout).await?;
    let endpoint = match &identity {
        None => plain(server, offered),
        Some((secured, identity)) => secure(server, secured, identity, offered),
    }
    .map_err(wrong)?;
    let pinned = identity
        .as_ref()
        .map(|(secured, identity)| (secured.policy, &identity.pinned));
    let door = Door::new(server, pinned, timeout);
    let refused = door.rules.refused.clone();
    let folder = folder(server)?;
    let uri = identity
        .as_ref()
        .map_or("urn:stencil:gateway", |(_, identity)| {
            &identity.application_uri
        });
    let own = identity.as_ref().map(|(secured, _)| *secured);
    let client = client(folder.path(), timeout, own, uri)?;
    let built = client
        .session_builder()
        .with_connector(door)
        .connect_to_endpoint_directly(endpoint)
        .and_then(|builder| {
            builder
                .user_identity_token(token)
                .build(Arc::clone(client.certificate_store()))
        });
    let (session, events) = built.map_err(|error| wrong(error.to_string()))?;
    Ok(Opened {
        session,
        events: Box::pin(events.enter()),
        refused,
        is_connected: false,
        folder: Some(folder),
    })
}

/// Drives a session's events until it is there.
pub(super) async fn connected(server: &Server, opened: &mut Opened) -> Result<(), Fault> {
    let refused = opened.refused.clone();
    loop {
        match opened.events.next().await {
            Some(Ok(SessionPollResult::Reconnected(_))) => {
                opened.is_connected = true;
                return Ok(());
            }
            Some(Ok(SessionPollResult::ReconnectFailed(status))) | Some(Err(status)) => {
                return Err(fault(server, status, &refused));
            }
            Some(Ok(_)) => {}
            None => return Err(fault(server, StatusCode::BadConnectionClosed, &refused)),
        }
    }
}

/// Why there is no session.
pub(super) fn fault(server: &Server, status: StatusCode, refused: &Refused) -> Fault {
    let connect = |why: String| Fault::Connect {
        to: server.place(),
        why,
    };
    match refused.take() {
        Some(fault) => fault,
        None => match status {
            StatusCode::BadTimeout => connect("the server does not answer in time".to_owned()),
            StatusCode::BadCommunicationError | StatusCode::BadConnectionClosed => Fault::Closed,
            status => Fault::Refused(told(status)),
        },
    }
}

pub(super) fn late(timeout: Duration) -> String {
    format!(
        "the server does not answer within {} ms",
        timeout.as_millis()
    )
}

fn folder(server: &Server) -> Result<TempDir, Fault> {
    tempfile::Builder::new()
        .prefix("stencil-opcua-")
        .tempdir()
        .map_err(|error| Fault::Connect {
            to: server.place(),
            why: format!("no folder for temporary files: {error}"),
        })
}

fn client(
    folder: &Path,
    timeout: Duration,
    own: Option<&Secured>,
    uri: &str,
) -> Result<Client, Fault> {
    let mut builder = ClientBuilder::new()
        .application_name("Stencil gateway")
        .application_uri(if uri.is_empty() {
            "urn:stencil:gateway"
        } else {
            uri
        })
        .product_uri("urn:stencil:gateway")
        .session_name("Stencil gateway")
        .pki_dir(folder)
        // It was compared with the pinned one, to the byte, before it comes here.
        .trust_server_certs(true)
        .verify_server_certs(false)
        .session_timeout(SESSION_MS)
        .session_retry_limit(if own.is_none() && uri.is_empty() {
            0
        } else {
            RETRIES
        })
        .session_retry_initial(RETRY_FIRST)
        .session_retry_max(RETRY_MOST)
        .keep_alive_interval(KEEP_ALIVE)
        .max_failed_keep_alive_count(KEEP_ALIVE_FAILURES)
        .request_timeout(timeout)
        .publish_timeout(PUBLISH)
        .recreate_subscriptions(false)
        .max_message_size(MAX_MESSAGE)
        .max_chunk_count(MAX_FRAMES)
        .max_chunk_size(MAX_FRAME)
        .max_incoming_chunk_size(MAX_FRAME)
        .max_array_length(MAX_ARRAY)
        .max_string_length(MAX_TEXT)
        .max_byte_string_length(MAX_TEXT);
    if let Some(secured) = own {
        builder = builder
            .certificate_path(&secured.certificate)
            .private_key_path(&secured.key);
    }
    builder
        .client()
        .map_err(|wrong| Fault::Refused(wrong.join("; ")))
}

fn plain(
    server: &Server,
    offered: Vec<EndpointDescription>,
) -> Result<EndpointDescription, String> {
    let mut found = offered
        .into_iter()
        .find(|it| it.security_mode == MessageSecurityMode::None)
        .ok_or_else(|| {
            "the server wants connections to be secured: write its certificate into the mapping \
             instead of `security: none`"
                .to_owned()
        })?;
    found.endpoint_url = (*server.url).into();
    found.server_certificate = ByteString::null();
    Ok(found)
}

fn secure(
    server: &Server,
    secured: &Secured,
    identity: &Identity,
    offered: Vec<EndpointDescription>,
) -> Result<EndpointDescription, String> {
    let names: Vec<String> = offered.iter().map(offer_name).collect();
    let mut found = offered
        .into_iter()
        .find(|it| {
            it.security_mode == MessageSecurityMode::SignAndEncrypt
                && it.security_policy_uri.as_ref() == secured.policy.uri()
        })
        .ok_or_else(|| {
            format!(
                "the server does not offer this `security`; it offers {}",
                names.join(", ")
            )
        })?;
    let shown = found.server_certificate.as_ref();
    if shown != &*identity.pinned {
        return Err(format!(
            "the server has another certificate than the one in `server-certificate`: its SHA-256 \
             is {}, and {} was expected",
            fingerprint(shown),
            fingerprint(&identity.pinned)
        ));
    }
    found.endpoint_url = (*server.url).into();
    found.server_certificate = ByteString::from(identity.pinned.to_vec());
    let tokens = found.user_identity_tokens.as_deref().unwrap_or_default();
    let wanted = match &server.user {
        User::Anonymous => (
            opcua::types::UserTokenType::Anonymous,
            "users without a name",
        ),
        User::Password { .. } => (opcua::types::UserTokenType::UserName, "user names"),
        User::Certificate { .. } => (
            opcua::types::UserTokenType::Certificate,
            "users' certificates",
        ),
    };
    if !tokens.iter().any(|token| token.token_type == wanted.0) {
        return Err(format!("the server takes no {} here", wanted.1));
    }
    Ok(found)
}

/// Policy and mode of what a server offers.
pub(super) fn offer_name(endpoint: &EndpointDescription) -> String {
    let uri = endpoint.security_policy_uri.as_ref();
    let policy = uri.rsplit('#').next().unwrap_or(uri);
    match endpoint.security_mode {
        MessageSecurityMode::None => "none".to_owned(),
        MessageSecurityMode::Sign => format!("{policy} (signed only)"),
        _ => policy.to_owned(),
    }
}

/// Does something in a session while its events are driven; none when it ends before.
pub(super) async fn while_driven<T>(
    events: &mut Events,
    doing: impl Future<Output = T>,
) -> Option<T> {
    let mut doing = std::pin::pin!(doing);
    loop {
        tokio::select! {
            biased;
            done = &mut doing => return Some(done),
            event = events.next() => match event {
                Some(Ok(SessionPollResult::ConnectionLost(_))) | Some(Err(_)) | None => return None,
                Some(Ok(_)) => {}
            },
        }
    }
}

impl Opened {
    /// Ends the session in good order, and waits for it.
    pub(super) async fn leave(mut self) {
        let session = Arc::clone(&self.session);
        let _ = tokio::time::timeout(LEAVE, leave(&mut self.events, &session)).await;
        self.is_connected = false;
    }
}

/// Ends a session in good order, so that the server need not keep it.
async fn leave(events: &mut Events, session: &Session) {
    // It is asked once, and not waited for beyond its end.
    let _ = while_driven(events, session.disconnect()).await;
}
