//! A gateway's end of the link, scripted: real frames, real handshake, no I/O.
//! The simulators' tests use it too, over TCP.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::convert::Infallible;

use stencil_crypto::Psk;
use stencil_crypto::link::{self, Hello, Session};
use stencil_protocol::batch::{Batch, Header};
use stencil_protocol::command::State;
use stencil_protocol::frame::{self, Decoder, Kind};
use stencil_protocol::id::{CommandId, Seq};
use stencil_protocol::link::{Down, Up};
use stencil_protocol::sample::OwnedSample;

/// What came from the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Hello(String),
    Ping,
    Batch {
        header: Header,
        samples: Vec<(Seq, OwnedSample)>,
    },
    Status {
        id: CommandId,
        state: State,
        detail: Option<String>,
    },
}

/// Randomness of which the same seed gives the same.
#[derive(Clone)]
pub struct Dice(pub u64);

impl rand_core::TryRng for Dice {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(8) {
            let bytes = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Dice {}

/// The scripted gateway.
pub struct Peer {
    psk: Psk,
    dice: Dice,
    decoder: Decoder,
    session: Option<Session>,
    out: Vec<u8>,
    last_record: Vec<u8>,
    /// The time that it tells.
    pub now_us: i64,
    /// Acknowledge batches and statuses.
    pub acknowledges: bool,
    /// Tell the time after the first record.
    pub tells_time: bool,
    /// Everything that came and was understood.
    pub heard: Vec<Heard>,
    /// Frames and records that were not understood.
    pub garbage: u32,
}

impl Peer {
    pub fn new(psk: Psk, seed: u64) -> Self {
        Self {
            psk,
            dice: Dice(seed),
            decoder: Decoder::new(),
            session: None,
            out: Vec::new(),
            last_record: Vec::new(),
            now_us: 1_700_000_000_000_000,
            acknowledges: true,
            tells_time: true,
            heard: Vec::new(),
            garbage: 0,
        }
    }

    /// A new connection, or a restart: keys are forgotten.
    pub fn forget(&mut self) {
        self.session = None;
        self.decoder = Decoder::new();
        self.out.clear();
    }

    /// Bytes for the device.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub fn is_up(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_confirmed)
    }

    /// Bytes from the device.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let (kind, payload) = match self.decoder.push(*byte) {
                None => continue,
                Some(Ok((kind, payload))) => (kind, payload.to_vec()),
                Some(Err(_)) => {
                    self.garbage += 1;
                    continue;
                }
            };
            match kind {
                Kind::Hello => self.hello(&payload),
                Kind::Record => self.record(&payload),
                _ => self.garbage += 1,
            }
        }
    }

    pub fn send(&mut self, message: &Down<'_>) {
        let Some(session) = &mut self.session else {
            return;
        };
        let mut plain = [0; frame::MAX_PAYLOAD];
        let length = message.encode(&mut plain).unwrap();
        let mut record = [0; frame::MAX_PAYLOAD];
        let length = session.seal(&plain[..length], &mut record).unwrap();
        self.last_record = record[..length].to_vec();
        self.put(Kind::Record, &self.last_record.clone());
    }

    /// Sends the last record again, as an attacker would.
    pub fn replay_last_record(&mut self) {
        self.put(Kind::Record, &self.last_record.clone());
    }

    pub fn put(&mut self, kind: Kind, payload: &[u8]) {
        let mut frame = [0; frame::MAX_FRAME];
        let length = frame::encode(kind, payload, &mut frame).unwrap();
        self.out.extend_from_slice(&frame[..length]);
    }

    fn hello(&mut self, payload: &[u8]) {
        let Ok(hello) = Hello::parse(payload) else {
            self.garbage += 1;
            return;
        };
        let identity = String::from_utf8(hello.identity().to_vec()).unwrap();
        let mut answer = [0; link::ANSWER_BYTES];
        match link::respond(&hello, &self.psk, &mut self.dice, &mut answer) {
            Ok((session, length)) => {
                self.session = Some(session);
                self.heard.push(Heard::Hello(identity));
                self.put(Kind::Answer, &answer[..length]);
            }
            Err(_) => self.put(Kind::Refused, &[1]),
        }
    }

    fn record(&mut self, payload: &[u8]) {
        let Some(session) = &mut self.session else {
            self.put(Kind::Refused, &[2]);
            return;
        };
        let fresh = !session.is_confirmed();
        let mut plain = [0; frame::MAX_PAYLOAD];
        let Ok(length) = session.open(payload, &mut plain) else {
            self.garbage += 1;
            return;
        };
        if fresh && self.tells_time {
            self.send(&Down::Time {
                now_us: self.now_us,
            });
        }
        match Up::decode(&plain[..length]).unwrap() {
            Up::Ping => self.heard.push(Heard::Ping),
            Up::Batch(bytes) => self.batch(bytes),
            Up::Status(status) => {
                self.heard.push(Heard::Status {
                    id: status.id,
                    state: status.state,
                    detail: status.detail.map(str::to_owned),
                });
                if self.acknowledges {
                    self.send(&Down::StatusAck {
                        id: status.id,
                        state: status.state,
                    });
                }
            }
        }
    }

    fn batch(&mut self, bytes: &[u8]) {
        let batch = Batch::decode(bytes).unwrap();
        let header = batch.header().clone();
        let samples: Vec<_> = batch
            .samples()
            .map(|(seq, sample)| (seq, OwnedSample::from(sample.unwrap())))
            .collect();
        let through = Seq(header.first.0 - 1 + samples.len() as u64);
        let boot = header.boot;
        self.heard.push(Heard::Batch { header, samples });
        if self.acknowledges {
            self.send(&Down::Ack { boot, through });
        }
    }
}
