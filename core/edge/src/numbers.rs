//! Which samples of a device have been judged: what comes again is known by its number.

use minicbor::{Decode, Encode};
use stencil_protocol::id::{Boot, Seq};

/// Boots of a device that are remembered.
const MAX_BOOTS: usize = 4;

/// The newest number of each of the boots that were heard last, the latest at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Numbers {
    #[n(0)]
    boots: Vec<(u32, u64)>,
}

impl Numbers {
    /// Whether the number is higher than all of its boot before; it is noted. A lower one that
    /// never came is passed over as well: a device sends its numbers in order.
    pub(crate) fn take(&mut self, boot: Boot, seq: Seq) -> bool {
        match self.boots.iter().position(|(known, _)| *known == boot.0) {
            Some(at) => {
                if self.boots[at].1 >= seq.0 {
                    return false;
                }
                self.boots.remove(at);
            }
            None if self.boots.len() >= MAX_BOOTS => {
                self.boots.remove(0);
            }
            None => {}
        }
        self.boots.push((boot.0, seq.0));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_known_across_a_few_boots() {
        let mut numbers = Numbers::default();
        assert!(numbers.take(Boot(7), Seq(1)));
        assert!(numbers.take(Boot(7), Seq(3)));
        assert!(!numbers.take(Boot(7), Seq(3)) && !numbers.take(Boot(7), Seq(2)));
        // A boot's number is a name: a lower one may be the newer.
        for boot in [2, 9, 4] {
            assert!(numbers.take(Boot(boot), Seq(1)));
        }
        assert!(!numbers.take(Boot(7), Seq(3)));
        assert!(
            numbers.take(Boot(5), Seq(1)),
            "one more than are remembered"
        );
        assert!(!numbers.take(Boot(4), Seq(1)));
        assert!(
            numbers.take(Boot(7), Seq(3)),
            "the one heard least lately is gone"
        );
    }
}
