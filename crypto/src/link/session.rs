use core::fmt;

use super::record::{Sealed, seal, sealed_bytes};
use super::transcript::{SecretKey, Transcript, next_key};
use super::window::Window;
use super::{Error, RECORDS_MAX, Rekey};
use crate::suite::Suite;

/// How many keys ahead of the newest a record may be: a bound on the work that a
/// forged record causes.
const EPOCHS_AHEAD_MAX: u64 = 4;

/// How many bytes of the transcript hash name a session.
const ID_BYTES: usize = 16;

/// Keys and counters of an established link, for both directions.
///
/// Each record carries its counter, which is its nonce: it only grows, so no nonce is
/// used twice. Every [`Rekey::records`] records a direction changes its key and
/// forgets the old one. The keys are wiped when dropped.
pub struct Session {
    suite: Suite,
    id: [u8; ID_BYTES],
    rekey: Rekey,
    confirmed: bool,
    sending: Sending,
    receiving: Receiving,
}

/// Who this side was in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

struct Sending {
    key: SecretKey,
    epoch: u64,
    next: u64,
}

struct Receiving {
    /// The key of `epoch`.
    key: SecretKey,
    /// The key of the epoch before, as long as the window reaches into it.
    previous: Option<SecretKey>,
    epoch: u64,
    window: Window,
}

impl Session {
    /// The session of a handshake that is over, and the secret for resumptions of it.
    pub(super) fn new(
        suite: Suite,
        rekey: Rekey,
        role: Role,
        transcript: Transcript,
    ) -> Result<(Self, SecretKey), Error> {
        let ([initiator, responder, resumption], hash) = transcript.split()?;
        let (sending, receiving) = match role {
            Role::Initiator => (initiator, responder),
            Role::Responder => (responder, initiator),
        };
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        let session = Self {
            suite,
            id,
            rekey,
            confirmed: role == Role::Initiator,
            sending: Sending {
                key: sending,
                epoch: 0,
                next: 0,
            },
            receiving: Receiving {
                key: receiving,
                previous: None,
                epoch: 0,
                window: Window::default(),
            },
        };
        Ok((session, resumption))
    }

    /// Seals `plaintext` into `out` and returns the record's length: that of the
    /// plaintext and [`RECORD_OVERHEAD_BYTES`](super::RECORD_OVERHEAD_BYTES).
    ///
    /// # Errors
    /// [`Error::Buffer`] if `out` is too small; [`Error::Exhausted`] after
    /// [`RECORDS_MAX`] records: the link then needs a new handshake.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        sealed_bytes(plaintext, out)?;
        let sending = &mut self.sending;
        let counter = sending.next;
        if counter >= RECORDS_MAX {
            return Err(Error::Exhausted);
        }
        while sending.epoch < self.rekey.epoch_of(counter) {
            sending.key = next_key(&sending.key)?;
            sending.epoch += 1;
        }
        // Counted before it is used, so that whatever fails below uses up the nonce.
        sending.next += 1;
        seal(&sending.key, counter, plaintext, out)
    }

    /// Opens `record` into `out`, which needs room for its plaintext, and returns the
    /// plaintext's length. Records may come out of order within
    /// [`WINDOW_RECORDS`](super::WINDOW_RECORDS), each once.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Replayed`], [`Error::TooOld`],
    /// [`Error::TooFarAhead`], [`Error::Refused`] or [`Error::Buffer`]. The session
    /// and `out` are then as before.
    pub fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let sealed = Sealed::parse(record)?;
        let length = self.receiving.open(self.rekey, &sealed, out)?;
        self.confirmed = true;
        Ok(length)
    }

    /// Changes the sending key now, ahead of its count: for a rekey by time. The peer
    /// follows with the next record. Does nothing if nothing was sent under the
    /// current key.
    pub fn rekey(&mut self) {
        let epoch = self.rekey.epoch_of(self.sending.next);
        if self.sending.next > self.rekey.first_of(epoch) {
            self.sending.next = self.rekey.first_of(epoch + 1);
        }
    }

    /// Whether the peer is known to hold the session's keys. True from the start for
    /// the initiator; for the responder, from the first record that opens. A first
    /// message that an attacker recorded and sends again makes a session that is
    /// never confirmed.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The suite that the handshake agreed on.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The first bytes of the transcript hash: the same on both sides, different for
    /// each handshake, and no secret.
    #[must_use]
    pub fn id(&self) -> &[u8; ID_BYTES] {
        &self.id
    }

    /// How many records may still be sent.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        RECORDS_MAX.saturating_sub(self.sending.next)
    }
}

