use rand_core::TryCryptoRng;

use super::{Error, IDENTITY_MAX_BYTES, NONCE_BYTES, OPEN_MAX_BYTES, Rekey, SUITES_MAX, VERSION};
use crate::kem;
use crate::suite::Suite;

/// Lowest version, highest version, rekey exponent, number of suites.
const HEAD_BYTES: usize = 4;

/// What a device offers: the suites that it takes, the one it likes best first, how
/// often keys change, and who it is.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// One to [`SUITES_MAX`] suites.
    pub suites: &'a [Suite],
    /// The rekey schedule of both directions.
    pub rekey: Rekey,
    /// 1 to [`IDENTITY_MAX_BYTES`] bytes, a device id: sent in clear, authenticated.
    pub identity: &'a [u8],
}

impl<'a> Offer<'a> {
    /// The default rekey schedule.
    #[must_use]
    pub fn new(suites: &'a [Suite], identity: &'a [u8]) -> Self {
        Self {
            suites,
            rekey: Rekey::DEFAULT,
            identity,
        }
    }
}

/// A device that has opened a handshake and waits for the gateway's challenge. It holds
/// no secret, and its message for as long as that may have to be sent again.
#[derive(Debug, Clone)]
pub struct Opening {
    message: [u8; OPEN_MAX_BYTES],
    length: usize,
}

impl Opening {
    /// Makes the first message of a handshake.
    ///
    /// # Errors
    /// [`Error::Identity`], [`Error::NoSuite`] for an empty or too long list,
    /// [`Error::Kem`] if `rng` fails.
    pub fn start<R: TryCryptoRng + ?Sized>(offer: &Offer<'_>, rng: &mut R) -> Result<Self, Error> {
        let identity_bytes = identity_length(offer.identity)?;
        let suites = u8::try_from(offer.suites.len())
            .ok()
            .filter(|count| (1..=SUITES_MAX).contains(&usize::from(*count)))
            .ok_or(Error::NoSuite)?;
        let nonce = kem::random::<NONCE_BYTES, R>(rng)?;
        let mut opening = Self {
            message: [0; OPEN_MAX_BYTES],
            length: 0,
        };
        opening.put(&[VERSION, VERSION, offer.rekey.log2(), suites]);
        for suite in offer.suites {
            opening.put(&suite.id().to_be_bytes());
        }
        opening.put(&[identity_bytes]);
        opening.put(offer.identity);
        opening.put(nonce.as_ref());
        Ok(opening)
    }

    /// The message to send, as often as it takes.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.get(..self.length).unwrap_or_default()
    }

    /// The parts were checked to fit.
    fn put(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        if let Some(slot) = self.message.get_mut(self.length..end) {
            slot.copy_from_slice(part);
            self.length = end;
        }
    }
}

/// A first message, parsed; nothing vouches for it yet.
///
/// ```text
/// lowest version u8 ‖ highest version u8 ‖ rekey exponent u8 ‖ number of suites u8
///   ‖ suites u16 BE each ‖ identity length u8 ‖ identity ‖ nonce 16
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Open<'a> {
    pub(super) bytes: &'a [u8],
    lowest: u8,
    highest: u8,
    rekey: Rekey,
    suites: &'a [u8],
    identity: &'a [u8],
}

impl<'a> Open<'a> {
    /// Parses a first message.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Rekey`], [`Error::NoSuite`] or [`Error::Identity`].
    pub fn parse(message: &'a [u8]) -> Result<Self, Error> {
        let (open, rest) = Self::split(message)?;
        if rest.is_empty() {
            Ok(open)
        } else {
            Err(Error::Length {
                expected_bytes: open.bytes.len(),
                actual_bytes: message.len(),
            })
        }
    }

    /// Parses the first message that `message` starts with; gives the rest too.
    pub(super) fn split(message: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let too_short = |expected_bytes| Error::Length {
            expected_bytes,
            actual_bytes: message.len(),
        };
        let least = HEAD_BYTES + 2 + 1 + 1 + NONCE_BYTES;
        let (&[lowest, highest, rekey, count], rest) = message
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(too_short(least))?;
        let rekey = Rekey::from_log2(rekey)?;
        let count = usize::from(count);
        if !(1..=SUITES_MAX).contains(&count) {
            return Err(Error::NoSuite);
        }
        let least = least + 2 * (count - 1);
        let (suites, rest) = rest.split_at_checked(2 * count).ok_or(too_short(least))?;
        let (&length, rest) = rest.split_first().ok_or(too_short(least))?;
        let length = usize::from(length);
        if length == 0 || length > IDENTITY_MAX_BYTES {
            return Err(Error::Identity(length));
        }
        let (identity, rest) = rest
            .split_at_checked(length)
            .ok_or(too_short(least + length - 1))?;
        let (_, rest) = rest
            .split_at_checked(NONCE_BYTES)
            .ok_or(too_short(least + length - 1))?;
        let bytes = message
            .get(..message.len() - rest.len())
            .ok_or(too_short(least))?;
        let open = Self {
            bytes,
            lowest,
            highest,
            rekey,
            suites,
            identity,
        };
        Ok((open, rest))
    }

