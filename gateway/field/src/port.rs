//! What a field protocol implements.
//!
//! A [`Source`] has one connection and the devices on it. It runs until it is dropped, and says
//! into its [`Sink`] what it reads, whether it polls (Modbus), subscribes (OPC UA) or listens
//! (MQTT). What a value means (scale, validity, deadband) is not its business, and neither is what
//! becomes of it.
//!
//! A source keeps the line busy as little as it can, tries again by itself, backs off from what
//! does not answer, and says of each device whether it answers: [`Sink::answers`] and
//! [`Sink::silent`] as often as it likes, only changes are passed on.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use stencil_protocol::{id::DeviceId, line::Line, sample::OwnedValue};
use tokio::sync::mpsc;

use crate::Fault;

/// How many events may wait between sources and intake; then sources wait.
pub(crate) const MAX_WAITING: usize = 1_024;

/// A connection with its devices.
pub trait Source: Send + 'static {
    /// What its devices' readings are recorded to have come over.
    fn line(&self) -> Line;

    /// Reads until it is dropped, which may be at any point at which it waits.
    fn run(self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A value of a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Whose.
    pub device: DeviceId,
    /// The point's name in the mapping.
    pub point: Arc<str>,
    /// The value as the device gives it, before the mapping's scale.
    pub value: OwnedValue,
    /// When the device had it: the moment of the answer, or the device's own time where the
    /// protocol tells one; microseconds since the Unix epoch.
    pub at_us: i64,
    /// What the device thinks of it.
    pub quality: Quality,
}

/// What a device thinks of a value of its own. Bad ones are faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quality {
    /// It stands.
    Good,
    /// It is sent, and marked, with the reason.
    Uncertain(Arc<str>),
}

/// What a source says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Reading(Reading),
    /// A point has no value.
    Fault {
        device: DeviceId,
        point: Arc<str>,
        fault: Fault,
        at_us: i64,
    },
    /// A device answers.
    Answers {
        device: DeviceId,
        at_us: i64,
    },
    /// A device does not answer.
    Silent {
        device: DeviceId,
        fault: Fault,
        at_us: i64,
    },
}

/// Where a source says it. All wait while the intake has much to do, and lose nothing.
#[derive(Clone, Debug)]
pub struct Sink {
    to: mpsc::Sender<(u64, Event)>,
    /// Which start of a source this is: what an earlier one left in the channel is passed over.
    epoch: u64,
}

impl Sink {
    pub(crate) fn new(to: mpsc::Sender<(u64, Event)>, epoch: u64) -> Self {
        Self { to, epoch }
    }

    /// A point has a value. It implies that its device answers.
    pub async fn reading(&self, reading: Reading) {
        self.say(Event::Reading(reading)).await;
    }

    /// A point has no value now, though its device answers.
    pub async fn fault(&self, device: &DeviceId, point: &Arc<str>, fault: Fault) {
        self.say(Event::Fault {
            device: device.clone(),
            point: Arc::clone(point),
            fault,
            at_us: now_us(),
        })
        .await;
    }

    /// A device answers.
    pub async fn answers(&self, device: &DeviceId) {
        self.say(Event::Answers {
            device: device.clone(),
            at_us: now_us(),
        })
        .await;
    }

    /// A device does not answer, as far as is known by now.
    pub async fn silent(&self, device: &DeviceId, fault: Fault) {
        self.say(Event::Silent {
            device: device.clone(),
            fault,
            at_us: now_us(),
        })
        .await;
    }

    async fn say(&self, event: Event) {
        // Nobody listens any more: the source is about to be dropped.
        let _ = self.to.send((self.epoch, event)).await;
    }
}

/// How far a device's clock may be ahead of ours, in µs: half of what the hub takes of a gateway's, so
/// that their clocks may differ, too. What the hub does not take would be lost behind our
/// acknowledgement.
const AHEAD_US: i64 = 300 * 1_000_000;
/// 2025-01-01: a clock of ours that is before it was not set, and is no measure.
const SET_US: i64 = 1_735_689_600 * 1_000_000;

/// Whether a device's time is too far ahead of ours.
pub(crate) fn is_ahead(at_us: i64, now_us: i64) -> bool {
    now_us >= SET_US && at_us > now_us.saturating_add(AHEAD_US)
}

/// Now, in microseconds since the Unix epoch.
#[must_use]
pub fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}
