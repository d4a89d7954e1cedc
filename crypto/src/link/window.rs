use super::{Error, WINDOW_RECORDS};

/// Which of the last [`WINDOW_RECORDS`] counters were seen (RFC 4303, appendix A2).
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    /// One above the highest counter seen; 0 before the first.
    end: u64,
    /// Bit i stands for counter `end` - 1 - i.
    seen: u64,
}

impl Window {
    /// Whether `counter` may still be accepted. Changes nothing: the record is not
    /// authenticated yet.
    pub(super) fn check(&self, counter: u64) -> Result<(), Error> {
        if counter >= self.end {
            return Ok(());
        }
        let behind = self.end - 1 - counter;
        if behind >= WINDOW_RECORDS {
            Err(Error::TooOld(counter))
        } else if self.seen >> behind & 1 == 1 {
            Err(Error::Replayed(counter))
        } else {
            Ok(())
        }
    }

    /// Marks an authenticated `counter` that passed [`Window::check`] as seen.
    pub(super) fn accept(&mut self, counter: u64) {
        if counter >= self.end {
            let ahead = counter - self.end + 1;
            self.seen = if ahead >= WINDOW_RECORDS {
                0
            } else {
                self.seen << ahead
            };
            self.seen |= 1;
            self.end = counter + 1;
        } else if let Some(bit) =
            1u64.checked_shl(u32::try_from(self.end - 1 - counter).unwrap_or(u32::MAX))
        {
            self.seen |= bit;
        }
    }

    /// The lowest counter that [`Window::check`] may still let through.
    pub(super) fn floor(&self) -> u64 {
        self.end.saturating_sub(WINDOW_RECORDS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_edges_of_the_window() {
        let mut window = Window::default();
        assert_eq!(window.check(0), Ok(()));
        window.accept(0);
        assert_eq!(window.check(0), Err(Error::Replayed(0)));
        window.accept(64);
        assert_eq!(window.check(0), Err(Error::TooOld(0)));
        assert_eq!(window.check(1), Ok(()));
        window.accept(1);
        assert_eq!(window.check(1), Err(Error::Replayed(1)));
        assert_eq!(window.floor(), 1);
        window.accept(10_000);
        assert_eq!(window.check(9_999), Ok(()));
        assert_eq!(window.check(64), Err(Error::TooOld(64)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_all_counters(
            steps in prop::collection::vec(prop_oneof![0u64..300, 0u64..5_000], 1..400),
        ) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            let mut accepted = Vec::new();
            for counter in steps {
                let highest = seen.last().copied();
                let expected = if seen.contains(&counter)
                    && highest.is_some_and(|highest| highest - counter < WINDOW_RECORDS)
                {
                    Err(Error::Replayed(counter))
                } else if highest.is_some_and(|highest| highest >= counter + WINDOW_RECORDS) {
                    Err(Error::TooOld(counter))
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(counter), expected);
                if expected.is_ok() {
                    window.accept(counter);
                    seen.insert(counter);
                    accepted.push(counter);
                }
            }
            prop_assert_eq!(accepted.len(), seen.len());
        }
    }
}
