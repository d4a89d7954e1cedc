//! How many connections there are and were, and what became of those for which there was no room.

use std::fmt::Write as _;

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Of one address.
    Address,
    /// Of all.
    All,
}

impl Bound {
    const BOTH: [Self; 2] = [Self::Address, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::All => "all",
        }
    }

    /// The setting that it is.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Address => "http.limits.max_connections_per_address",
            Self::All => "http.limits.max_connections",
        }
    }
}

/// Connections since the process began.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    /// Closed to make room, by the bound that was reached.
    shed: [u64; 2],
    /// Not taken, by the bound that was reached.
    refused: [u64; 2],
    /// Closed because the head of a request did not come in time.
    pub(super) overdue: u64,
}

impl Counts {
    /// One was closed to make room, or the newcomer was not taken.
    pub(super) fn no_room(&mut self, bound: Bound, shed: bool) {
        let counts = if shed {
            &mut self.shed
        } else {
            &mut self.refused
        };
        let count = match (bound, counts) {
            (Bound::Address, [of_address, _]) => of_address,
            (Bound::All, [_, of_all]) => of_all,
        };
        *count = count.saturating_add(1);
    }

    /// Those that were closed to make room, and those that were not taken.
    pub(super) fn no_room_total(&self) -> (u64, u64) {
        (self.shed.iter().sum(), self.refused.iter().sum())
    }

    /// Appends them in Prometheus' text form, with how many are `open` now.
    pub(super) fn render(&self, open: usize, out: &mut String) {
        let one = |value: u64| vec![(String::new(), value)];
        let by_bound = |counts: [u64; 2]| {
            let labels = Bound::BOTH.map(|bound| format!("{{bound=\"{}\"}}", bound.name()));
            labels.into_iter().zip(counts).collect::<Vec<_>>()
        };
        let families = [
            (
                "connections_count",
                "gauge",
                "connections open",
                one(open as u64),
            ),
            (
                "connections_accepted_total",
                "counter",
                "connections taken",
                one(self.accepted),
            ),
            (
                "connections_shed_total",
                "counter",
                "connections closed to make room for another, by the bound that was reached",
                by_bound(self.shed),
            ),
            (
                "connections_refused_total",
                "counter",
                "connections not taken for want of room, by the bound that was reached",
                by_bound(self.refused),
            ),
            (
                "heads_overdue_total",
                "counter",
                "connections closed because a request's head did not come in time",
                one(self.overdue),
            ),
        ];
        for (name, kind, help, values) in families {
            let name = format!("stencil_hub_http_{name}");
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(out, "{name}{labels} {value}");
            }
        }
    }
}
