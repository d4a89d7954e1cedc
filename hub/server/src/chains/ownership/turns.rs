//! When an account had something by which it could command a device, by the times of blocks.

use stencil_ownership::holder::Turn;
use stencil_payments::Address;
use stencil_protocol::id::{DeviceId, TenantId};

use super::{Owners, Refused};

/// When an account got a device's passport and rights to use it, and when it had them no more, as far as that
/// is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Of each token that the account had at some time, in the order of the chain.
    tokens: Vec<Vec<Turn>>,
    /// Whether it is known of each token whose it is.
    pub(crate) is_known: bool,
}

impl Owners {
    /// When an account had something by which it could command a device.
    ///
    /// # Errors
    /// [`Refused::NoPassport`], and those of the store.
    pub(crate) async fn turns_of(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        account: Address,
    ) -> Result<Turns, Refused> {
        // Of all: what another has now may have been this account's.
        let control = self.control(tenant, device, None).await?;
        let mut turns = Turns {
            is_known: control.settings.passports().is_none() || control.token.is_some(),
            tokens: Vec::new(),
        };
        let rights = control.rights.iter().map(|(_, token)| token);
        for token in control.token.iter().chain(rights) {
            turns.is_known &= token.is_known();
            let of_token = token.turns(account);
            if !of_token.is_empty() {
                turns.tokens.push(of_token);
            }
        }
        Ok(turns)
    }
}

impl Turns {
    /// Whether the account had any of them at a time, µs since the epoch. What was before all that is
    /// known of a token is told by the first that is.
    pub(crate) fn had_any(&self, at_us: i64) -> bool {
        self.tokens.iter().any(|turns| {
            let before = turns.iter().rev().find(|turn| time_us(turn) <= at_us);
            match (before, turns.first()) {
                (Some(turn), _) => turn.has,
                (None, Some(first)) => !first.has,
                (None, None) => false,
            }
        })
    }

    /// When it had none any more, and when it had any again, after a time, µs since the epoch, at which it
    /// had some or not.
    pub(crate) fn after(&self, after_us: i64, had: bool) -> Vec<(i64, bool)> {
        let mut times: Vec<i64> = self.tokens.iter().flatten().map(time_us).collect();
        times.retain(|at_us| *at_us > after_us);
        times.sort_unstable();
        times.dedup();
        let (mut had, mut changes) = (had, Vec::new());
        for at_us in times {
            let has = self.had_any(at_us);
            if has != had {
                changes.push((at_us, has));
            }
            had = has;
        }
        changes
    }

    /// When it last had one of them no more, µs since the epoch.
    pub(crate) fn last_gone_us(&self) -> Option<i64> {
        let all = self.tokens.iter().flatten();
        let gone = all.filter(|turn| !turn.has && turn.time_s.is_some());
        gone.map(time_us).max()
    }
}

/// A turn's time; one that is not known was before all others.
fn time_us(turn: &Turn) -> i64 {
    let time_us = turn
        .time_s
        .map(|time_s| i64::try_from(time_s).map_or(i64::MAX, |it| it.saturating_mul(1_000_000)));
    time_us.unwrap_or(i64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(has: bool, time_s: u64) -> Turn {
        Turn {
            has,
            time_s: (time_s > 0).then_some(time_s),
        }
    }

    fn of(tokens: &[&[Turn]]) -> Turns {
        Turns {
            tokens: tokens.iter().map(|turns| turns.to_vec()).collect(),
            is_known: true,
        }
    }

    #[test]
    fn a_token_that_was_sold_and_bought_back_was_not_there_in_between() {
        let one = of(&[&[turn(true, 10), turn(false, 50), turn(true, 60)]]);
        let second = 1_000_000;
        assert_eq!(
            one.after(10 * second, true),
            [(50 * second, false), (60 * second, true)]
        );
        assert_eq!(one.after(50 * second, false), [(60 * second, true)]);
        assert_eq!(one.last_gone_us(), Some(50 * second));
        assert!(one.had_any(10 * second) && !one.had_any(55 * second));
        // Another token held meanwhile lets the account do the same.
        let two = of(&[
            &[turn(true, 10), turn(false, 50), turn(true, 60)],
            &[turn(true, 0)],
        ]);
        assert_eq!(two.after(10 * second, true), []);
        // What is kept begins with that it was sold: it was held before.
        let cut = of(&[&[turn(false, 50)]]);
        assert!(cut.had_any(49 * second) && !cut.had_any(50 * second));
    }
}
