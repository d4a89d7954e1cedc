//! What a gateway asks a wallet to sign, and that each is answered once.
//!
//! A nonce is random bytes and the gateway's own mark (HMAC-SHA-256) over all that the challenge says.
//! So the gateway knows its challenges again without keeping them, and remembers only the nonces that
//! were answered, until they are over. Its key is drawn anew with each start, and is another one when
//! the clock was set back: what is over by a clock that ran ahead is forgotten, and would be in time again.

use std::collections::{HashSet, VecDeque};

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use stencil_identity::moment;
use stencil_protocol::id::DeviceId;

use crate::grant::{NoCommand, check_command};

/// For how long a challenge can be answered, µs: also by way of a QR code and another device.
pub const LIFE_US: i64 = 300 * 1_000_000;
/// Random bytes of a nonce.
pub const RANDOM_BYTES: usize = 16;
/// Bytes of its mark.
const MARK_BYTES: usize = 16;
/// A clock goes back by so much without anything being done about it, µs: those who ask at one time see
/// it in any order, and clocks are set by less all the time. For so long nonces are remembered that are over.
pub const BACK_US: i64 = 5_000_000;
/// The most answered nonces that are remembered.
pub const MAX_USED: usize = 8_192;

/// What is asked for, which the answer repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Which device.
    pub device: DeviceId,
    /// What it shall do.
    pub command: String,
    /// When the gateway gave it, µs since the epoch, by its clock.
    pub given_us: i64,
    /// 64 hexadecimal digits.
    pub nonce: String,
}

/// Why an answer to a challenge is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It was never given by this gateway since it was started or its clock was set back, or something of
    /// it was changed.
    #[error(
        "this gateway has not given the nonce for that device, command and time, or was started anew or \
         its clock set back since: ask for another challenge"
    )]
    Unknown,
    /// It was answered already.
    #[error("the nonce was used already: each is for one attempt; ask for another challenge")]
    Used,
    /// It is over.
    #[error("the challenge was given more than {} s ago: ask for another one", LIFE_US / 1_000_000)]
    Over,
    /// Too many are being answered.
    #[error("too many challenges were answered of late: try again in a minute")]
    Busy,
    /// There is no such command.
    #[error(transparent)]
    Command(#[from] NoCommand),
}

impl Challenge {
    /// The text that a wallet shows and signs (EIP-191).
    #[must_use]
    pub fn text(&self, gateway: &str) -> String {
        format!(
            "Stencil access: tell a device to act.\n\n\
             Device: {}\nCommand: {}\nGateway: {gateway}\nTime: {}\nNonce: {}\n\n\
             Sign this only if you stand there and want it. It costs nothing.",
            self.device,
            self.command,
            moment::format(self.given_us),
            self.nonce,
        )
    }
}