impl Receiving {
    fn open(&mut self, rekey: Rekey, sealed: &Sealed<'_>, out: &mut [u8]) -> Result<usize, Error> {
        let counter = sealed.counter;
        if counter >= RECORDS_MAX {
            return Err(Error::TooFarAhead(counter));
        }
        self.window.check(counter)?;
        let epoch = rekey.epoch_of(counter);
        let length = if epoch == self.epoch {
            sealed.open(&self.key, out)?
        } else if epoch < self.epoch {
            let previous = self.previous.as_ref().filter(|_| epoch + 1 == self.epoch);
            sealed.open(previous.ok_or(Error::TooOld(counter))?, out)?
        } else {
            self.open_ahead(epoch, sealed, out)?
        };
        self.window.accept(counter);
        if self.window.floor() >= rekey.first_of(self.epoch) {
            self.previous = None;
        }
        Ok(length)
    }

    /// Opens the first record under a new key and, if it is genuine, moves on to it.
    fn open_ahead(
        &mut self,
        epoch: u64,
        sealed: &Sealed<'_>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        if epoch - self.epoch > EPOCHS_AHEAD_MAX {
            return Err(Error::TooFarAhead(sealed.counter));
        }
        let mut previous = self.key.clone();
        let mut key = next_key(&previous)?;
        for _ in self.epoch + 1..epoch {
            previous = key;
            key = next_key(&previous)?;
        }
        let length = sealed.open(&key, out)?;
        self.key = key;
        self.previous = Some(previous);
        self.epoch = epoch;
        Ok(length)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("suite", &self.suite)
            .field("id", &self.id)
            .field("confirmed", &self.confirmed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Session, Session) {
        let transcript = || {
            let mut transcript = Transcript::new(Suite::DEFAULT, b"test");
            transcript.mix_key(b"the same on both sides").unwrap();
            transcript
        };
        let new = |role| {
            Session::new(Suite::DEFAULT, Rekey::MAX, role, transcript())
                .unwrap()
                .0
        };
        (new(Role::Initiator), new(Role::Responder))
    }

    /// As if all records before `counter` had been sent.
    fn forward(from: &mut Session, to: &mut Session, counter: u64) {
        let epoch = Rekey::MAX.epoch_of(counter);
        from.sending.next = counter;
        from.sending.epoch = epoch;
        to.receiving.epoch = epoch;
    }

    #[test]
    fn the_end_is_clear_and_final() {
        let (mut device, mut gateway) = pair();
        forward(&mut device, &mut gateway, RECORDS_MAX - 1);
        assert_eq!(device.remaining(), 1);
        let mut record = [0; 32];
        let length = device.seal(b"last", &mut record).unwrap();
        assert_eq!(gateway.open(&record[..length], &mut [0; 4]), Ok(4));
        assert_eq!(device.remaining(), 0);
        for _ in 0..2 {
            assert_eq!(device.seal(b"more", &mut record), Err(Error::Exhausted));
        }
        device.rekey();
        assert_eq!(device.seal(b"more", &mut record), Err(Error::Exhausted));
    }

    #[test]
    fn a_counter_beyond_the_end_is_refused() {
        let (_, mut gateway) = pair();
        for counter in [RECORDS_MAX, u64::MAX] {
            let mut record = [0; 24];
            record[..8].copy_from_slice(&counter.to_be_bytes());
            assert_eq!(
                gateway.open(&record, &mut []),
                Err(Error::TooFarAhead(counter))
            );
        }
    }

    #[test]
    fn the_key_before_is_forgotten_once_the_window_left_it() {
        let (mut device, mut gateway) = pair();
        let boundary = Rekey::MAX.records();
        forward(&mut device, &mut gateway, boundary - 1);
        device.sending.epoch = 0;
        gateway.receiving.epoch = 0;
        let mut record = [0; 24];
        for counter in boundary - 1..boundary + 64 {
            device.seal(b"", &mut record).unwrap();
            gateway.open(&record, &mut []).unwrap();
            let held = gateway.receiving.previous.is_some();
            assert_eq!(
                held,
                (boundary..boundary + 63).contains(&counter),
                "{counter}"
            );
        }
    }

    #[test]
    fn a_session_does_not_print_its_keys() {
        let (device, _) = pair();
        let text = format!("{device:?}");
        assert!(
            text.contains("confirmed") && !text.contains("key"),
            "{text}"
        );
    }
}