    /// Who the sender says it is: the device id, sent in clear.
    #[must_use]
    pub fn identity(&self) -> &'a [u8] {
        self.identity
    }

    /// The rekey schedule that the sender asks for.
    #[must_use]
    pub fn rekey(&self) -> Rekey {
        self.rekey
    }

    /// The suite for this device: of those that it offers, the first of `accepted`.
    ///
    /// # Errors
    /// [`Error::Version`] when it doesn't speak ours, [`Error::NoSuite`] when it offers
    /// none of these. There is nothing to fall back to.
    pub fn choose(&self, accepted: &[Suite]) -> Result<Suite, Error> {
        if !(self.lowest..=self.highest).contains(&VERSION) {
            return Err(Error::Version(self.highest));
        }
        accepted
            .iter()
            .copied()
            .find(|suite| self.offers(*suite))
            .ok_or(Error::NoSuite)
    }

    pub(super) fn offers(&self, suite: Suite) -> bool {
        self.suites
            .chunks_exact(2)
            .any(|id| id == suite.id().to_be_bytes())
    }
}

/// The length of an identity as it is sent.
pub(super) fn identity_length(identity: &[u8]) -> Result<u8, Error> {
    u8::try_from(identity.len())
        .ok()
        .filter(|length| (1..=IDENTITY_MAX_BYTES).contains(&usize::from(*length)))
        .ok_or(Error::Identity(identity.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Os;

    /// What another build may offer: numbers that this one doesn't know.
    fn open(versions: [u8; 2], suites: &[u16]) -> Vec<u8> {
        let mut message = vec![versions[0], versions[1], 16];
        message.push(u8::try_from(suites.len()).unwrap());
        message.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
        message.extend([1, b'd']);
        message.extend([7; NONCE_BYTES]);
        message
    }

    fn chosen(message: &[u8]) -> Result<Suite, Error> {
        Open::parse(message)?.choose(Suite::ALL)
    }

    #[test]
    fn what_both_know_is_chosen_whatever_else_is_offered() {
        let known = Suite::DEFAULT.id();
        for suites in [&[known][..], &[0x7f00, known], &[known, 0x7f00, 9]] {
            assert_eq!(
                chosen(&open([VERSION, VERSION], suites)),
                Ok(Suite::DEFAULT)
            );
            assert_eq!(chosen(&open([1, 200], suites)), Ok(Suite::DEFAULT));
        }
    }

    #[test]
    fn without_anything_in_common_there_is_no_fallback() {
        let known = Suite::DEFAULT.id();
        assert_eq!(chosen(&open([3, 9], &[known])), Err(Error::Version(9)));
        assert_eq!(chosen(&open([1, 1], &[known])), Err(Error::Version(1)));
        assert_eq!(chosen(&open([9, 1], &[known])), Err(Error::Version(1)));
        assert_eq!(chosen(&open([2, 2], &[0, 0x7f00])), Err(Error::NoSuite));
        let message = open([2, 2], &[known]);
        assert_eq!(
            Open::parse(&message).unwrap().choose(&[]),
            Err(Error::NoSuite)
        );
    }

    #[test]
    fn every_shorter_and_a_longer_message_is_refused() {
        let message = open([2, 2], &[1, 2, 3]);
        for length in 0..message.len() {
            assert!(Open::parse(&message[..length]).is_err(), "{length}");
        }
        let longer = [&message[..], &[0]].concat();
        assert!(matches!(Open::parse(&longer), Err(Error::Length { .. })));
        assert_eq!(chosen(&open([2, 2], &[])), Err(Error::NoSuite));
        assert_eq!(chosen(&open([2, 2], &[1; 9])), Err(Error::NoSuite));
    }

    #[test]
    fn an_offer_reads_as_it_was_made() {
        let offer = Offer {
            suites: &[Suite::DEFAULT],
            rekey: Rekey::MIN,
            identity: &[b'x'; IDENTITY_MAX_BYTES],
        };
        let opening = Opening::start(&offer, &mut Os).unwrap();
        let open = Open::parse(opening.message()).unwrap();
        assert_eq!(open.identity(), offer.identity);
        assert_eq!(open.rekey(), Rekey::MIN);
        assert_eq!(open.bytes, opening.message());
        let other = Opening::start(&offer, &mut Os).unwrap();
        assert_ne!(
            opening.message(),
            other.message(),
            "each has a nonce of its own"
        );
    }

    #[test]
    fn offers_out_of_bounds_are_refused() {
        for length in [0, 49, 300] {
            let identity = vec![b'x'; length];
            let refused = Opening::start(&Offer::new(Suite::ALL, &identity), &mut Os);
            assert_eq!(refused.err(), Some(Error::Identity(length)));
        }
        for suites in [&[][..], &[Suite::DEFAULT; SUITES_MAX + 1]] {
            let refused = Opening::start(&Offer::new(suites, b"d"), &mut Os);
            assert_eq!(refused.err(), Some(Error::NoSuite));
        }
    }
}
