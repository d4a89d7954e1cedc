//! Publishes what is spooled, in one stream or in two, and acknowledges what the hub has kept.

use std::{convert::Infallible, ops::Range, time::Instant};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use rumqttc::{PublishNotice, PublishResult, mqttbytes::v5::PubAckReason};
use stencil_crypto::Suite;
use stencil_log::{Position, Record};
use stencil_protocol::{batch::DropReason, line::Line};

use super::{
    Uplink,
    answering::Answering,
    connection::{Connection, Lost},
    desired::Speaking,
    order::Order,
    pace::Pace,
    receipts::Receipts,
    source::{Item, Source},
    window::Window,
};
use crate::spool::{Entry, Losses};

/// The user property that tells which suite a device's link has, or which line a field device
/// hangs on.
const LINK_SUITE: &str = "link-suite";

/// What the hub said about a record.
enum Outcome {
    /// It is on the hub's disk.
    Kept,
    /// It will never be taken.
    Refused(String),
    /// Not now.
    NotNow(PubAckReason),
    /// The connection is lost.
    Gone,
    /// It cannot be read, so it was not sent.
    Unreadable,
    /// There was nothing to send.
    Nothing,
}

/// What came of handing an item over.
enum Handed {
    Over(PublishNotice),
    Not(Outcome),
}

/// An item whose outcome is known.
struct Done {
    covers: Range<Position>,
    record: Option<Record>,
    outcome: Outcome,
    sent: Instant,
}

/// Items that are under way, in order.
type InFlight = FuturesOrdered<BoxFuture<'static, Done>>;

/// More than what an MQTT packet has besides topic and payload, with our properties.
pub(super) const PACKET_OVERHEAD_BYTES: usize = 128;

/// How often it is looked whether a piece of an image has to be asked for again.
const FETCH_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// Where the hub speaks to this gateway.
pub(super) struct Topics {
    pub(super) commands: String,
    pub(super) keys: String,
    pub(super) wanted: String,
    pub(super) pieces: String,
    pub(super) rules: String,
    pub(super) desired: String,
    pub(super) questions: String,
    pub(super) access: String,
    /// `None`: the hub renews no certificates.
    pub(super) certificate: Option<String>,
}

impl Topics {
    /// Whether this is where certificates come.
    fn is_certificate(&self, topic: &[u8]) -> bool {
        self.certificate.as_deref().map(str::as_bytes) == Some(topic)
    }
}

