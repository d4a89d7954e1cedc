//! Reads the devices of a connection, each point as often as it is asked for.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use stencil_protocol::{line::Line, sample::OwnedValue};
use tokio::time::{Instant, sleep_until};

use super::{
    address::Format,
    bus::{Answer, Bus},
    decode,
    plan::{self, Ask},
};
use crate::{
    Fault, Of,
    mapping::{Connection, Device, Link, Point, Target},
    port::{Quality, Reading, Sink, Source, now_us},
};

/// The first wait before what did not answer is asked again.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest time that is kept from a device that answers, but refuses.
const MAX_REFUSED: Duration = Duration::from_secs(300);

/// The most that one point takes.
pub(super) const MAX_SPAN: u16 = 125;

/// A connection that is polled.
pub(crate) struct Poller {
    connection: Arc<Connection>,
    bus: Bus,
    devices: Vec<Polled>,
    /// The connection's own fault: until when it is left alone, and how long that was.
    waits: Option<(Instant, Duration)>,
}

struct Polled {
    device: Arc<Device>,
    unit: u8,
    asks: Vec<Due>,
    /// It was silent: until when it is left alone, and how long that was.
    waits: Option<(Instant, Duration)>,
}

struct Due {
    ask: Ask,
    at: Instant,
    /// It was refused: how long it is left alone.
    refused: Option<Duration>,
}

impl Source for Poller {
    fn line(&self) -> Line {
        self.connection.protocol.line()
    }

    fn run(mut self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                self.step(&sink).await;
            }
        })
    }
}

impl Poller {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        let now = Instant::now();
        let devices = connection.devices.iter().filter_map(|device| {
            let Link::Modbus(unit) = device.link else {
                return None;
            };
            let due = |ask| Due {
                ask,
                at: now,
                refused: None,
            };
            Some(Polled {
                device: Arc::clone(device),
                unit: unit.number,
                asks: plan::plan(device).into_iter().map(due).collect(),
                waits: None,
            })
        });
        Self {
            devices: devices.collect(),
            bus: Bus::new(&connection),
            connection,
            waits: None,
        }
    }

    /// Waits for what is due first, and asks for it.
    async fn step(&mut self, sink: &Sink) {
        let Some((device, ask, at)) = self.next() else {
            return std::future::pending().await;
        };
        sleep_until(at).await;
        let answer = self.read(device, ask).await;
        let now = Instant::now();
        let max_backoff = self.connection.max_backoff;
        let Some(polled) = self.devices.get_mut(device) else {
            return;
        };
        match answer {
            Ok(answer) => {
                (self.waits, polled.waits) = (None, None);
                polled.took(ask, &answer, now, sink).await;
            }
            Err(fault) if fault.of() == Of::Connection => {
                self.waits = Some(longer(self.waits, now, max_backoff));
                for polled in &self.devices {
                    sink.silent(&polled.device.id, fault.clone()).await;
                }
            }
            Err(fault) if fault.of() == Of::Device => {
                self.waits = None;
                polled.waits = Some(longer(polled.waits, now, max_backoff));
                sink.silent(&polled.device.id, fault).await;
            }
            Err(fault) => {
                (self.waits, polled.waits) = (None, None);
                polled.refused(ask, fault, now, sink).await;
            }
        }
    }

    /// What is due first: device, request, and when.
    fn next(&self) -> Option<(usize, usize, Instant)> {
        let mut first: Option<(usize, usize, Instant)> = None;
        for (device, polled) in self.devices.iter().enumerate() {
            for (ask, due) in polled.asks.iter().enumerate() {
                let waits = [self.waits, polled.waits].into_iter().flatten();
                let at = waits.fold(due.at, |at, (until, _)| at.max(until));
                if first.is_none_or(|(_, _, first)| at < first) {
                    first = Some((device, ask, at));
                }
            }
        }
        first
    }

    async fn read(&mut self, device: usize, ask: usize) -> Result<Answer, Fault> {
        let Some(polled) = self.devices.get(device) else {
            return Err(Fault::Closed);
        };
        let Some(Due { ask, .. }) = polled.asks.get(ask) else {
            return Err(Fault::Closed);
        };
        // One that is known to be silent is asked once: it holds up the others.
        let retries = match (self.waits, polled.waits) {
            (None, None) => self.connection.retries,
            _ => 0,
        };
        let mut tried = 0;
        loop {
            let read = self
                .bus
                .read(polled.unit, ask.table, ask.first, ask.count)
                .await;
            match read {
                Err(Fault::Timeout { .. } | Fault::Nonsense(_) | Fault::Closed)
                    if tried < retries =>
                {
                    tried += 1;
                }
                read => return read,
            }
        }
    }
}

