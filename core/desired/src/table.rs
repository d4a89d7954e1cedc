//! Which settings there are, and within which bounds.

/// A setting that can be set from afar.
#[derive(Debug)]
pub struct Setting {
    /// Its name as in the gateway's own file: `spool.max_bytes`.
    pub key: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it does.
    pub what: &'static str,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, from the first to the second.
    Number(u64, u64),
    /// `host:port`.
    Address,
    /// The name in a certificate; empty: that of the address.
    Name,
    /// One of [`LEVELS`].
    Level,
}

/// How much is logged.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

const fn number(key: &'static str, min: u64, max: u64, what: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::Number(min, max),
        what,
    }
}

const MIB: u64 = 1 << 20;
const HOUR_MS: u64 = 3_600_000;
const DAY_S: u64 = 86_400;

/// All settings that can be set from afar.
///
/// The bounds are narrower than those of a gateway's own file: nobody stands beside it to mend what
/// is barely possible.
pub const SETTINGS: &[Setting] = &[
    number(
        "spool.max_bytes",
        64 * MIB,
        1 << 40,
        "Bound on the disk that the spool takes; the oldest is dropped beyond it and reported.",
    ),
    number(
        "spool.max_age_s",
        60,
        3_650 * DAY_S,
        "What is older is dropped and reported.",
    ),
    number(
        "link.max_links",
        1,
        65_536,
        "TCP links at once, with or without a handshake.",
    ),
    number(
        "link.max_strangers",
        1,
        65_536,
        "TCP links at once that have not shown a device's key yet.",
    ),
    number(
        "link.handshake_timeout_ms",
        1_000,
        600_000,
        "How long a TCP link may take to show a device's key.",
    ),
    number(
        "link.idle_timeout_ms",
        5_000,
        24 * HOUR_MS,
        "How long a link may be silent.",
    ),
    number(
        "link.write_timeout_ms",
        1_000,
        600_000,
        "How long one write may wait for a device that doesn't read.",
    ),
    number(
        "link.time_interval_ms",
        1_000,
        24 * HOUR_MS,
        "How often a device is told the time.",
    ),
    number(
        "link.max_unacknowledged",
        1,
        1_024,
        "Batches of one link that may wait for the disk.",
    ),
    number(
        "link.fragment_bytes",
        42,
        1_024,
        "The most bytes of a handshake's answer in one frame.",
    ),
    number(
        "link.fresh_keys_s",
        60,
        30 * DAY_S,
        "After that long a session cannot be resumed without fresh keys.",
    ),
    number(
        "link.max_resumptions",
        0,
        10_000,
        "And after so many sessions; 0: none is resumed.",
    ),
    number(
        "commands.max_per_device",
        1,
        10_000,
        "Commands that wait for one device.",
    ),
    number(
        "commands.max_total",
        1,
        1_000_000,
        "Commands that wait in all.",
    ),
    number(
        "commands.resend_ms",
        500,
        600_000,
        "How long a linked device may take to answer before a command is sent again.",
    ),
    number(
        "images.max_bytes",
        MIB,
        1 << 40,
        "Bound on the disk that firmware images take.",
    ),
    Setting {
        key: "hub.address",
        kind: Kind::Address,
        what: "`host:port` of the hub's strict MQTT listener.",
    },
    Setting {
        key: "hub.server_name",
        kind: Kind::Name,
        what: "The name that its certificate must hold; empty: the host of the address.",
    },
    number(
        "hub.in_order_bytes",
        0,
        1 << 40,
        "With more than this waiting, what is new goes first and what waited beside it.",
    ),
    number(
        "hub.back_fill_bytes_per_s",
        1_024,
        1 << 40,
        "The most bytes a second in which what waited is brought beside what is new.",
    ),
    number(
        "hub.max_in_flight",
        1,
        4_096,
        "Publishes that may wait for their acknowledgement.",
    ),
    number(
        "hub.keep_alive_s",
        5,
        3_600,
        "How often a quiet connection is tested.",
    ),
    number(
        "hub.connect_timeout_ms",
        1_000,
        300_000,
        "How long connecting may take.",
    ),
    number(
        "hub.max_backoff_ms",
        200,
        HOUR_MS,
        "The longest pause between two attempts to connect.",
    ),
    number(
        "seal.interval_s",
        0,
        DAY_S,
        "Seconds after which what devices said is sealed, so that anybody can check it; 0: nothing is.",
    ),
    number(
        "seal.max_readings",
        256,
        65_536,
        "It is sealed sooner when there are so many readings.",
    ),
    Setting {
        key: "log.level",
        kind: Kind::Level,
        what: "How much is logged: `error`, `warn`, `info`, `debug`, `trace`.",
    },
];