/// Publishes until the connection is lost.
pub(super) async fn publish(
    uplink: &Uplink,
    mut connection: Connection,
    topics: &Topics,
    mut speaking: Option<Speaking>,
) -> Result<Infallible, Lost> {
    let spool = &uplink.spool;
    let order = Order::new(spool, uplink.options.in_order_bytes, uplink.edge.judges());
    let start = |stretch| Source::start(spool.clone(), stretch, uplink.metrics.clone());
    let mut live = start(order.live);
    let mut old = order.back_fill.map(start);
    if old.is_none() {
        uplink.said.clear();
    }
    let mut answering = Answering::new(&uplink.gateway, &uplink.answers, &uplink.metrics);
    let mut receipts = Receipts::new(&uplink.gateway, uplink.access.as_ref());
    let mut pace = Pace::new(uplink.back_fill.clone());
    let (mut live_in_flight, mut old_in_flight) = (InFlight::new(), InFlight::new());
    let mut fetch_again = tokio::time::interval(FETCH_INTERVAL);
    fetch_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let max_in_flight = usize::from(uplink.options.max_in_flight);
    // What is new always finds a quarter of the room.
    let mut window = Window::new(max_in_flight * 3 / 4);
    loop {
        let in_flight = live_in_flight.len() + old_in_flight.len();
        let has_room = in_flight < max_in_flight;
        let has_old_room = has_room && old_in_flight.len() < window.size();
        tokio::select! {
            Some(first) = live_in_flight.next() => {
                if let Err(lost) = settle_all(uplink, first, &mut live_in_flight, None).await {
                    return Err(connection.reason(lost).await);
                }
            }
            Some(first) = old_in_flight.next() => {
                let window = Some(&mut window);
                if let Err(lost) = settle_all(uplink, first, &mut old_in_flight, window).await {
                    return Err(connection.reason(lost).await);
                }
            }
            message = connection.next() => match message {
                Some(message) if message.topic == topics.commands.as_bytes() => {
                    uplink.command(&message.payload);
                }
                Some(message) if message.topic == topics.keys.as_bytes() => {
                    uplink.take_keys(&connection, &message.payload).await?;
                }
                Some(message) if message.topic == topics.wanted.as_bytes() => {
                    uplink.take_wanted(&connection, &message.payload).await?;
                }
                Some(message) if message.topic == topics.rules.as_bytes() => {
                    uplink.edge.want(&message.payload);
                }
                Some(message) if message.topic == topics.pieces.as_bytes() => {
                    uplink.take_piece(&connection, &message.payload).await?;
                }
                Some(message) if message.topic == topics.desired.as_bytes() => {
                    uplink.take_desired(&connection, &message.payload).await?;
                }
                Some(message) if message.topic == topics.questions.as_bytes() => {
                    answering.ask(message.payload);
                }
                Some(message) if message.topic == topics.access.as_bytes() => {
                    uplink.take_access(&message.payload).await;
                }
                Some(message) if topics.is_certificate(&message.topic) => {
                    uplink.take_certificate(&message.payload).await?;
                }
                Some(_) => tracing::warn!("the hub has sent what was not asked for"),
                None => return Err(connection.why_lost().await),
            },
            () = Speaking::due(&mut speaking) => uplink.tell_state(&connection).await?,
            () = uplink.certificate.due(), if topics.certificate.is_some() => {
                uplink.ask_for_certificate(&connection).await?;
            }
            _ = fetch_again.tick() => uplink.fetch_images(&connection, None).await?,
            item = live.next(), if has_room => {
                let item = item?.ok_or(stencil_log::Error::Closed)?;
                let handed = send(uplink, &connection, item.record.as_ref(), old.is_some()).await?;
                live_in_flight.push_back(outcome(item, handed).boxed());
            }
            () = receipts.ready(), if has_room => receipts.send(&connection).await?,
            () = answering.ready(), if has_room => answering.send(&connection).await?,
            item = next_of(&mut old, &mut pace), if has_old_room => match item? {
                Some(item) => {
                    pace.sent(item.record.as_ref().map_or(0, |record| record.payload.len()));
                    let handed = send_old(uplink, &connection, item.record.as_ref()).await?;
                    old_in_flight.push_back(outcome(item, handed).boxed());
                }
                None => {
                    tracing::info!("what had gathered is on its way to the hub");
                    old = None;
                }
            },
        }
    }
}

/// The next of what waited, when it may go; never without any.
async fn next_of(old: &mut Option<Source>, pace: &mut Pace) -> Result<Option<Item>, Lost> {
    match old {
        Some(source) => {
            pace.ready().await;
            source.next().await
        }
        None => std::future::pending().await,
    }
}

/// Settles the first that has come and those that have come at the same time, so that the spool
/// moves on once.
async fn settle_all(
    uplink: &Uplink,
    first: Done,
    in_flight: &mut InFlight,
    mut window: Option<&mut Window>,
) -> Result<(), Lost> {
    let now = Instant::now();
    let mut settled: Option<Range<Position>> = None;
    let mut next = Some(first);
    let mut unsettled = Ok(());
    while let Some(done) = next {
        // What a refusal leaves behind may have to wait for the room that those before it give
        // back.
        if matches!(done.outcome, Outcome::Refused(_))
            && let Some(settled) = settled.take()
        {
            uplink.spool.acknowledge(settled);
        }
        if matches!(done.outcome, Outcome::Kept) {
            uplink.metrics.acknowledged.note(done.sent, now);
        }
        if let (Outcome::Kept, Some(window)) = (&done.outcome, &mut window) {
            window.acknowledged(done.sent, now);
            uplink.metrics.publishes_back_filled.increment();
        }
        let Done {
            covers,
            record,
            outcome,
            ..
        } = done;
        if let Err(lost) = settle(uplink, record.as_ref(), outcome).await {
            unsettled = Err(lost);
            break;
        }
        settled = Some(settled.map_or(covers.start, |settled| settled.start)..covers.end);
        next = in_flight.next().now_or_never().flatten();
    }
    if let Some(settled) = settled {
        uplink.spool.acknowledge(settled);
    }
    unsettled
}

/// Sends what is new; `ahead`: of older things.
async fn send(
    uplink: &Uplink,
    connection: &Connection,
    record: Option<&Record>,
    ahead: bool,
) -> Result<Handed, Lost> {
    if let Some(record) = record.filter(|_| ahead)
        && let Some(entry) = Entry::parse(&record.payload)
    {
        uplink.said.ahead(&entry, record.start);
    }
    publish_one(connection, record).await
}

