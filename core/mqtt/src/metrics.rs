//! Counters of an endpoint.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stencil_strangers::Figures;

/// A snapshot of the counters. All but `connections` and `connecting` only
/// grow while the process lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Sockets open now.
    pub connections: usize,
    /// Of these, such as have not completed TLS and CONNECT.
    pub connecting: usize,
    /// Sockets accepted.
    pub accepted: u64,
    /// Sockets closed at once because a connection bound was reached.
    pub over_capacity: u64,
    /// Sockets that had not completed TLS and CONNECT, closed to make room for
    /// a newer one.
    pub made_way: u64,
    /// Clients that the policy or the CONNECT rules refused.
    pub refused: u64,
    /// TLS handshakes that failed, by reason (a short stable name).
    pub tls_refused: BTreeMap<&'static str, u64>,
    /// Sockets closed because CONNECT didn't come in time.
    pub connect_timeouts: u64,
    /// Connections closed because of a protocol error or a bound.
    pub protocol_errors: u64,
    /// Connections that ended by a defect of the endpoint; the others go on.
    pub panicked: u64,
    /// Takeovers of a client id.
    pub takeovers: u64,
    /// PUBLISH packets taken from clients (handed to the sink).
    pub publishes_in: u64,
    /// Payload bytes of these.
    pub publish_bytes_in: u64,
    /// PUBLISH packets not taken because the topic is not allowed or invalid.
    pub publishes_refused: u64,
    /// PUBACK packets sent after commit.
    pub acknowledged: u64,
    /// Appends that found the sink full.
    pub sink_full: u64,
    /// PUBLISH packets sent to subscribers.
    pub publishes_out: u64,
    /// Payload bytes of these.
    pub publish_bytes_out: u64,
    /// Messages dropped because a subscriber's queue was full.
    pub queue_full: u64,
    /// Messages dropped for a subscriber because they expired or are larger
    /// than the subscriber accepts.
    pub undeliverable: u64,
    /// Retained messages not kept because a bound was reached.
    pub retained_refused: u64,
    /// Subscriptions refused: not allowed, not valid or over a bound.
    pub subscriptions_refused: u64,
    /// Bytes read from sockets (after TLS).
    pub bytes_in: u64,
    /// Bytes written to sockets (before TLS).
    pub bytes_out: u64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// The live counters behind [`Metrics`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            tls_refused: Mutex<BTreeMap<&'static str, u64>>,
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self, places: Figures) -> Metrics {
                Metrics {
                    connections: places.open,
                    connecting: places.strangers,
                    over_capacity: places.refused,
                    made_way: places.made_way,
                    tls_refused: self
                        .tls_refused
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .clone(),
                    $($name: self.$name.get(),)*
                }
            }
        }
    };
}

counters!(
    accepted,
    refused,
    connect_timeouts,
    protocol_errors,
    panicked,
    takeovers,
    publishes_in,
    publish_bytes_in,
    publishes_refused,
    acknowledged,
    sink_full,
    publishes_out,
    publish_bytes_out,
    queue_full,
    undeliverable,
    retained_refused,
    subscriptions_refused,
    bytes_in,
    bytes_out,
);

impl Counters {
    pub(crate) fn tls_refused(&self, reason: &'static str) {
        let mut reasons = self
            .tls_refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *reasons.entry(reason).or_default() += 1;
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
