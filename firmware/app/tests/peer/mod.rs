//! A gateway's end of the link, scripted: real frames, real handshake, no I/O.
//! The simulators' tests use it too, over TCP.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::convert::Infallible;

use stencil_crypto::link::{self, Cookies, Hello, Open, Resume, Resumption, Session};
use stencil_crypto::{Psk, Suite};
use stencil_protocol::batch::{Batch, Header};
use stencil_protocol::command::State;
use stencil_protocol::fragment::{self, Assembly, Fragment, Progress, Received, Sender};
use stencil_protocol::frame::{self, Decoder, Kind};
use stencil_protocol::id::{CommandId, Seq};
use stencil_protocol::link::{Down, Up};
use stencil_protocol::sample::OwnedSample;
use stencil_protocol::transfer::{Chunk, MAX_CHUNK_BYTES, Slot, Verdict, Want};

/// What came from the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Hello(String),
    Resume(String),
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
    Running {
        sequence: u64,
        confirmed: u64,
        other: Slot,
        verdict: Option<Verdict>,
    },
    Want(Want),
    Verdict(Verdict),
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
    pub psk: Psk,
    /// Another key that is good for the device.
    pub other: Option<Psk>,
    dice: Dice,
    decoder: Decoder,
    cookies: Cookies,
    assembly: Assembly,
    buffer: Vec<u8>,
    answer: Option<(Sender, Vec<u8>)>,
    /// A resumption that was answered, and its answer: the same again for the same.
    resumed: Option<(Vec<u8>, Vec<u8>)>,
    /// What is kept for the next session, and what takes its place when this one is
    /// confirmed.
    pub kept: Option<Resumption>,
    next: Option<Resumption>,
    /// Refuses to resume, as after its memory was lost.
    pub forgetful: bool,
    /// The session that is being begun, beside the one in use.
    candidate: Option<Session>,
    session: Option<Session>,
    out: Vec<u8>,
    last_record: Vec<u8>,
    /// The time that it tells.
    pub now_us: i64,
    /// Acknowledge batches and statuses.
    pub acknowledges: bool,
    /// Tell the time to who gives a sign of life.
    pub tells_time: bool,
    /// Everything that came and was understood.
    pub heard: Vec<Heard>,
    /// Frames and records that were not understood.
    pub garbage: u32,
    /// What it offers to who says what runs, and sends to who wants it.
    pub package: Vec<u8>,
    pub chunk_bytes: usize,
    /// Offers also what runs already.
    pub insists: bool,
}

impl Peer {
    pub fn new(psk: Psk, seed: u64) -> Self {
        Self {
            psk,
            other: None,
            cookies: Cookies::new(&mut Dice(seed + 1)).unwrap(),
            dice: Dice(seed),
            decoder: Decoder::new(),
            assembly: Assembly::new(),
            buffer: vec![0; fragment::MAX_MESSAGE_BYTES],
            answer: None,
            resumed: None,
            kept: None,
            next: None,
            forgetful: false,
            candidate: None,
            session: None,
            out: Vec::new(),
            last_record: Vec::new(),
            now_us: 1_700_000_000_000_000,
            acknowledges: true,
            tells_time: true,
            heard: Vec::new(),
            garbage: 0,
            package: Vec::new(),
            chunk_bytes: MAX_CHUNK_BYTES,
            insists: false,
        }
    }

    /// A new connection, or a restart: all is forgotten but what sessions are resumed with.
    pub fn forget(&mut self) {
        self.session = None;
        self.candidate = None;
        self.assembly = Assembly::new();
        self.answer = None;
        self.resumed = None;
        self.next = None;
        self.decoder = Decoder::new();
        self.out.clear();
    }

