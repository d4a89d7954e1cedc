//! Bounds of the HTTP listener and of what comes through it.

use serde::{Deserialize, Serialize};

/// Bounds of the HTTP listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at one time. For one more, the connection is closed that has been idle longest;
    /// never one in the middle of a request, unless its address has the most of all.
    pub max_connections: usize,
    /// Connections of one address (in IPv6, one /64) at one time, loopback as any other. For one
    /// more, that of the address is closed that has been idle longest. Behind a proxy all
    /// connections come from one address.
    pub max_connections_per_address: usize,
    /// Time that the head of a request may take, in milliseconds: from its first byte on, and of
    /// the first request from when the connection is accepted, with its TLS handshake.
    pub head_timeout_ms: u64,
    /// Time that the body of a request may take after its head, in milliseconds.
    pub body_timeout_ms: u64,
    /// Time after which a connection on which nothing moves is closed, in milliseconds. More
    /// than the 15 s between two signs of life of an event stream.
    pub idle_timeout_ms: u64,
    /// Event streams (open live pages) at one time, over all tenants.
    pub max_streams: usize,
    /// Time after which an event stream is ended, in milliseconds; the browser opens the next
    /// one by itself, and its session is checked anew.
    pub stream_life_ms: u64,
    /// Time over which live events are gathered into one message, in milliseconds.
    pub gather_ms: u64,
    /// Entries of one tenant's audit log; with one more the oldest goes.
    pub audit_entries: u32,
    /// How often somebody may ask.
    pub rates: RateLimits,
    /// How people sign in and for how long.
    pub sessions: SessionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_connections_per_address: 256,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            max_streams: 256,
            stream_life_ms: 600_000,
            gather_ms: 250,
            audit_entries: 100_000,
            rates: RateLimits::default(),
            sessions: SessionLimits::default(),
        }
    }
}

/// How often somebody may ask: so many requests at once, and from then on so many a second. Who asks
/// more is told when to come again (429 with `Retry-After`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Requests a second of one user or token.
    pub caller_per_s: u32,
    /// Requests of one user or token at once.
    pub caller_burst: u32,
    /// Requests a second from one address (in IPv6, one /64) that show no valid token or session:
    /// published content, signing in, probes, and those that are refused. Behind a proxy all of
    /// them come from one address.
    pub address_per_s: u32,
    /// Such requests from one address at once.
    pub address_burst: u32,
    /// Callers, and addresses, of which is remembered how often they have asked; with more, those
    /// are forgotten who asked longest ago.
    pub max_tracked: usize,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            caller_per_s: 200,
            caller_burst: 2_000,
            address_per_s: 200,
            address_burst: 2_000,
            max_tracked: 65_536,
        }
    }
}

/// How people sign in and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionLimits {
    /// Time after which a session ends whatever happens, in seconds.
    pub life_s: u64,
    /// Time after which a session ends that nothing was asked with, in seconds.
    pub idle_s: u64,
    /// Time after which a one-time link opens nothing any more, in seconds.
    pub link_life_s: u64,
    /// Passwords that are checked at one time, each with 19 MiB of memory and a thread; up to
    /// 16 times as many wait, others are told to come again.
    pub max_hashes: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            life_s: 30 * 24 * 3_600,
            idle_s: 7 * 24 * 3_600,
            link_life_s: 24 * 3_600,
            max_hashes: 2,
        }
    }
}

impl SessionLimits {
    /// When a session that is opened now ends.
    pub(super) fn expires_us(&self, now_us: i64) -> i64 {
        now_us.saturating_add(us(self.life_s))
    }

    /// When a link that is made now opens nothing any more.
    pub(crate) fn link_expires_us(&self, now_us: i64) -> i64 {
        now_us.saturating_add(us(self.link_life_s))
    }

    /// For how long a session may be unused.
    pub(crate) fn idle_us(&self) -> i64 {
        us(self.idle_s)
    }
}

fn us(seconds: u64) -> i64 {
    i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000)
}
