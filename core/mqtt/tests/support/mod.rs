//! An endpoint to test against, a sink whose commit the test controls, and a
//! client that speaks raw bytes.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod packets;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stencil_mqtt::{
    Connect, Disconnect, Endpoint, Event, Handle, Options, Policy, Publish, Qos, Refused,
    RefusedCode, Sink, SinkError, Source, Transport,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

pub use packets::*;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Fails a test instead of letting it hang.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it took too long")
}

/// `tenant/name` as the user name; what starts with `forbidden` is.
#[derive(Debug)]
pub struct TestPolicy;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub tenant: String,
    pub name: String,
}

impl Policy for TestPolicy {
    type Principal = Who;

    async fn authenticate(&self, connect: &Connect<'_>) -> Result<Who, Refused> {
        match connect.username.and_then(|name| name.split_once('/')) {
            Some(("slow", _)) => std::future::pending().await,
            Some((_, "banned")) => Err(Refused::new(RefusedCode::Banned, "on the list")),
            Some((tenant, name)) => Ok(Who {
                tenant: tenant.to_owned(),
                name: name.to_owned(),
            }),
            None => Err(Refused::new(
                RefusedCode::Credentials,
                "the user name is not tenant/name",
            )),
        }
    }

    fn namespace<'a>(&self, who: &'a Who) -> &'a str {
        &who.tenant
    }

    fn may_publish(&self, _: &Who, topic: &str) -> bool {
        assert_ne!(topic, "panic", "as the test wants it");
        !topic.starts_with("forbidden")
    }

    fn may_subscribe(&self, _: &Who, filter: &str) -> bool {
        !filter.starts_with("forbidden")
    }

    fn may_stay(&self, who: &Who) -> bool {
        !REVOKED.lock().unwrap().contains(&who.name)
    }
}

/// Names that are let in no longer; a test takes one of its own.
static REVOKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub fn revoke(name: &str) {
    REVOKED.lock().unwrap().insert(name.to_owned());
}

/// One message that the sink took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub client_id: String,
    pub tenant: String,
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: Qos,
    pub retain: bool,
    pub content_type: Option<String>,
    pub user_properties: Vec<(String, String)>,
}

/// A sink in memory.
#[derive(Debug)]
pub struct TestSink {
    kept: Mutex<Vec<Kept>>,
    appends: Mutex<Vec<usize>>,
    mode: watch::Sender<Mode>,
    /// How many messages there are.
    count: watch::Sender<u64>,
    committed: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Commits at once.
    Commit,
    /// Commits when the test says so.
    Hold,
    Full,
    Failed,
}

impl TestSink {
    pub fn new(mode: Mode) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            appends: Mutex::default(),
            mode: watch::Sender::new(mode),
            count: watch::Sender::new(0),
            committed: watch::Sender::new(0),
        })
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn kept(&self) -> Vec<Kept> {
        self.kept.lock().unwrap().clone()
    }

    /// Messages of each append.
    pub fn appends(&self) -> Vec<usize> {
        self.appends.lock().unwrap().clone()
    }

    pub async fn wait_for(&self, count: u64) {
        let mut receiver = self.count.subscribe();
        soon(receiver.wait_for(|now| *now >= count)).await.unwrap();
    }

    pub fn commit(&self, position: u64) {
        self.committed.send_replace(position);
    }

    pub fn commit_all(&self) {
        self.commit(*self.count.borrow());
    }
}