    /// Bytes for the device.
    pub fn take_out(&mut self) -> Vec<u8> {
        self.pump();
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
                Kind::Open => self.open(&payload),
                Kind::Fragment => self.fragment(&payload),
                Kind::Received => match (Received::parse(&payload), &mut self.answer) {
                    (Ok(told), Some((sender, _))) => sender.received(&told),
                    _ => self.garbage += 1,
                },
                Kind::Resume => self.resume(&payload),
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

    fn pump(&mut self) {
        let now_us = u64::try_from(self.now_us).unwrap();
        let Some((mut sender, answer)) = self.answer.take() else {
            return;
        };
        let mut payload = [0; 512];
        while let Some(length) = sender.next(&answer, now_us, &mut payload).unwrap() {
            self.put(Kind::Fragment, &payload[..length]);
        }
        self.answer = Some((sender, answer));
    }

    fn open(&mut self, payload: &[u8]) {
        let Ok(open) = Open::parse(payload) else {
            self.garbage += 1;
            return;
        };
        let suite = open.choose(Suite::ALL).unwrap();
        let challenge = self.cookies.challenge(&open, suite, b"peer", 0).unwrap();
        self.put(Kind::Challenge, &challenge);
    }

    fn fragment(&mut self, payload: &[u8]) {
        let Ok(fragment) = Fragment::parse(payload) else {
            self.garbage += 1;
            return;
        };
        let now_us = u64::try_from(self.now_us).unwrap();
        let taken = self.assembly.take(&fragment, now_us, &mut self.buffer);
        let whole = match taken {
            Ok(Progress::Whole(length)) => Some(length),
            Ok(_) => None,
            Err(_) => {
                self.garbage += 1;
                return;
            }
        };
        if fragment.asks() || whole.is_some() {
            let received = self.assembly.received().unwrap().to_bytes();
            self.put(Kind::Received, &received);
        }
        if let Some(length) = whole {
            let hello = self.buffer[..length].to_vec();
            self.hello(&hello);
        }
    }

    fn hello(&mut self, payload: &[u8]) {
        let Ok(hello) = Hello::parse(payload) else {
            self.garbage += 1;
            return;
        };
        if self.cookies.check(&hello, b"peer", 0).is_err() {
            return self.put(Kind::Refused, &[1]);
        }
        let identity = String::from_utf8(hello.identity().to_vec()).unwrap();
        let mut answer = vec![0; link::ANSWER_BYTES];
        let mut respond = |psk| link::respond(&hello, psk, &mut self.dice, &mut answer);
        let mut responded = respond(&self.psk);
        if let (Err(_), Some(other)) = (&responded, &self.other) {
            responded = respond(other);
        }
        match responded {
            Ok((established, length)) => {
                self.candidate = Some(established.session);
                self.next = Some(established.resumption);
                self.heard.push(Heard::Hello(identity));
                answer.truncate(length);
                let id = hello.handshake_id();
                let sender = Sender::new(id, length, 128, 100_000).unwrap();
                self.answer = Some((sender, answer));
            }
            Err(_) => self.put(Kind::Refused, &[1]),
        }
    }

    fn resume(&mut self, payload: &[u8]) {
        if let Some((message, answer)) = &self.resumed
            && message == payload
        {
            let answer = answer.clone();
            return self.put(Kind::Resumed, &answer);
        }
        let Ok(resume) = Resume::parse(payload) else {
            self.garbage += 1;
            return;
        };
        let mut answer = [0; link::RESUMED_BYTES];
        let kept = self.kept.clone().filter(|_| !self.forgetful);
        let resumed = kept.and_then(|kept| {
            resume
                .respond(&self.psk, &kept, &mut self.dice, &mut answer)
                .ok()
        });
        let Some((resumed, _)) = resumed else {
            return self.put(Kind::Refused, &[2]);
        };
        let identity = String::from_utf8(resume.identity().to_vec()).unwrap();
        self.heard.push(Heard::Resume(identity));
        self.candidate = Some(resumed.session);
        self.kept = Some(resumed.shown);
        self.next = Some(resumed.next);
        self.resumed = Some((payload.to_vec(), answer.to_vec()));
        self.put(Kind::Resumed, &answer);
    }

    fn record(&mut self, payload: &[u8]) {
        let mut probe = [0; frame::MAX_PAYLOAD];
        let of_candidate = self
            .candidate
            .as_mut()
            .and_then(|session| session.open(payload, &mut probe).ok());
        if let Some(length) = of_candidate {
            self.session = self.candidate.take();
            self.kept = self.next.take().or(self.kept.take());
            self.answer = None;
            let plain = probe[..length].to_vec();
            return self.message(&plain);
        }
        let Some(session) = &mut self.session else {
            if self.candidate.is_none() {
                self.put(Kind::Refused, &[2]);
            }
            return;
        };
        let mut plain = [0; frame::MAX_PAYLOAD];
        let Ok(length) = session.open(payload, &mut plain) else {
            self.garbage += 1;
            return;
        };
        self.message(&plain[..length]);
    }

    fn message(&mut self, plain: &[u8]) {
        match Up::decode(plain).unwrap() {
            Up::Ping => {
                self.heard.push(Heard::Ping);
                if self.tells_time {
                    self.send(&Down::Time {
                        now_us: self.now_us,
                    });
                }
            }
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
            Up::Running(running) => {
                self.heard.push(Heard::Running {
                    sequence: running.sequence,
                    confirmed: running.confirmed,
                    other: running.other,
                    verdict: running.verdict,
                });
                if self.tells_time {
                    self.send(&Down::Time {
                        now_us: self.now_us,
                    });
                }
                // The digest's place in the header.
                if self.package.get(56..88) != Some(&running.digest[..]) || self.insists {
                    self.offer();
                }
            }
            Up::Want(want) => {
                self.heard.push(Heard::Want(want));
                self.chunk(&want);
            }
            Up::Verdict(verdict) => self.heard.push(Heard::Verdict(verdict)),
        }
    }

    /// Offers the package, if there is one.
    pub fn offer(&mut self) {
        if let Some(header) = self.package.first_chunk().copied() {
            self.send(&Down::Offer(&header));
        }
    }

    fn chunk(&mut self, want: &Want) {
        let from = usize::try_from(want.offset).unwrap();
        let package = std::mem::take(&mut self.package);
        let rest = package.get(from..).unwrap_or_default();
        let bytes = &rest[..rest.len().min(self.chunk_bytes)];
        if !bytes.is_empty() {
            self.send(&Down::Chunk(Chunk {
                name: want.name,
                offset: want.offset,
                bytes,
            }));
        }
        self.package = package;
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
