//! Which notifications of a subscription were missed (Part 4, sections 5.13.1.1 and 6.7).

/// The most notifications that are asked for again at once.
const MAX_AGAIN: usize = 1_000;

/// The sequence numbers of one subscription: 1, 2, 3 and so on, and 1 again after the last of 32
/// bits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sequence {
    /// The last that was taken; 0: none.
    last: u32,
}

/// What to do with a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is the next, or the first.
    Take,
    /// It was taken before.
    Known,
    /// Those were missed before it.
    Missed(Vec<u32>),
}

impl Sequence {
    /// Takes a notification with data, or looks at one without, a sign of life that carries the
    /// number of the next.
    pub(super) fn take(&mut self, number: u32, has_data: bool) -> Next {
        let used = if has_data { number } else { before(number) };
        let expected = after(self.last);
        if self.last == 0 || number == expected {
            if self.last == 0 || has_data {
                self.last = used;
            }
            return Next::Take;
        }
        // Behind the last, as numbers go round.
        if number.wrapping_sub(expected) > u32::MAX / 2 {
            return Next::Known;
        }
        let mut missed = Vec::new();
        let mut at = expected;
        while at != number && missed.len() < MAX_AGAIN {
            missed.push(at);
            at = after(at);
        }
        self.last = used;
        Next::Missed(missed)
    }

    /// The number that comes next.
    pub(super) fn next(&self) -> u32 {
        after(self.last)
    }
}

const fn after(number: u32) -> u32 {
    if number == u32::MAX { 1 } else { number + 1 }
}

const fn before(number: u32) -> u32 {
    number.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_was_missed() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(5, true), Next::Take);
        assert_eq!(sequence.take(6, true), Next::Take);
        assert_eq!(sequence.take(6, true), Next::Known);
        assert_eq!(sequence.take(9, true), Next::Missed(vec![7, 8]));
        assert_eq!(sequence.next(), 10);
        // A sign of life says which number is next.
        assert_eq!(sequence.take(10, false), Next::Take);
        assert_eq!(sequence.take(12, false), Next::Missed(vec![10, 11]));
        assert_eq!(sequence.take(12, true), Next::Take);
    }

    #[test]
    fn numbers_go_round_past_zero() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(u32::MAX, true), Next::Take);
        assert_eq!(sequence.take(1, true), Next::Take);
        assert_eq!(sequence.take(u32::MAX, true), Next::Known);
        assert_eq!(sequence.take(3, true), Next::Missed(vec![2]));
    }

    #[test]
    fn a_server_that_jumps_is_not_asked_for_ever() {
        let mut sequence = Sequence::default();
        sequence.take(1, true);
        match sequence.take(1_000_000_000, true) {
            Next::Missed(missed) => assert_eq!(missed.len(), MAX_AGAIN),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sign_of_life_first() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(1, false), Next::Take);
        assert_eq!(sequence.take(1, true), Next::Take);
        assert_eq!(sequence.next(), 2);
    }
}
