//! Questions to gateways at somebody's wish, and the answers: lines of a gateway's log, its figures,
//! how much it logs for a while.
//!
//! A question goes out over MQTT and its answer comes in on the gateway's own topic, piece by piece.
//! It passes the ingest log by: what a gateway logs is nobody's history here, and is in no backup. One
//! question to a gateway at a time, so many at once in all, each with an end: what is held of answers
//! is bounded by these. A piece that nobody waits for, or that does not follow the one before, is
//! counted and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand_core::Rng as _;
use stencil_mqtt::{Handle, Publish, Qos};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::question::{
    Answer, Asked, MAX_ANSWER_BYTES, MAX_PIECE_BYTES, Piece, Question, Refusal,
};
use stencil_protocol::topic::Topic;
use tokio::sync::mpsc;

use crate::metrics::{Ignored, Metrics};
use crate::policy::{Peer, namespace};
use crate::{Principal, Role};

/// Questions at once, to all gateways of all tenants.
const AT_ONCE: usize = 64;
/// Gateways of which it is remembered how often they were asked of late.
const REMEMBERED: usize = 4_096;
/// How long a gateway may say nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// How long an answer may take in all.
const WHOLE: Duration = Duration::from_secs(25);
/// Questions to one gateway that may come at once.
const BURST: u32 = 12;
/// Time in which one more may come.
const INTERVAL: Duration = Duration::from_millis(500);
/// What a piece's message has besides its bytes, at most.
const PIECE_OVERHEAD_BYTES: usize = 64;

type Key = (TenantId, GatewayId);

/// Who asks gateways. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Asking(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Mutex<HashMap<Key, Slot>>,
    metrics: Arc<Metrics>,
}

/// What is known of one gateway's questions.
#[derive(Debug)]
struct Slot {
    waiting: Option<Waiting>,
    /// When as many questions may come at once again as ever.
    full_at: Instant,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Waiting {
    number: u64,
    pieces: mpsc::Sender<Piece>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Somebody else waits for one.
    #[error("it is being asked something already")]
    UnderWay,
    /// It was asked too often of late.
    #[error("it was asked too often of late")]
    TooOften(Duration),
    /// Too many gateways are being asked.
    #[error("as many gateways are being asked as may be at once")]
    TooMany,
    /// It is not connected.
    #[error("it is not connected")]
    Away,
    /// It is connected, and has not said yet what it hears.
    #[error(
        "it has connected just now, and is not ready for questions yet: ask again in a few seconds; if it stays \
         so, its version answers none: update it"
    )]
    Unready,
    /// It is connected, and hears no questions.
    #[error("it is connected, but its version answers no questions: update it")]
    Deaf,
    /// It has not answered in time.
    #[error("it has not answered in time: the way to it may be slow; ask again, or for less")]
    Silent,
    /// Its connection was lost before it had answered.
    #[error("its connection was lost before it had answered")]
    Lost,
    /// What it answers makes no sense.
    #[error("its answer makes no sense: {0}")]
    Nonsense(String),
    /// It does not do that.
    #[error("{0}")]
    Refused(&'static str),
}

