//! A device, as a stranger would write one from the link's description: frames, handshake,
//! records.

use std::{io, net::SocketAddr};

use stencil_crypto::{
    Psk, Suite,
    link::{HELLO_MAX_BYTES, Initiator, RECORD_OVERHEAD_BYTES, Session},
    rng,
};
use stencil_protocol::{
    batch::{Header, Writer},
    command::{Command, State, Status},
    frame::{self, Decoder, Kind},
    id::{Boot, CommandId, DeviceId, Seq},
    link::{Down, Up},
    sample::{Sample, Value},
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
}

/// A linked device.
pub(crate) struct Device<S = TcpStream> {
    pub(crate) id: DeviceId,
    pub(crate) frames: Frames<S>,
    session: Session,
}

impl Device {
    /// Links over TCP, and shows its key by a first message.
    pub(crate) async fn link(address: SocketAddr, id: &DeviceId, psk: &Psk) -> Self {
        let mut device = Self::answered(address, id, psk).await;
        device.say(&Up::Ping).await;
        device
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
        let (initiator, hello) = hello(id, psk);
        frames.send(Kind::Hello, &hello).await.unwrap();
        let (kind, answer) = frames.next().await.expect("an answer");
        assert_eq!(kind, Kind::Answer);
        let session = initiator.finish(&answer).unwrap();
        let mut device = Self {
            id: id.clone(),
            frames,
            session,
        };
        let Some(Told::Time(now_us)) = device.told().await else {
            panic!("the time comes first")
        };
        assert!(now_us > 1_700_000_000_000_000);
        device
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
        let (kind, record) = self.frames.next().await?;
        assert_eq!(kind, Kind::Record);
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
        })
    }

    /// Sends a batch and waits until it is safe.
    pub(crate) async fn deliver(&mut self, boot: u32, first: u64, samples: u64) {
        let batch = batch(boot, first, samples);
        self.say(&Up::Batch(&batch)).await;
        let through = Seq(first + samples - 1);
        assert_eq!(self.told().await, Some(Told::Ack(Boot(boot), through)));
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

/// A first message, and who waits for the answer.
pub(crate) fn hello(id: &DeviceId, psk: &Psk) -> (Initiator, Vec<u8>) {
    let mut hello = vec![0; HELLO_MAX_BYTES];
    let identity = id.as_str().as_bytes();
    let (initiator, length) =
        Initiator::start(Suite::DEFAULT, psk, identity, &mut rng::Os, &mut hello).unwrap();
    hello.truncate(length);
    (initiator, hello)
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