/// Gives challenges, and takes each answer once.
pub struct Desk {
    key: hmac::Key,
    used: HashSet<[u8; RANDOM_BYTES]>,
    /// The same with when each is over, the next one first.
    ends: VecDeque<(i64, [u8; RANDOM_BYTES])>,
    /// The latest time that was seen since the key is this one.
    latest_us: i64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("used", &self.used.len())
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// With a key that is drawn at random at each start.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            used: HashSet::new(),
            ends: VecDeque::new(),
            latest_us: i64::MIN,
        }
    }

    /// Takes note of the time. With a clock that was set back none of the challenges of before is known any
    /// more, answered or not, and nothing is to be remembered of them.
    fn see(&mut self, now_us: i64) {
        if now_us >= self.latest_us.saturating_sub(BACK_US) {
            self.latest_us = self.latest_us.max(now_us);
            return;
        }
        let next = hmac::sign(
            &self.key,
            b"stencil access key after the clock was set back",
        );
        self.key = hmac::Key::new(hmac::HMAC_SHA256, next.as_ref());
        self.used.clear();
        self.ends.clear();
        self.latest_us = now_us;
    }

    /// A challenge.
    ///
    /// # Errors
    /// [`Unfit::Command`].
    pub fn give(
        &mut self,
        device: DeviceId,
        command: &str,
        now_us: i64,
        random: [u8; RANDOM_BYTES],
    ) -> Result<Challenge, Unfit> {
        check_command(command)?;
        self.see(now_us);
        let mut nonce = hex::encode(random);
        let mark = hmac::sign(&self.key, &said(&device, command, now_us, &random));
        let mark = mark.as_ref().get(..MARK_BYTES).unwrap_or_default();
        nonce.push_str(&hex::encode(mark));
        Ok(Challenge {
            device,
            command: command.to_owned(),
            given_us: now_us,
            nonce,
        })
    }

    /// Takes an answer to a challenge, once: whatever comes of it, its nonce is used up.
    ///
    /// # Errors
    /// [`Unfit`]; of these only [`Unfit::Used`] is about a nonce that was good once.
    pub fn take(&mut self, challenge: &Challenge, now_us: i64) -> Result<(), Unfit> {
        self.see(now_us);
        let mut bytes = [0; RANDOM_BYTES + MARK_BYTES];
        hex::decode_to_slice(&challenge.nonce, &mut bytes).map_err(|_| Unfit::Unknown)?;
        let (random, mark) = bytes.split_at(RANDOM_BYTES);
        let random: [u8; RANDOM_BYTES] = random.try_into().map_err(|_| Unfit::Unknown)?;
        let said = said(
            &challenge.device,
            &challenge.command,
            challenge.given_us,
            &random,
        );
        let right = hmac::sign(&self.key, &said);
        let right = right.as_ref().get(..MARK_BYTES).unwrap_or_default();
        aws_lc_rs::constant_time::verify_slices_are_equal(right, mark)
            .map_err(|_| Unfit::Unknown)?;
        // In upper case it would be the same nonce in another text.
        if challenge.nonce != hex::encode(bytes) {
            return Err(Unfit::Unknown);
        }
        let over_us = now_us.saturating_sub(BACK_US);
        while let Some((_, over)) = self.ends.pop_front_if(|(end_us, _)| *end_us < over_us) {
            self.used.remove(&over);
        }
        // A clock that was set back a little since makes none younger than it is.
        let age_us = now_us.saturating_sub(challenge.given_us);
        if !(0..=LIFE_US).contains(&age_us) {
            return Err(Unfit::Over);
        }
        if self.used.contains(&random) {
            return Err(Unfit::Used);
        }
        if self.used.len() >= MAX_USED {
            return Err(Unfit::Busy);
        }
        self.used.insert(random);
        // In the order of their ends, which is not that of the answers.
        let end_us = challenge.given_us.saturating_add(LIFE_US);
        let at = self
            .ends
            .partition_point(|(other_us, _)| *other_us <= end_us);
        self.ends.insert(at, (end_us, random));
        Ok(())
    }
}