impl Asking {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            slots: Mutex::default(),
            metrics,
        }))
    }

    /// Asks a gateway, and waits for its answer.
    pub(crate) async fn ask(
        &self,
        endpoint: &Handle<Peer>,
        tenant: &TenantId,
        gateway: &GatewayId,
        what: Asked,
    ) -> Result<Answer, NoAnswer> {
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let space = namespace(&principal);
        let topic = |topic: Topic| topic.to_string();
        if endpoint.listeners(&space, &topic(Topic::GatewayCommand(gateway.clone()))) == 0 {
            return Err(NoAnswer::Away);
        }
        let mut place = self.place((tenant.clone(), gateway.clone()), Instant::now())?;
        let number = place.number;
        let bytes = Question { number, what }.encode();
        // A gateway names what it hears one by one, this before its certificate.
        let certificate = topic(Topic::GatewayCertificate(gateway.clone()));
        let is_ready = endpoint.listeners(&space, &certificate) > 0;
        let topic = topic(Topic::GatewayAsk(gateway.clone()));
        match endpoint.publish(&space, &topic, bytes, Qos::AtLeastOnce, false) {
            Ok(0) if !is_ready => return Err(NoAnswer::Unready),
            Ok(0) => return Err(NoAnswer::Deaf),
            Ok(_) => {}
            Err(error) => return Err(NoAnswer::Nonsense(error.to_string())),
        }
        let answer = tokio::time::timeout(WHOLE, place.whole()).await;
        let answer = answer.unwrap_or(Err(NoAnswer::Silent))?;
        match Answer::decode(&answer) {
            Ok(Answer::Refused(why)) => Err(NoAnswer::Refused(in_words(why))),
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.0.metrics.answer_ignored(Ignored::Malformed);
                Err(NoAnswer::Nonsense(error.to_string()))
            }
        }
    }

    /// Takes what a gateway publishes on the topic of its answers. Waits for nothing.
    pub(crate) fn take(&self, from: &Principal, publish: &Publish<'_>) {
        if let Err(why) = self.took(from, publish.payload) {
            self.0.metrics.answer_ignored(why);
            tracing::debug!(tenant = %from.tenant, topic = publish.topic, ?why,
                "an answer of a gateway is ignored");
        }
    }

    fn took(&self, from: &Principal, payload: &[u8]) -> Result<(), Ignored> {
        let Role::Gateway(gateway) = &from.role else {
            return Err(Ignored::Unsolicited);
        };
        if payload.len() > MAX_PIECE_BYTES + PIECE_OVERHEAD_BYTES {
            return Err(Ignored::TooLarge);
        }
        let piece = Piece::decode(payload).map_err(|_| Ignored::Malformed)?;
        let mut slots = self.slots();
        let slot = slots.get_mut(&(from.tenant.clone(), gateway.clone()));
        let slot = slot.ok_or(Ignored::Unsolicited)?;
        let waiting = slot.waiting.as_ref();
        let waiting = waiting.filter(|waiting| waiting.number == piece.number);
        let waiting = waiting.ok_or(Ignored::Unsolicited)?;
        waiting
            .pieces
            .try_send(piece)
            .map_err(|_| Ignored::TooLarge)
    }

    /// A gateway's session has ended: there is nothing to wait for.
    pub(crate) fn gone(&self, tenant: &TenantId, gateway: &GatewayId) {
        let key = (tenant.clone(), gateway.clone());
        if let Some(slot) = self.slots().get_mut(&key) {
            slot.waiting = None;
        }
    }

    /// Who was missed may have been anybody.
    pub(crate) fn all_gone(&self) {
        let mut slots = self.slots();
        slots.values_mut().for_each(|slot| slot.waiting = None);
    }

    /// Takes the place of the one who waits for this gateway.
    fn place(&self, key: Key, now: Instant) -> Result<Place, NoAnswer> {
        let mut slots = self.slots();
        let waiting = slots.values().filter(|slot| slot.waiting.is_some());
        if waiting.count() >= AT_ONCE {
            return Err(NoAnswer::TooMany);
        }
        if slots.len() >= REMEMBERED {
            slots.retain(|_, slot| slot.waiting.is_some() || slot.full_at > now);
            if slots.len() >= REMEMBERED && !slots.contains_key(&key) {
                return Err(NoAnswer::TooMany);
            }
        }
        let slot = slots.entry(key.clone()).or_insert_with(|| Slot {
            waiting: None,
            full_at: now,
        });
        if slot.waiting.is_some() {
            return Err(NoAnswer::UnderWay);
        }
        let full_at = slot.full_at.max(now) + INTERVAL;
        let over = full_at.saturating_duration_since(now + INTERVAL * BURST);
        if !over.is_zero() {
            return Err(NoAnswer::TooOften(over));
        }
        slot.full_at = full_at;
        let number = stencil_crypto::rng::Os.next_u64();
        let (to, pieces) = mpsc::channel(MAX_ANSWER_BYTES.div_ceil(MAX_PIECE_BYTES) + 4);
        slot.waiting = Some(Waiting { number, pieces: to });
        Ok(Place {
            asking: self.clone(),
            key,
            number,
            pieces,
            silence: SILENCE,
        })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of who waits; given back when this is dropped.
struct Place {
    asking: Asking,
    key: Key,
    number: u64,
    pieces: mpsc::Receiver<Piece>,
    silence: Duration,
}

impl Place {
    /// The answer, when all of it is here.
    async fn whole(&mut self) -> Result<Vec<u8>, NoAnswer> {
        let mut bytes = Vec::new();
        loop {
            let next = tokio::time::timeout(self.silence, self.pieces.recv()).await;
            let piece = next.map_err(|_| NoAnswer::Silent)?;
            let piece = piece.ok_or(NoAnswer::Lost)?;
            if usize::try_from(piece.offset) != Ok(bytes.len()) {
                return Err(self.nonsense(Ignored::Malformed, "a piece of it is missing"));
            }
            if bytes.len() + piece.bytes.len() > MAX_ANSWER_BYTES {
                return Err(self.nonsense(Ignored::TooLarge, "it is too long"));
            }
            if piece.bytes.is_empty() && !piece.last {
                return Err(self.nonsense(Ignored::Malformed, "it does not go on"));
            }
            bytes.extend_from_slice(&piece.bytes);
            if piece.last {
                return Ok(bytes);
            }
        }
    }

    fn nonsense(&self, why: Ignored, what: &str) -> NoAnswer {
        self.asking.0.metrics.answer_ignored(why);
        NoAnswer::Nonsense(what.to_owned())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut slots = self.asking.slots();
        if let Some(slot) = slots.get_mut(&self.key)
            && slot.waiting.as_ref().map(|waiting| waiting.number) == Some(self.number)
        {
            slot.waiting = None;
        }
    }
}

fn in_words(why: Refusal) -> &'static str {
    match why {
        Refusal::Unknown => "its version does not know this question: update it",
        Refusal::NotAllowed => {
            "it lets nothing be set from afar: `desired.accept` is false in its own file"
        }
        Refusal::TooOften => "it was asked too often of late",
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::question::Level;

    use super::*;

    fn key(gateway: &str) -> Key {
        let tenant = TenantId::parse("acme").unwrap();
        (tenant, GatewayId::parse(gateway).unwrap())
    }

    fn from(key: &Key) -> Principal {
        Principal {
            tenant: key.0.clone(),
            role: Role::Gateway(key.1.clone()),
        }
    }

    fn piece(number: u64, offset: usize, last: bool, bytes: &[u8]) -> Vec<u8> {
        let piece = Piece {
            number,
            offset: u32::try_from(offset).unwrap(),
            last,
            bytes: bytes.to_vec(),
        };
        piece.encode().unwrap()
    }

    fn asking() -> (Asking, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        (Asking::new(Arc::clone(&metrics)), metrics)
    }

    #[tokio::test]
    async fn an_answer_comes_together_from_its_pieces() {
        let (asking, _) = asking();
        let key = key("gw-1");
        let mut place = asking.place(key.clone(), Instant::now()).unwrap();
        let answer = Answer::Level {
            level: Some(Level::Debug),
            seconds: 600,
        };
        let bytes = answer.encode().unwrap();
        for (at, byte) in bytes.iter().enumerate() {
            let last = at + 1 == bytes.len();
            let piece = piece(place.number, at, last, &[*byte]);
            asking.took(&from(&key), &piece).unwrap();
        }
        assert_eq!(place.whole().await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_ignored() {
        let (asking, _) = asking();
        let (one, other) = (key("gw-1"), key("gw-2"));
        let rival = (TenantId::parse("rival").unwrap(), one.1.clone());
        let stray = |key: &Key, number| asking.took(&from(key), &piece(number, 0, true, b"x"));
        assert_eq!(stray(&one, 7), Err(Ignored::Unsolicited));
        let place = asking.place(one.clone(), Instant::now()).unwrap();
        let number = place.number;
        for (key, number) in [(&one, number ^ 1), (&other, number), (&rival, number)] {
            assert_eq!(stray(key, number), Err(Ignored::Unsolicited));
        }
        assert_eq!(stray(&one, number), Ok(()));
        let large = vec![0; MAX_PIECE_BYTES + PIECE_OVERHEAD_BYTES + 1];
        assert_eq!(asking.took(&from(&one), &large), Err(Ignored::TooLarge));
        assert_eq!(asking.took(&from(&one), b"x"), Err(Ignored::Malformed));
        drop(place);
        assert_eq!(stray(&one, number), Err(Ignored::Unsolicited));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_or_has_gaps_is_none() {
        let (asking, metrics) = asking();
        let key = key("gw-1");
        let full = vec![0; MAX_PIECE_BYTES];
        let mut place = asking.place(key.clone(), Instant::now()).unwrap();
        for n in 0..=MAX_ANSWER_BYTES / MAX_PIECE_BYTES {
            let piece = piece(place.number, n * MAX_PIECE_BYTES, false, &full);
            asking.took(&from(&key), &piece).unwrap();
        }
        assert!(matches!(place.whole().await, Err(NoAnswer::Nonsense(_))));
        drop(place);
        for (offset, bytes) in [(1, &b"x"[..]), (0, b"")] {
            let mut place = asking.place(key.clone(), Instant::now()).unwrap();
            let piece = piece(place.number, offset, false, bytes);
            asking.took(&from(&key), &piece).unwrap();
            assert!(matches!(place.whole().await, Err(NoAnswer::Nonsense(_))));
        }
        let mut text = String::new();
        metrics.render(&mut text);
        for (reason, count) in [("too_large", 1), ("malformed", 2), ("unsolicited", 0)] {
            let line = format!("gateway_answers_ignored_total{{reason=\"{reason}\"}} {count}\n");
            assert!(text.contains(&line), "{line}: {text}");
        }
        // More than anybody could take up is not held.
        let place = asking.place(key.clone(), Instant::now()).unwrap();
        let one = piece(place.number, 0, false, b"x");
        let held = (0..1_000).filter(|_| asking.took(&from(&key), &one).is_ok());
        assert_eq!(held.count(), 16);
    }

    #[tokio::test]
    async fn one_at_a_time_and_not_too_often() {
        let (asking, _) = asking();
        let (gw_1, now) = (key("gw-1"), Instant::now());
        let ask = |now| asking.place(gw_1.clone(), now);
        let place = ask(now).unwrap();
        assert!(matches!(ask(now), Err(NoAnswer::UnderWay)));
        drop(place);
        let taken = (0..100).filter(|_| ask(now).is_ok()).count();
        assert_eq!(taken, BURST as usize - 1);
        let Err(NoAnswer::TooOften(wait)) = ask(now) else {
            panic!("it is asked too often");
        };
        assert!(ask(now + wait).is_ok());
        // Others have their own, up to a bound.
        let places: Vec<_> = (0..AT_ONCE)
            .map(|n| asking.place(key(&format!("other-{n}")), now).unwrap())
            .collect();
        let one_more = || asking.place(key("more"), now);
        assert!(matches!(one_more(), Err(NoAnswer::TooMany)));
        drop(places);
        assert!(one_more().is_ok());
    }

    #[tokio::test]
    async fn who_waits_is_told_of_the_end_of_the_session_and_of_silence() {
        let (asking, _) = asking();
        let key = key("gw-1");
        let place = || asking.place(key.clone(), Instant::now()).unwrap();
        for all in [false, true] {
            let mut place = place();
            let half = piece(place.number, 0, false, b"x");
            asking.took(&from(&key), &half).unwrap();
            match all {
                true => asking.all_gone(),
                false => asking.gone(&key.0, &key.1),
            }
            assert!(matches!(place.whole().await, Err(NoAnswer::Lost)));
        }
        let mut place = place();
        place.silence = Duration::from_millis(10);
        assert!(matches!(place.whole().await, Err(NoAnswer::Silent)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (asking, _) = asking();
        for n in 0..REMEMBERED * 2 {
            let _ = asking.place(key(&format!("gw-{n}")), Instant::now());
        }
        assert!(asking.slots().len() <= REMEMBERED);
    }
}
