//! A device, as a stranger would write one from the link's description: frames, handshake,
//! records.

use std::{io, net::SocketAddr};

use stencil_crypto::{
    Psk, Suite,
    link::{
        self, HELLO_MAX_BYTES, Initiator, Offer, Opening, RECORD_OVERHEAD_BYTES, Resuming,
        Resumption, Session,
    },
    rng,
};
use stencil_protocol::{
    batch::{Header, Writer},
    command::{Command, State, Status},
    fragment::{Assembly, Fragment, MAX_MESSAGE_BYTES, Progress, Sender},
    frame::{self, Decoder, Kind},
    id::{Boot, CommandId, DeviceId, Seq},
    link::{Down, Up},
    sample::{Sample, Value},
    transfer::HEADER_BYTES,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::soon;

/// Frames over any stream.
pub(crate) struct Frames<S> {
    pub(crate) stream: S,
    decoder: Decoder,
    chunk: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            decoder: Decoder::new(),
            chunk: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut out = [0; frame::MAX_FRAME];
        let length = frame::encode(kind, payload, &mut out).unwrap();
        self.stream.write_all(&out[..length]).await
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            let mut input = &self.chunk[..];
            let found = self.decoder.feed(&mut input).map(|frame| {
                let (kind, payload) = frame.unwrap();
                (kind, payload.to_vec())
            });
            self.chunk = input.to_vec();
            if found.is_some() {
                return found;
            }
            let mut more = vec![0; 4096];
            match soon(self.stream.read(&mut more)).await {
                Ok(read) if read > 0 => self.chunk.extend_from_slice(&more[..read]),
                _ => return None,
            }
        }
    }
}

/// What a device was told, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Ack(Boot, Seq),
    Command(CommandId, String),
    StatusAck(CommandId, State),
    Time(i64),
    Offer([u8; HEADER_BYTES]),
    Chunk(u32, Vec<u8>),
    Key(u64, [u8; 32]),
}

/// A linked device.
pub(crate) struct Device<S = TcpStream> {
    pub(crate) id: DeviceId,
    pub(crate) frames: Frames<S>,
    session: Session,
    /// What the next session can be resumed with.
    pub(crate) left: Resumption,
}

impl Device {
    /// Links over TCP, and shows its key by a first message.
    pub(crate) async fn link(address: SocketAddr, id: &DeviceId, psk: &Psk) -> Self {
        let mut device = Self::answered(address, id, psk).await;
        device.greet().await;
        device
    }

    /// Resumes a session over a new connection; the gateway's reason when it refuses.
    pub(crate) async fn resume(
        address: SocketAddr,
        id: &DeviceId,
        psk: &Psk,
        left: &Resumption,
    ) -> Result<Self, u8> {
        let mut frames = Frames::new(TcpStream::connect(address).await.unwrap());
        let resuming = resuming(id, psk, left);
        frames.send(Kind::Resume, resuming.message()).await.unwrap();
        let answer = match frames.next().await.expect("an answer") {
            (Kind::Resumed, answer) => answer,
            (Kind::Refused, reason) => return Err(reason[0]),
            other => panic!("{other:?}"),
        };
        let (session, left) = resuming.finish(&answer).unwrap();
        let mut device = Self {
            id: id.clone(),
            frames,
            session,
            left,
        };
        device.greet().await;
        Ok(device)
    }