/// What the mark is over: each part with its length, so that none runs into the next.
fn said(device: &DeviceId, command: &str, given_us: i64, random: &[u8]) -> Vec<u8> {
    let mut said = b"stencil access challenge v1".to_vec();
    for part in [device.as_str().as_bytes(), command.as_bytes()] {
        said.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        said.extend(part);
    }
    said.extend(given_us.to_be_bytes());
    said.extend(random);
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> Desk {
        Desk::new(&[7; 32])
    }

    fn given(desk: &mut Desk, n: u8, now_us: i64) -> Challenge {
        let device = DeviceId::parse("locker-1").expect("an id");
        desk.give(device, "open", now_us, [n; RANDOM_BYTES])
            .expect("a challenge")
    }

    #[test]
    fn each_is_answered_once_and_in_time() {
        let mut desk = desk();
        let one = given(&mut desk, 1, 1_000);
        let late = given(&mut desk, 2, 1_000);
        assert_eq!(desk.take(&one, 2_000), Ok(()));
        assert_eq!(desk.take(&one, 2_000), Err(Unfit::Used));
        assert_eq!(desk.take(&one, 1_000 + LIFE_US), Err(Unfit::Used));
        assert_eq!(desk.take(&late, 1_001 + LIFE_US), Err(Unfit::Over));
        // What is over is forgotten, and is over all the same.
        assert_eq!(desk.take(&one, 1_001 + LIFE_US), Err(Unfit::Over));
        assert_eq!(desk.used.len(), 1);
        let later_us = 1_001 + LIFE_US + BACK_US;
        assert_eq!(desk.take(&one, later_us), Err(Unfit::Over));
        assert!(desk.used.is_empty() && desk.ends.is_empty());
        let ahead = given(&mut desk, 3, later_us);
        assert_eq!(desk.take(&ahead, later_us - 1), Err(Unfit::Over));
    }

    #[test]
    fn an_answer_that_was_forgotten_by_a_clock_that_ran_ahead_is_none_when_it_is_set_back() {
        let minute_us = 60_000_000;
        let mut desk = desk();
        let (one, open) = (given(&mut desk, 1, 0), given(&mut desk, 2, 0));
        assert_eq!(desk.take(&one, 0), Ok(()));
        // Ten minutes ahead somebody answers, and it is forgotten.
        let ahead = given(&mut desk, 3, 10 * minute_us);
        assert_eq!(desk.take(&ahead, 10 * minute_us), Ok(()));
        assert_eq!(desk.used.len(), 1);
        for other in [&one, &open, &ahead] {
            assert_eq!(desk.take(other, minute_us), Err(Unfit::Unknown));
        }
        // Nor when their time comes; and who asks anew is let in at once.
        let fresh = given(&mut desk, 4, minute_us);
        assert_eq!(desk.take(&fresh, minute_us + 1), Ok(()));
        assert_eq!(desk.take(&ahead, 10 * minute_us), Err(Unfit::Unknown));
        // Given ahead, and the clock set back before anything was answered.
        let ahead = given(&mut desk, 5, 20 * minute_us);
        let fresh = given(&mut desk, 6, 11 * minute_us);
        assert_eq!(desk.take(&ahead, 20 * minute_us), Err(Unfit::Unknown));
        assert_eq!(desk.take(&fresh, 20 * minute_us), Err(Unfit::Over));
        // A little is nothing, also in many steps: what is forgotten then is over.
        let mut desk = super::tests::desk();
        let one = given(&mut desk, 1, 0);
        assert_eq!(desk.take(&one, 0), Ok(()));
        let two = given(&mut desk, 2, LIFE_US + BACK_US);
        assert_eq!(desk.take(&two, LIFE_US + BACK_US), Ok(()));
        assert_eq!(desk.take(&one, LIFE_US), Err(Unfit::Used));
        assert_eq!(desk.take(&one, LIFE_US - 1), Err(Unfit::Unknown));
    }

    #[test]
    fn what_was_changed_or_given_by_another_is_unknown() {
        let mut desk = desk();
        let one = given(&mut desk, 1, 1_000);
        let mut others = vec![given(&mut Desk::new(&[8; 32]), 1, 1_000)];
        others.push(Challenge {
            command: "close".to_owned(),
            ..one.clone()
        });
        others.push(Challenge {
            device: DeviceId::parse("locker-2").expect("an id"),
            ..one.clone()
        });
        others.push(Challenge {
            given_us: 1_001,
            ..one.clone()
        });
        others.push(Challenge {
            nonce: one.nonce.to_uppercase(),
            ..one.clone()
        });
        others.push(Challenge {
            nonce: one.nonce[..62].to_owned(),
            ..one.clone()
        });
        others.push(Challenge {
            nonce: String::new(),
            ..one.clone()
        });
        for other in others {
            assert_eq!(desk.take(&other, 2_000), Err(Unfit::Unknown), "{other:?}");
        }
        assert_eq!(desk.take(&one, 2_000), Ok(()));
        assert_eq!(
            desk.give(one.device, "open\nGateway: x", 0, [0; 16]).err().map(|why| why.to_string()),
            Some("“open\nGateway: x” is no name of a command; 1 to 32 letters, digits, '.', '_' or '-' are right".to_owned())
        );
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let mut desk = desk();
        for n in 0..MAX_USED {
            let mut random = [0; RANDOM_BYTES];
            random[..8].copy_from_slice(&n.to_be_bytes());
            let device = DeviceId::parse("locker-1").expect("an id");
            let one = desk.give(device, "open", 0, random).expect("a challenge");
            assert_eq!(desk.take(&one, 0), Ok(()));
        }
        let more = given(&mut desk, 255, BACK_US + 1);
        assert_eq!(desk.take(&more, BACK_US + 1), Err(Unfit::Busy));
        assert_eq!(desk.take(&more, LIFE_US + BACK_US + 1), Ok(()));
        assert_eq!(desk.used.len(), 1);
    }
}
