//! An MQTT 5 client of a few lines, which can also say what no client should.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use stencil_crypto::tls::{Identity, Policy, Roots, client};

use super::LIMIT;

/// How long one look at the socket takes when nothing comes.
const LOOK: Duration = Duration::from_millis(50);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection to a listener.
pub(crate) struct Mqtt {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    received: Vec<u8>,
    ended: bool,
    last_id: u16,
}

/// A PUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) id: u16,
    /// The reason code; 0 is success, 0x10 success without a subscriber.
    pub(crate) reason: u8,
}

impl Acknowledged {
    /// Whether the hub has it.
    pub(crate) fn is_success(self) -> bool {
        self.reason < 0x80
    }
}

impl Mqtt {
    /// A connection without TLS; nothing is said yet.
    pub(crate) fn plain(port: u16) -> Self {
        let socket = socket(port);
        Self::over(Box::new(socket.try_clone().unwrap()), socket)
    }

    /// A connection over strict TLS, with a gateway's certificate from its `folder`, if any.
    pub(crate) fn tls(port: u16, root: &Path, gateway: Option<(&Path, &str)>) -> Self {
        Self::try_tls(port, root, gateway).expect("the handshake is completed")
    }

    /// As [`Mqtt::tls`]; why not, when the handshake fails on this side.
    pub(crate) fn try_tls(
        port: u16,
        root: &Path,
        gateway: Option<(&Path, &str)>,
    ) -> std::io::Result<Self> {
        let identity = gateway.map(|(folder, name)| {
            let file = |kind: &str| folder.join(format!("{name}.{kind}"));
            Identity::load(file("pem"), file("key")).unwrap()
        });
        let config = client(
            Policy::Strict,
            &Roots::load(root).unwrap(),
            identity.as_ref(),
        )
        .unwrap();
        let name = "localhost".try_into().unwrap();
        let mut session = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut socket = socket(port);
        // A look that ends for want of bytes would end the handshake as well.
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let stream = StreamOwned::new(session, socket.try_clone().unwrap());
        Ok(Self::over(Box::new(stream), socket))
    }

    fn over(stream: Box<dyn Stream>, socket: TcpStream) -> Self {
        Self {
            stream,
            socket,
            received: Vec::new(),
            ended: false,
            last_id: 0,
        }
    }

    /// CONNECT, with a token as the user name; panics unless the hub lets us in.
    pub(crate) fn connect(mut self, client_id: &str, token: Option<&str>) -> Self {
        self.send(&connect(client_id, token))
            .expect("CONNECT is taken");
        match self.packet(LIMIT) {
            Some((0x20, body)) if body.get(1) == Some(&0) => self,
            other => panic!("no CONNACK of success: {other:02x?}"),
        }
    }

    /// Says these bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Says that nothing more will be said.
    pub(crate) fn close_write(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Publishes with QoS 1 and gives the packet's id; waits for nothing.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> std::io::Result<u16> {
        self.last_id = self.last_id % u16::MAX + 1;
        self.send(&publish(topic, self.last_id, payload))?;
        Ok(self.last_id)
    }

    /// Publishes and waits for the PUBACK, which must be one of success.
    pub(crate) fn deliver(&mut self, topic: &str, payload: &[u8]) {
        let id = self
            .publish(topic, payload)
            .expect("the connection is open");
        let ack = self.acknowledged(LIMIT).expect("a PUBACK");
        assert!(
            ack.id == id && ack.is_success(),
            "{ack:?} for {id} on {topic}"
        );
    }

    /// The next PUBACK that comes within this time.
    pub(crate) fn acknowledged(&mut self, within: Duration) -> Option<Acknowledged> {
        loop {
            let (kind, body) = self.packet(within)?;
            if kind == 0x40 {
                let id = u16::from_be_bytes([body[0], body[1]]);
                return Some(Acknowledged {
                    id,
                    reason: body.get(2).copied().unwrap_or(0),
                });
            }
        }
    }

    /// Subscribes with QoS 1; gives the SUBACK's reason code.
    pub(crate) fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 1, 0];
        body.extend(text(filter));
        body.push(1);
        self.send(&packet(0x82, &body)).unwrap();
        match self.packet(LIMIT) {
            Some((0x90, body)) => *body.last().unwrap(),
            other => panic!("no SUBACK: {other:02x?}"),
        }
    }

    /// The next packet that comes within this time: first byte and body.
    pub(crate) fn packet(&mut self, within: Duration) -> Option<(u8, Vec<u8>)> {
        let until = Instant::now() + within;
        loop {
            if let Some((header, length)) = framed(&self.received) {
                let packet: Vec<u8> = self.received.drain(..header + length).collect();
                return Some((packet[0], packet[header..].to_vec()));
            }
            if self.ended || Instant::now() > until {
                return None;
            }
            self.look();
        }
    }

    /// Waits until the hub has closed the connection.
    pub(crate) fn closed(&mut self, what: &str) {
        let until = Instant::now() + LIMIT;
        while !self.ended {
            assert!(
                Instant::now() < until,
                "not closed: {what}; it said {:02x?}",
                self.received
            );
            self.look();
        }
    }

    fn look(&mut self) {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(read) => self.received.extend_from_slice(&chunk[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.ended = true,
        }
    }
}

fn socket(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("the listener is open");
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(LOOK)).unwrap();
    socket
}

/// Where the body starts and how long it is, when all of the first packet is there.
fn framed(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (bytes.len() >= at + 2 + length).then_some((at + 2, length));
        }
    }
    None
}

/// A CONNECT of MQTT 5 that starts clean.
pub(crate) fn connect(client_id: &str, token: Option<&str>) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, if token.is_some() { 0x82 } else { 0x02 }, 0, 60, 0]);
    body.extend(text(client_id));
    body.extend(token.into_iter().flat_map(text));
    packet(0x10, &body)
}

/// A PUBLISH with QoS 1.
pub(crate) fn publish(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.to_be_bytes());
    body.push(0);
    body.extend(payload);
    packet(0x32, &body)
}

/// A packet with its length.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

/// A string with its length.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend(text.bytes());
    out
}