    /// Up to the gateway's answer: the gateway doesn't know yet whether this is the device.
    pub(crate) async fn answered(address: SocketAddr, id: &DeviceId, psk: &Psk) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Device::handshake(Frames::new(stream), id, psk).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Device<S> {
    pub(crate) async fn handshake(mut frames: Frames<S>, id: &DeviceId, psk: &Psk) -> Self {
        let (initiator, number, hello) = hello(&mut frames, id, psk).await;
        send_fragments(&mut frames, number, &hello).await;
        let answer = answer(&mut frames).await.expect("an answer");
        let established = initiator.finish(&answer).unwrap();
        Self {
            id: id.clone(),
            frames,
            session: established.session,
            left: established.resumption,
        }
    }

    /// Shows the key, and hears the time.
    pub(crate) async fn greet(&mut self) {
        assert!(self.greets().await, "the time comes first");
    }

    /// The same; false if the gateway is gone before it has told the time.
    pub(crate) async fn greets(&mut self) -> bool {
        if self.try_say(&Up::Ping).await.is_err() {
            return false;
        }
        match self.told().await {
            Some(Told::Time(now_us)) => assert!(now_us > 1_700_000_000_000_000),
            Some(other) => panic!("the time comes first, not {other:?}"),
            None => return false,
        }
        true
    }

    /// The record of a message.
    pub(crate) fn sealed(&mut self, message: &Up<'_>) -> Vec<u8> {
        let mut plain = [0; 2048];
        let length = message.encode(&mut plain).unwrap();
        let mut record = vec![0; length + RECORD_OVERHEAD_BYTES];
        self.session.seal(&plain[..length], &mut record).unwrap();
        record
    }

    pub(crate) async fn say(&mut self, message: &Up<'_>) {
        let record = self.sealed(message);
        self.frames.send(Kind::Record, &record).await.unwrap();
    }

    /// Says it, whether anybody is there or not.
    pub(crate) async fn try_say(&mut self, message: &Up<'_>) -> io::Result<()> {
        let record = self.sealed(message);
        self.frames.send(Kind::Record, &record).await
    }

    /// What the gateway says next; `None` when it has closed the link.
    pub(crate) async fn told(&mut self) -> Option<Told> {
        let record = loop {
            match self.frames.next().await? {
                (Kind::Record, record) => break record,
                // The answer's fragments, as nobody has told that they came.
                (Kind::Fragment, _) => {}
                other => panic!("{other:?}"),
            }
        };
        let mut plain = [0; 2048];
        let length = self.session.open(&record, &mut plain).unwrap();
        Some(match Down::decode(&plain[..length]).unwrap() {
            Down::Ack { boot, through } => Told::Ack(boot, through),
            Down::Command(Command {
                id, device, name, ..
            }) => {
                assert_eq!(device, self.id);
                Told::Command(id, name.to_owned())
            }
            Down::StatusAck { id, state } => Told::StatusAck(id, state),
            Down::Time { now_us } => Told::Time(now_us),
            Down::Offer(header) => Told::Offer(*header),
            Down::Chunk(chunk) => Told::Chunk(chunk.offset, chunk.bytes.to_vec()),
            Down::Key { generation, key } => Told::Key(generation, key.0),
        })
    }

    /// Sends a batch and waits until it is safe.
    pub(crate) async fn deliver(&mut self, boot: u32, first: u64, samples: u64) {
        let batch = batch(boot, first, samples);
        self.say(&Up::Batch(&batch)).await;
        let through = Seq(first + samples - 1);
        let told = loop {
            match self.told().await {
                // As often as it is due, however long a test takes.
                Some(Told::Time(_)) => {}
                told => break told,
            }
        };
        assert_eq!(told, Some(Told::Ack(Boot(boot), through)));
    }

    pub(crate) async fn answer(&mut self, id: CommandId, state: State) {
        self.say(&Up::Status(Status {
            id,
            state,
            at_us: 7,
            detail: None,
        }))
        .await;
    }
}

/// A message to resume, and who waits for the answer.
pub(crate) fn resuming(id: &DeviceId, psk: &Psk, left: &Resumption) -> Resuming {
    let offer = Offer::new(Suite::ALL, id.as_str().as_bytes());
    Resuming::start(&offer, psk, left, &mut rng::Os).unwrap()
}

/// The first message of a device.
pub(crate) fn opening(id: &DeviceId) -> Opening {
    let offer = Offer::new(Suite::ALL, id.as_str().as_bytes());
    Opening::start(&offer, &mut rng::Os).unwrap()
}

/// Opens a handshake; gives the hello that answers the challenge, its number, and who waits
/// for the answer.
pub(crate) async fn hello<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut Frames<S>,
    id: &DeviceId,
    psk: &Psk,
) -> (Initiator, u32, Vec<u8>) {
    let opening = opening(id);
    frames.send(Kind::Open, opening.message()).await.unwrap();
    let challenge = loop {
        match frames.next().await.expect("a challenge") {
            (Kind::Challenge, challenge) => break challenge,
            // Of the session before.
            (Kind::Record | Kind::Fragment, _) => {}
            other => panic!("{other:?}"),
        }
    };
    let mut hello = vec![0; HELLO_MAX_BYTES];
    let (initiator, length) = opening
        .hello(&challenge, psk, &mut rng::Os, &mut hello)
        .unwrap();
    hello.truncate(length);
    (initiator, link::handshake_id(&challenge), hello)
}

/// Sends a message in fragments.
pub(crate) async fn send_fragments<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut Frames<S>,
    number: u32,
    message: &[u8],
) {
    let mut sender = Sender::new(number, message.len(), 200, 1).unwrap();
    let mut payload = [0; 256];
    while let Some(length) = sender.next(message, 0, &mut payload).unwrap() {
        frames
            .send(Kind::Fragment, &payload[..length])
            .await
            .unwrap();
    }
}

/// The gateway's answer; its reason when it refuses.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut Frames<S>,
) -> Result<Vec<u8>, u8> {
    let (mut assembly, mut buffer) = (Assembly::new(), vec![0; MAX_MESSAGE_BYTES]);
    loop {
        match frames.next().await.expect("an answer") {
            (Kind::Fragment, payload) => {
                let fragment = Fragment::parse(&payload).unwrap();
                let taken = assembly.take(&fragment, 0, &mut buffer).unwrap();
                if let Progress::Whole(length) = taken {
                    buffer.truncate(length);
                    let received = assembly.received().unwrap().to_bytes();
                    frames.send(Kind::Received, &received).await.unwrap();
                    return Ok(buffer);
                }
            }
            (Kind::Received | Kind::Record, _) => {}
            (Kind::Refused, reason) => {
                assert_eq!(reason.len(), 1);
                return Err(reason[0]);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A batch of samples whose values are their numbers.
pub(crate) fn batch(boot: u32, first: u64, samples: u64) -> Vec<u8> {
    let mut bytes = [0; 1024];
    let header = Header {
        boot: Boot(boot),
        first: Seq(first),
        last_given: Seq(first + samples - 1),
        previous: None,
        dropped: heapless::Vec::new(),
    };
    let mut writer = Writer::new(&mut bytes, &header).unwrap();
    for n in first..first + samples {
        let value = Value::Integer(n as i64);
        writer
            .push(&Sample {
                name: "n",
                value,
                unit: None,
                time_us: n as i64 * 1000,
            })
            .unwrap();
    }
    let length = writer.finish().unwrap();
    bytes[..length].to_vec()
}
