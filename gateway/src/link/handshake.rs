//! The gateway's side of a handshake on one link, as a state machine: frames and the time come
//! in, frames go out.
//!
//! Until a device has shown a cookie of this link, nothing is kept for it but the numbers of the
//! last few challenges; only fragments of a hello that answers one of them get a buffer, one a
//! link. Until a record opens, the session is a candidate beside the one in use.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use stencil_crypto::{
    Psk, Suite,
    link::{self, Cookies, Hello, Open, Resume, Resumption, Session},
    rng,
};
use stencil_protocol::{
    fragment::{Assembly, Fragment, HEADER_BYTES, Progress, Received, Sender},
    frame::Kind,
    id::DeviceId,
};

use super::session::{Refusal, Secured, Who, device};

/// How many challenges of a link are remembered.
const CHALLENGES: usize = 4;
/// How long a hello may take from its first fragment to its last.
const HELLO_US: u64 = 30_000_000;
/// How long to wait for word of the answer's fragments at first.
const ANSWER_WAIT_US: u64 = 200_000;

/// What a link's handshakes are made with, for all links of the process.
pub(crate) struct Porter {
    cookies: Cookies,
    started: Instant,
    links: AtomicU64,
}

impl Porter {
    pub(crate) fn new() -> Result<Self, link::Error> {
        Ok(Self {
            cookies: Cookies::new(&mut rng::Os)?,
            started: Instant::now(),
            links: AtomicU64::new(0),
        })
    }