impl Sink<Who> for TestSink {
    fn append(&self, from: &Source<Who>, batch: &[Publish<'_>]) -> Result<u64, SinkError> {
        let mode = *self.mode.borrow();
        match mode {
            Mode::Full => return Err(SinkError::Full),
            Mode::Failed => return Err(SinkError::Failed("the disk is gone".to_owned())),
            Mode::Commit | Mode::Hold => {}
        }
        self.appends.lock().unwrap().push(batch.len());
        let mut kept = self.kept.lock().unwrap();
        kept.extend(batch.iter().map(|publish| {
            Kept {
                client_id: from.client_id.clone(),
                tenant: from.principal.tenant.clone(),
                topic: publish.topic.to_owned(),
                payload: publish.payload.to_vec(),
                qos: publish.qos,
                retain: publish.retain,
                content_type: publish.content_type.map(ToOwned::to_owned),
                user_properties: publish
                    .user_properties
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            }
        }));
        let position = kept.len() as u64;
        self.count.send_replace(position);
        if mode == Mode::Commit {
            self.committed.send_replace(position);
        }
        Ok(position)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}

/// An endpoint that serves.
pub struct Server {
    pub address: SocketAddr,
    pub sink: Arc<TestSink>,
    pub handle: Handle<Who>,
    pub stop: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
}

impl Server {
    pub async fn start(mode: Mode) -> Self {
        Self::with(mode, Options::default(), None).await
    }

    pub async fn with(
        mode: Mode,
        options: Options,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let sink = TestSink::new(mode);
        let endpoint = Endpoint::new(options, Arc::new(TestPolicy), Arc::clone(&sink));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handle = endpoint.handle();
        let (stop, shutdown) = watch::channel(false);
        let serving = tokio::spawn(async move { endpoint.serve(listener, tls, shutdown).await });
        Self {
            address,
            sink,
            handle,
            stop,
            serving,
        }
    }

    pub async fn socket(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// A connected 3.1.1 client.
    pub async fn v3(&self, user: &str, client_id: &str) -> Client<TcpStream> {
        let mut client = self.socket().await;
        client.send(&connect_v3(user, client_id, 2, 60)).await;
        assert_eq!(client.packet().await, (0x20, vec![0, 0]));
        client
    }

    /// A connected v5 client.
    pub async fn v5(&self, user: &str, client_id: &str) -> Client<TcpStream> {
        let mut client = self.socket().await;
        client.send(&connect_v5(user, client_id, &[])).await;
        client.connack().await;
        client.v5 = true;
        client
    }

    /// Waits for an event that the test looks for.
    pub async fn event<T>(
        events: &mut broadcast::Receiver<Event<Who>>,
        mut find: impl FnMut(Event<Who>) -> Option<T>,
    ) -> T {
        soon(async {
            loop {
                if let Some(found) = find(events.recv().await.unwrap()) {
                    return found;
                }
            }
        })
        .await
    }

    /// Waits until this client id is gone and tells why.
    pub async fn gone(events: &mut broadcast::Receiver<Event<Who>>, client_id: &str) -> Disconnect {
        Self::event(events, |event| match event {
            Event::Disconnected { source, reason, .. } if source.client_id == client_id => {
                Some(reason)
            }
            _ => None,
        })
        .await
    }
}

/// A client that sends and reads bytes.
pub struct Client<IO> {
    pub io: IO,
    pub v5: bool,
    next_id: u16,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    pub fn new(io: IO) -> Self {
        Self {
            io,
            v5: false,
            next_id: 1,
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// The next packet: its first byte and its body.
    pub async fn packet(&mut self) -> (u8, Vec<u8>) {
        soon(self.try_packet())
            .await
            .expect("a packet, not the end")
    }

    /// The next packet, or none at the end of the stream.
    pub async fn try_packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.io.read_u8().await.ok()?;
        let mut length = 0usize;
        for shift in 0..4 {
            let byte = self.io.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.io.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// The stream ends here, with nothing before.
    pub async fn closed(&mut self) {
        assert_eq!(soon(self.try_packet()).await, None);
    }

    /// A v5 DISCONNECT with this reason, and then the end.
    pub async fn disconnected(&mut self, code: u8) -> String {
        let (first, body) = self.packet().await;
        assert_eq!((first, body[0]), (0xe0, code), "{body:02x?}");
        self.closed().await;
        match body.get(2) {
            Some(0x1f) => String::from_utf8(body[5..].to_vec()).unwrap(),
            _ => String::new(),
        }
    }

    /// A v5 CONNACK that lets in; returns its properties.
    pub async fn connack(&mut self) -> Vec<u8> {
        let (first, body) = self.packet().await;
        assert_eq!((first, &body[..2]), (0x20, &[0, 0][..]), "{body:02x?}");
        body[3..].to_vec()
    }

    /// Nothing has been sent to this client, and it is still served.
    pub async fn quiet(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.packet().await, (0xd0, vec![]));
    }

    /// Publishes and returns the packet id.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&publish(self.v5, 0x32, topic, Some(id), &[], payload))
            .await;
        id
    }

    pub async fn puback(&mut self, id: u16) {
        assert_eq!(self.packet().await, (0x40, id.to_be_bytes().to_vec()));
    }

    /// Subscribes with these options and returns the result code.
    pub async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        let id = self.next_id;
        self.next_id += 1;
        let mut body = id.to_be_bytes().to_vec();
        if self.v5 {
            body.push(0);
        }
        body.extend(text(filter));
        body.push(options);
        self.send(&packet(0x82, &body)).await;
        let (first, body) = self.packet().await;
        assert_eq!((first, &body[..2]), (0x90, &id.to_be_bytes()[..]));
        *body.last().unwrap()
    }

    /// The next packet is a message; acknowledges it when that is asked for.
    pub async fn message(&mut self) -> Message {
        let (first, body) = self.packet().await;
        assert_eq!(first & 0xf0, 0x30, "{first:02x} {body:02x?}");
        let message = Message::parse(self.v5, first, &body);
        if let Some(id) = message.id {
            self.send(&packet(0x40, &id.to_be_bytes())).await;
        }
        message
    }
}

/// A PUBLISH as a subscriber sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub id: Option<u16>,
    pub properties: Vec<u8>,
}

impl Message {
    fn parse(v5: bool, first: u8, body: &[u8]) -> Self {
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (topic, mut rest) = body[2..].split_at(length);
        let qos = (first >> 1) & 3;
        let id = (qos > 0).then(|| {
            let id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
            id
        });
        let mut properties = Vec::new();
        if v5 {
            let length = usize::from(rest[0]);
            assert!(length < 128);
            properties = rest[1..1 + length].to_vec();
            rest = &rest[1 + length..];
        }
        Self {
            topic: String::from_utf8(topic.to_vec()).unwrap(),
            payload: rest.to_vec(),
            qos,
            retain: first & 1 != 0,
            id,
            properties,
        }
    }
}

/// What the CONNECT of a plain client is carried by.
pub fn is_plain(transport: &Transport) -> bool {
    *transport == Transport::Plain
}