impl Polled {
    /// An answer to one of the requests.
    async fn took(&mut self, ask: usize, answer: &Answer, now: Instant, sink: &Sink) {
        let Some(due) = self.asks.get_mut(ask) else {
            return;
        };
        due.refused = None;
        due.again(now);
        let at_us = now_us();
        sink.answers(&self.device.id).await;
        for index in &due.ask.points {
            let Some(point) = self.device.points.get(*index) else {
                continue;
            };
            match value(point, due.ask.first, answer) {
                Ok(value) => {
                    sink.reading(Reading {
                        device: self.device.id.clone(),
                        point: Arc::clone(&point.name),
                        value,
                        at_us,
                        quality: Quality::Good,
                    })
                    .await;
                }
                Err(fault) => sink.fault(&self.device.id, &point.name, fault).await,
            }
        }
    }

    /// A request that the device refused: in halves, so that one point that is wrong loses no
    /// other, and less and less often when nothing can be parted.
    async fn refused(&mut self, ask: usize, fault: Fault, now: Instant, sink: &Sink) {
        let Some(due) = self.asks.get_mut(ask) else {
            return;
        };
        // Busy is no word about the addresses.
        let is_busy = matches!(fault, Fault::Exception { code: 0x05 | 0x06 });
        if !is_busy && let Some(parts) = plan::halves(&self.device, &due.ask) {
            self.asks.swap_remove(ask);
            self.asks.extend(parts.into_iter().map(|ask| Due {
                ask,
                at: now,
                refused: None,
            }));
            return sink.answers(&self.device.id).await;
        }
        due.again(now);
        if !is_busy {
            let wait = due.refused.map_or(FIRST_BACKOFF, |last| last * 2);
            let wait = wait.min(MAX_REFUSED);
            due.refused = Some(wait);
            due.at = due.at.max(now + wait);
        }
        for index in &due.ask.points {
            if let Some(point) = self.device.points.get(*index) {
                sink.fault(&self.device.id, &point.name, fault.clone())
                    .await;
            }
        }
    }
}

impl Due {
    /// When it is due again: in step with the first time, without catching up what was missed.
    fn again(&mut self, now: Instant) {
        let next = self.at + self.ask.every;
        self.at = if next > now {
            next
        } else {
            now + self.ask.every
        };
    }
}

/// A wait that is twice as long as the last.
fn longer(last: Option<(Instant, Duration)>, now: Instant, most: Duration) -> (Instant, Duration) {
    let wait = last.map_or(FIRST_BACKOFF, |(_, wait)| wait * 2).min(most);
    (now + wait, wait)
}

/// The value of a point in an answer that begins at `first`.
pub(super) fn value(point: &Point, first: u16, answer: &Answer) -> Result<OwnedValue, Fault> {
    let Target::Modbus(address) = point.target else {
        return Err(Fault::Closed);
    };
    let missing = || Fault::Nonsense("it is shorter than what was asked for".to_owned());
    let from = usize::from(address.first.saturating_sub(first));
    match answer {
        Answer::Bits(bits) => bits
            .get(from)
            .map(|bit| OwnedValue::Bool(*bit))
            .ok_or_else(missing),
        Answer::Words(words) => {
            let to = from + usize::from(address.format.length());
            let words = words.get(from..to).ok_or_else(missing)?;
            // Scaled it is a number in any case, and may be larger than an integer.
            if address.format == Format::U64
                && point.scale.is_some()
                && let Some(value) = decode::unsigned(words, address.order)
            {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a reading beyond 2^53 is rounded"
                )]
                return Ok(OwnedValue::Number(value as f64));
            }
            decode::registers(words, address.format, address.order)
        }
    }
}