    fn now_s(&self) -> u32 {
        // Wraps around after 136 years.
        u32::try_from(self.started.elapsed().as_secs() & u64::from(u32::MAX)).unwrap_or_default()
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A session that no record has opened yet.
pub(super) struct Candidate {
    pub(super) secured: Secured,
    /// What is kept once it is confirmed; fresh keys, or the secret after the one it came from.
    pub(super) left: Resumption,
    /// When fresh keys were agreed on: now, if nothing is given.
    pub(super) fresh_us: Option<i64>,
    /// The message to resume that it came from, and the answer: who says the same again, as it
    /// was not heard, is told the same again.
    resumed: Option<(Vec<u8>, [u8; link::RESUMED_BYTES])>,
}

/// What a frame led to.
pub(super) enum Step {
    /// Nothing to be done, or only what [`Handshake::next`] gives.
    Done,
    /// This is to be sent.
    Send(Kind, Vec<u8>),
    /// A hello is whole.
    Hello(Vec<u8>),
    /// It does not belong here.
    Nonsense,
}

/// Handshakes on one link.
pub(super) struct Handshake {
    /// Names the link to the cookies: none of another link, or of this line before it was
    /// opened anew, is worth anything here.
    place: [u8; 8],
    part_bytes: u16,
    /// The numbers of the challenges that were given last, the newest at the end.
    challenges: VecDeque<u32>,
    assembly: Assembly,
    hello: Vec<u8>,
    answer: Option<(Sender, Vec<u8>)>,
    pub(super) candidate: Option<Candidate>,
}

impl Handshake {
    pub(super) fn new(porter: &Porter, part_bytes: u16) -> Self {
        let place = porter.links.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self {
            place,
            part_bytes,
            challenges: VecDeque::with_capacity(CHALLENGES),
            assembly: Assembly::new(),
            hello: Vec::new(),
            answer: None,
            candidate: None,
        }
    }

    /// Answers a first message with a challenge. Keeps four bytes of it.
    pub(super) fn open(&mut self, porter: &Porter, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let open = Open::parse(payload).map_err(Refusal::Hello)?;
        let suite = open.choose(Suite::ALL).map_err(Refusal::Hello)?;
        let challenge = porter
            .cookies
            .challenge(&open, suite, &self.place, porter.now_s())
            .map_err(Refusal::Hello)?;
        let id = link::handshake_id(&challenge);
        if !self.challenges.contains(&id) {
            if self.challenges.len() >= CHALLENGES {
                self.challenges.pop_front();
            }
            self.challenges.push_back(id);
        }
        Ok(challenge.to_vec())
    }

    /// Takes a fragment of a hello.
    pub(super) fn fragment(&mut self, porter: &Porter, payload: &[u8]) -> Step {
        let Ok(fragment) = Fragment::parse(payload) else {
            return Step::Nonsense;
        };
        let now_us = porter.now_us();
        if self.assembly.is_stale(now_us, HELLO_US) {
            self.assembly.clear();
        }
        let given = |id| self.challenges.iter().position(|given| *given == id);
        if self.assembly.id() != Some(fragment.id()) {
            // Of a challenge of ours, and not of one before that which is being answered.
            let current = self.assembly.id().and_then(given);
            match given(fragment.id()) {
                Some(at) if current.is_none_or(|current| at > current) => {}
                _ => return Step::Nonsense,
            }
        }
        let asked = fragment.asks();
        let begins = self.hello.is_empty();
        self.hello.resize(link::HELLO_MAX_BYTES, 0);
        let taken = self.assembly.take(&fragment, now_us, &mut self.hello);
        if begins && taken != Ok(Progress::Partial) && !matches!(taken, Ok(Progress::Whole(_))) {
            // Of a hello that was whole before, or of none.
            self.hello = Vec::new();
        }
        match taken {
            Ok(Progress::Whole(length)) => {
                // One hello a challenge: what is sent again is told of, not computed again.
                self.challenges.retain(|given| *given != fragment.id());
                let mut hello = std::mem::take(&mut self.hello);
                hello.truncate(length);
                Step::Hello(hello)
            }
            Ok(_) => self.tell(asked),
            Err(_) => Step::Nonsense,
        }
    }

    fn tell(&self, asked: bool) -> Step {
        match self.received().filter(|_| asked) {
            Some(received) => Step::Send(Kind::Received, received),
            None => Step::Done,
        }
    }

    /// What has come of the hello.
    pub(super) fn received(&self) -> Option<Vec<u8>> {
        let received = self.assembly.received()?;
        Some(received.to_bytes().to_vec())
    }

    /// What has come of the answer.
    pub(super) fn told(&mut self, payload: &[u8]) -> Step {
        match (Received::parse(payload), &mut self.answer) {
            (Ok(told), Some((sender, _))) => {
                sender.received(&told);
                Step::Done
            }
            // Of an answer whose session is in use by now.
            (Ok(_), None) => Step::Done,
            (Err(_), _) => Step::Nonsense,
        }
    }

    /// The identity whose hello it is, if it shows a cookie of this link.
    pub(super) fn who(&self, porter: &Porter, hello: &[u8]) -> Result<DeviceId, Refusal> {
        let hello = Hello::parse(hello).map_err(Refusal::Hello)?;
        porter
            .cookies
            .check(&hello, &self.place, porter.now_s())
            .map_err(Refusal::Hello)?;
        device(hello.identity())
    }

    /// Answers a hello whose cookie was checked. After an error another key may be tried.
    pub(super) fn hello(&mut self, who: Who, psk: &Psk, hello: &[u8]) -> Result<(), Refusal> {
        let hello = Hello::parse(hello).map_err(Refusal::Hello)?;
        let mut answer = vec![0; link::ANSWER_BYTES];
        match link::respond(&hello, psk, &mut rng::Os, &mut answer) {
            Ok((established, length)) => {
                answer.truncate(length);
                let id = hello.handshake_id();
                self.answer = Sender::new(id, length, self.part_bytes, ANSWER_WAIT_US)
                    .ok()
                    .map(|sender| (sender, answer));
                self.candidate = Some(Candidate {
                    secured: Secured::new(who, established.session),
                    left: established.resumption,
                    fresh_us: None,
                    resumed: None,
                });
                Ok(())
            }
            Err(why) => Err(Refusal::Proof {
                device: who.device,
                why,
            }),
        }
    }

    /// Whether this message to resume was answered already, and with what.
    pub(super) fn resumed(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (before, answer) = self.candidate.as_ref()?.resumed.as_ref()?;
        (before == message).then(|| answer.to_vec())
    }

    /// Answers a message to resume with what is kept for its identity. Also gives the secret that
    /// the device has shown.
    pub(super) fn resume(
        &mut self,
        who: Who,
        psk: &Psk,
        message: &[u8],
        kept: &Resumption,
        fresh_us: i64,
    ) -> Result<(Vec<u8>, Resumption), Refusal> {
        let resume = Resume::parse(message).map_err(Refusal::Hello)?;
        let mut answer = [0; link::RESUMED_BYTES];
        match resume.respond(psk, kept, &mut rng::Os, &mut answer) {
            Ok((resumed, _)) => {
                self.answer = None;
                self.candidate = Some(Candidate {
                    secured: Secured::new(who, resumed.session),
                    left: resumed.next,
                    fresh_us: Some(fresh_us),
                    resumed: Some((message.to_vec(), answer)),
                });
                Ok((answer.to_vec(), resumed.shown))
            }
            Err(why) => Err(Refusal::Proof {
                device: who.device,
                why,
            }),
        }
    }

    /// The candidate has opened a record: it is given away, and its answer has come.
    pub(super) fn confirmed(&mut self) -> Option<Candidate> {
        self.answer = None;
        self.candidate.take()
    }

    /// The session that is waiting for its first record.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        Some(&mut self.candidate.as_mut()?.secured.session)
    }

    /// When [`Handshake::next`] has something to send, in microseconds of the porter's.
    pub(super) fn due_us(&self) -> Option<u64> {
        self.answer.as_ref()?.0.due_us()
    }

    /// The next fragment of the answer, if one is due.
    pub(super) fn next(&mut self, porter: &Porter) -> Option<Vec<u8>> {
        let (sender, answer) = self.answer.as_mut()?;
        let mut payload = vec![0; HEADER_BYTES + answer.len()];
        let length = sender.next(answer, porter.now_us(), &mut payload).ok()??;
        payload.truncate(length);
        Some(payload)
    }
}
