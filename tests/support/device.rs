//! A device at a gateway, as a stranger would write one from the link's description: frames,
//! handshake, records.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use stencil_crypto::link::{
    HELLO_MAX_BYTES, Offer, Opening, RECORD_OVERHEAD_BYTES, Session, handshake_id,
};
use stencil_crypto::{Psk, Suite, rng};
use stencil_protocol::command::{Command, State, Status};
use stencil_protocol::fragment::{Assembly, Fragment, MAX_MESSAGE_BYTES, Progress, Sender};
use stencil_protocol::frame::{self, Decoder, Kind};
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::link::{Down, Up};

use super::{LIMIT, batch};

/// How long one look at the socket takes when nothing comes.
const LOOK: Duration = Duration::from_millis(50);

/// A linked device.
pub(crate) struct Device {
    stream: TcpStream,
    decoder: Decoder,
    received: Vec<u8>,
    session: Session,
}

impl Device {
    /// Links `device` with its key, and shows it by a first message.
    pub(crate) fn link(address: SocketAddr, device: &str, psk: &Psk) -> Self {
        Self::try_link(address, device, psk)
            .unwrap_or_else(|why| panic!("{device}: refused, {why}"))
    }

    /// As [`Device::link`]; the gateway's reason when it refuses.
    pub(crate) fn try_link(address: SocketAddr, device: &str, psk: &Psk) -> Result<Self, u8> {
        let offer = Offer::new(Suite::ALL, device.as_bytes());
        let opening = Opening::start(&offer, &mut rng::Os).unwrap();
        let mut stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LOOK)).unwrap();
        stream
            .write_all(&framed(Kind::Open, opening.message()))
            .unwrap();
        let (mut decoder, mut received) = (Decoder::new(), Vec::new());
        let challenge = match next(&mut stream, &mut decoder, &mut received, LIMIT) {
            Some((Kind::Challenge, challenge)) => challenge,
            Some((Kind::Refused, reason)) => return Err(reason[0]),
            other => panic!("the gateway's challenge is {other:?}"),
        };
        let mut hello = [0; HELLO_MAX_BYTES];
        let (initiator, length) = opening
            .hello(&challenge, psk, &mut rng::Os, &mut hello)
            .unwrap();
        let number = handshake_id(&challenge);
        let mut sender = Sender::new(number, length, 256, 1).unwrap();
        let mut payload = [0; 300];
        while let Some(bytes) = sender.next(&hello[..length], 0, &mut payload).unwrap() {
            stream
                .write_all(&framed(Kind::Fragment, &payload[..bytes]))
                .unwrap();
        }
        let (mut assembly, mut answer) = (Assembly::new(), [0; MAX_MESSAGE_BYTES]);
        let answer = loop {
            match next(&mut stream, &mut decoder, &mut received, LIMIT) {
                Some((Kind::Received, _)) => {}
                Some((Kind::Fragment, payload)) => {
                    let fragment = Fragment::parse(&payload).unwrap();
                    let taken = assembly.take(&fragment, 0, &mut answer).unwrap();
                    if let Progress::Whole(length) = taken {
                        break &answer[..length];
                    }
                }
                Some((Kind::Refused, reason)) => return Err(reason[0]),
                other => panic!("the gateway's answer is {other:?}"),
            }
        };
        let session = initiator.finish(answer).unwrap().session;
        let told = assembly.received().unwrap().to_bytes();
        stream.write_all(&framed(Kind::Received, &told)).unwrap();
        let mut linked = Self {
            stream,
            decoder,
            received,
            session,
        };
        let ping = linked.sealed(&Up::Ping);
        linked.send(Kind::Record, &ping);
        Ok(linked)
    }

    /// The record of a batch of the series `n`; it is not sent.
    pub(crate) fn sealed_batch(&mut self, boot: u32, first: u64, count: usize) -> Vec<u8> {
        self.sealed(&Up::Batch(&batch::numbered(boot, first, count)))
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: Kind, payload: &[u8]) {
        self.stream
            .write_all(&framed(kind, payload))
            .expect("the link is open");
    }

    /// Sends a batch, and waits until the gateway has it on disk.
    pub(crate) fn deliver(&mut self, boot: u32, first: u64, count: usize) {
        let record = self.sealed_batch(boot, first, count);
        self.send(Kind::Record, &record);
        let through = first + count as u64 - 1;
        assert_eq!(self.acknowledged(LIMIT), Some((boot, through)));
    }

    /// The next acknowledgement within this time: boot, and up to which number.
    pub(crate) fn acknowledged(&mut self, within: Duration) -> Option<(u32, u64)> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (kind, record) = next(
                &mut self.stream,
                &mut self.decoder,
                &mut self.received,
                left,
            )?;
            // A fragment of the answer that had come before.
            if kind == Kind::Fragment {
                continue;
            }
            assert_eq!(kind, Kind::Record);
            let mut plain = [0; frame::MAX_PAYLOAD];
            let length = self.session.open(&record, &mut plain).unwrap();
            if let Down::Ack {
                boot: Boot(boot),
                through: Seq(through),
            } = Down::decode(&plain[..length]).unwrap()
            {
                return Some((boot, through));
            }
        }
    }

    /// Does what it is told within this time, and says so: the command's name. If it is told nothing, it shows
    /// that it is there.
    pub(crate) fn obeys(&mut self, within: Duration) -> Option<String> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let told = next(
                &mut self.stream,
                &mut self.decoder,
                &mut self.received,
                left,
            );
            let Some((kind, record)) = told else {
                let ping = self.sealed(&Up::Ping);
                self.send(Kind::Record, &ping);
                return None;
            };
            if kind != Kind::Record {
                continue;
            }
            let mut plain = [0; frame::MAX_PAYLOAD];
            let length = self.session.open(&record, &mut plain).unwrap();
            let told = Down::decode(&plain[..length]).unwrap();
            let Down::Command(Command { id, name, .. }) = told else {
                continue;
            };
            let done = Status {
                id,
                state: State::Done,
                at_us: 7,
                detail: None,
            };
            let done = self.sealed(&Up::Status(done));
            self.send(Kind::Record, &done);
            return Some(name.to_owned());
        }
    }

    fn sealed(&mut self, message: &Up<'_>) -> Vec<u8> {
        let mut plain = [0; frame::MAX_PAYLOAD];
        let length = message.encode(&mut plain).unwrap();
        let mut record = vec![0; length + RECORD_OVERHEAD_BYTES];
        self.session.seal(&plain[..length], &mut record).unwrap();
        record
    }
}

fn framed(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; frame::MAX_FRAME];
    let length = frame::encode(kind, payload, &mut out).unwrap();
    out.truncate(length);
    out
}

/// The next frame within this time; `None` also when the gateway has closed the link.
fn next(
    stream: &mut TcpStream,
    decoder: &mut Decoder,
    received: &mut Vec<u8>,
    within: Duration,
) -> Option<(Kind, Vec<u8>)> {
    let until = Instant::now() + within;
    loop {
        let mut input = &received[..];
        let found = decoder.feed(&mut input).map(|frame| {
            let (kind, payload) = frame.unwrap();
            (kind, payload.to_vec())
        });
        *received = input.to_vec();
        if found.is_some() {
            return found;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(read) => received.extend_from_slice(&chunk[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return None,
        }
        if Instant::now() > until {
            return None;
        }
    }
}
