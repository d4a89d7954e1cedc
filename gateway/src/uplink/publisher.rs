//! Publishes what is spooled, in order, and acknowledges in order what the hub has kept.

use std::convert::Infallible;

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesOrdered};
use rumqttc::{PublishNotice, PublishResult, mqttbytes::v5::PubAckReason};
use stencil_crypto::Suite;
use stencil_log::Record;
use stencil_protocol::{batch::DropReason, line::Line};

use super::{
    Uplink,
    connection::{Connection, Lost},
    desired::Speaking,
    source::Source,
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
}

/// What came of handing a record over.
enum Handed {
    Over(PublishNotice),
    Not(Outcome),
}

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
}

/// Publishes until the connection is lost.
pub(super) async fn publish(
    uplink: &Uplink,
    mut connection: Connection,
    topics: &Topics,
    mut speaking: Option<Speaking>,
) -> Result<Infallible, Lost> {
    let spool = &uplink.spool;
    let mut source = Source::start(
        spool.log().clone(),
        spool.acknowledged(),
        uplink.metrics.clone(),
    );
    let mut in_flight = FuturesOrdered::new();
    let mut fetch_again = tokio::time::interval(FETCH_INTERVAL);
    fetch_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let max_in_flight = usize::from(uplink.options.max_in_flight);
    loop {
        tokio::select! {
            Some(first) = in_flight.next() => {
                let mut through = None;
                let mut next = Some(first);
                let mut unsettled = None;
                // With those that have come at the same time, so that the spool moves on once.
                while let Some((record, outcome)) = next {
                    // What a refusal leaves behind may have to wait for the room that those
                    // before it give back.
                    if matches!(outcome, Outcome::Refused(_))
                        && let Some(position) = through.take()
                    {
                        spool.acknowledge(position);
                    }
                    if let Err(lost) = settle(uplink, &record, outcome).await {
                        unsettled = Some(lost);
                        break;
                    }
                    through = Some(record.end);
                    next = in_flight.next().now_or_never().flatten();
                }
                if let Some(position) = through {
                    spool.acknowledge(position);
                }
                match unsettled {
                    None => {}
                    Some(Lost::Ended) => return Err(connection.why_lost().await),
                    Some(lost) => return Err(lost),
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
                Some(_) => tracing::warn!("the hub has sent what was not asked for"),
                None => return Err(connection.why_lost().await),
            },
            () = Speaking::due(&mut speaking) => uplink.tell_state(&connection).await?,
            _ = fetch_again.tick() => uplink.fetch_images(&connection, None).await?,
            record = source.next(), if in_flight.len() < max_in_flight => {
                let record = record?;
                let handed = send(&connection, &record).await?;
                in_flight.push_back(outcome(record, handed));
            }
        }
    }
}

async fn send(connection: &Connection, record: &Record) -> Result<Handed, Lost> {
    let Some(entry) = Entry::parse(&record.payload) else {
        return Ok(Handed::Not(Outcome::Unreadable));
    };
    let suite = entry.suite.map(|id| {
        let suite = Suite::from_id(id).map(Suite::name);
        let name = suite.or_else(|| Line::from_id(id).map(Line::name));
        let name = name.map_or_else(|| format!("{id:#06x}"), str::to_owned);
        (LINK_SUITE.to_owned(), name)
    });
    let payload = record.payload.slice_ref(entry.payload);
    let topic = entry.topic().to_string();
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

async fn outcome(record: Record, handed: Handed) -> (Record, Outcome) {
    let notice = match handed {
        Handed::Over(notice) => notice,
        Handed::Not(outcome) => return (record, outcome),
    };
    let outcome = match notice.wait_async().await {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Outcome::Kept,
            reason @ (PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid) => {
                Outcome::Refused(format!("{reason:?}"))
            }
            reason => Outcome::NotNow(reason),
        },
        // Of QoS 0 and 2, which are never sent, and of connections that ended.
        Ok(_) | Err(_) => Outcome::Gone,
    };
    (record, outcome)
}

/// Does what follows from the hub's answer. After an error the record stays where it is.
async fn settle(uplink: &Uplink, record: &Record, outcome: Outcome) -> Result<(), Lost> {
    match outcome {
        Outcome::Kept => uplink.metrics.publishes_acknowledged.increment(),
        Outcome::Gone => return Err(Lost::Ended),
        Outcome::NotNow(reason) => return Err(Lost::Publish(format!("{reason:?}"))),
        Outcome::Unreadable => {
            uplink.metrics.records_dropped.increment();
            tracing::error!(at = %record.start, "a spooled record is of no known kind; left out");
        }
        Outcome::Refused(reason) => {
            uplink.metrics.publishes_refused.increment();
            let mut losses = Losses::default();
            if let Some(entry) = Entry::parse(&record.payload) {
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
