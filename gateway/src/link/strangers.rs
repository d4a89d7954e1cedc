//! Lines of the log about strangers: whoever reaches the port causes them, so that they have a bound.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The span in which only so many are written.
const SPAN: Duration = Duration::from_secs(60);
/// How many.
const MAX: u32 = 30;

/// Counts them. All are in the metrics.
#[derive(Default)]
pub(crate) struct Strangers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Strangers {
    /// Whether to write a line; how many were left out since the last one is said before it.
    pub(super) fn may_write(&self) -> bool {
        let (write, left_out) = self.count(Instant::now());
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "links of strangers that were not logged one by one"
            );
        }
        write
    }

    fn count(&self, now: Instant) -> (bool, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |began| now.saturating_duration_since(began) >= SPAN;
        if state.began.is_none_or(is_over) {
            state.began = Some(now);
            state.written = 0;
        }
        if state.written >= MAX {
            state.left_out += 1;
            return (false, 0);
        }
        state.written += 1;
        (true, std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_bounded_number_of_lines_and_says_how_many_it_left_out() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let written = (0..10_000_u64).filter(|ms| {
            let (write, left_out) = strangers.count(start + Duration::from_millis(*ms));
            assert_eq!(left_out, 0);
            write
        });
        assert_eq!(written.count(), 30);
        assert_eq!(strangers.count(start + SPAN), (true, 9_970));
        assert_eq!(strangers.count(start + SPAN), (true, 0));
    }
}