/// Sends what waited, unless newer things have made it wrong.
async fn send_old(
    uplink: &Uplink,
    connection: &Connection,
    record: Option<&Record>,
) -> Result<Handed, Lost> {
    if let Some(record) = record
        && let Some(entry) = Entry::parse(&record.payload)
        && uplink.said.has_newer(&entry, record.start)
    {
        uplink.metrics.publishes_superseded.increment();
        return Ok(Handed::Not(Outcome::Nothing));
    }
    publish_one(connection, record).await
}

async fn publish_one(connection: &Connection, record: Option<&Record>) -> Result<Handed, Lost> {
    let Some(record) = record else {
        return Ok(Handed::Not(Outcome::Nothing));
    };
    let Some(entry) = Entry::parse(&record.payload) else {
        return Ok(Handed::Not(Outcome::Unreadable));
    };
    let Some(topic) = entry.topic() else {
        return Ok(Handed::Not(Outcome::Nothing));
    };
    let suite = entry.suite.map(|id| {
        let suite = Suite::from_id(id).map(Suite::name);
        let name = suite.or_else(|| Line::from_id(id).map(Line::name));
        let name = name.map_or_else(|| format!("{id:#06x}"), str::to_owned);
        (LINK_SUITE.to_owned(), name)
    });
    let payload = record.payload.slice_ref(entry.payload);
    let topic = topic.to_string();
    let bytes = payload.len() + topic.len() + PACKET_OVERHEAD_BYTES;
    let max = connection.max_packet_bytes();
    if bytes > max {
        let why = format!("it needs {bytes} bytes, the hub takes {max}");
        return Ok(Handed::Not(Outcome::Refused(why)));
    }
    let notice = connection
        .publish(topic, payload, suite.into_iter().collect())
        .await?;
    Ok(Handed::Over(notice))
}

async fn outcome(item: Item, handed: Handed) -> Done {
    let sent = Instant::now();
    let outcome = match handed {
        Handed::Over(notice) => acknowledged(notice).await,
        Handed::Not(outcome) => outcome,
    };
    Done {
        covers: item.covers,
        record: item.record,
        outcome,
        sent,
    }
}

async fn acknowledged(notice: PublishNotice) -> Outcome {
    match notice.wait_async().await {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Outcome::Kept,
            reason @ (PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid) => {
                Outcome::Refused(format!("{reason:?}"))
            }
            reason => Outcome::NotNow(reason),
        },
        // Of QoS 0 and 2, which are never sent, and of connections that ended.
        Ok(_) | Err(_) => Outcome::Gone,
    }
}

/// Whether the hub keeps what it was given.
pub(super) async fn is_kept(notice: PublishNotice) -> bool {
    matches!(acknowledged(notice).await, Outcome::Kept)
}

/// Does what follows from the hub's answer. After an error the record stays where it is.
async fn settle(uplink: &Uplink, record: Option<&Record>, outcome: Outcome) -> Result<(), Lost> {
    match outcome {
        Outcome::Nothing => {}
        Outcome::Kept => uplink.metrics.publishes_acknowledged.increment(),
        Outcome::Gone => return Err(Lost::Ended),
        Outcome::NotNow(reason) => return Err(Lost::Publish(format!("{reason:?}"))),
        Outcome::Unreadable => {
            uplink.metrics.records_dropped.increment();
            let at = record.map_or(0, |record| record.start.0);
            tracing::error!(at, "a spooled record is of no known kind; left out");
        }
        Outcome::Refused(reason) => {
            uplink.metrics.publishes_refused.increment();
            let mut losses = Losses::default();
            if let Some(entry) = record.and_then(|record| Entry::parse(&record.payload)) {
                tracing::error!(device = %entry.device, reason, "the hub refuses a message");
                losses.add_refused(&entry, DropReason::Quarantined);
            }
            let samples = losses.samples;
            // On disk before the record is let go. Not waited for room: what frees it comes
            // after this, so it is tried again later.
            for entry in losses.into_entries() {
                match uplink.spool.try_put(&entry) {
                    Ok(position) => uplink.spool.log().wait(position).await?,
                    Err(error) if error.is_retryable() => {
                        return Err(Lost::Publish(format!("{reason}; to report it: {error}")));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            uplink.metrics.samples_lost.add(samples);
        }
    }
    Ok(())
}
