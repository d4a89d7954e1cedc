//! For how long tokens open something, and the end of what they have let in.
//!
//! A token that has ended is refused by the store at each request. What it has let in before, such as an MQTT
//! session or a live page, is ended here, at most [`EVERY`] later.

use std::sync::Arc;
use std::time::Duration;

use stencil_store::{Error, MAX_PAGE, Tenancy, TokenEnd};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::grants::Grants;
use crate::parts::told_to_end;

/// For how many days a token of the API or of an operator is made, unless somebody says otherwise.
pub const USUAL_DAYS: u32 = 365;
/// The most days that somebody may say.
pub const MAX_DAYS: u32 = 3_660;

const DAY_S: u64 = 86_400;
/// Between two looks at what has ended.
const EVERY: Duration = Duration::from_secs(5);

/// From when on a token opens nothing that is made now to open something for so many seconds; 0 is without an end.
pub(crate) fn end_us(valid_for_s: u64, now_us: i64) -> Result<Option<i64>, String> {
    let most_s = u64::from(MAX_DAYS) * DAY_S;
    if valid_for_s > most_s {
        return Err(format!(
            "{valid_for_s} is too long, 1 to {most_s} ({MAX_DAYS} days) is right, or 0 for a token without an end"
        ));
    }
    let span_us = i64::try_from(valid_for_s).unwrap_or(i64::MAX);
    let span_us = span_us.saturating_mul(1_000_000);
    Ok((valid_for_s > 0).then(|| now_us.saturating_add(span_us)))
}

/// The seconds of so many days.
pub(crate) fn days_s(days: u32) -> u64 {
    u64::from(days) * DAY_S
}

/// The same for so many days, as a command names them.
pub(crate) fn of_days(days: u32, now_us: i64) -> Result<Option<i64>, crate::Error> {
    end_us(days_s(days), now_us).map_err(|why| crate::Error::option("days", why))
}

/// Ends what tokens have let in as they end, until told to end itself.
pub(crate) async fn run(
    tenancy: Arc<dyn Tenancy>,
    grants: Grants,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What had ended before was not let in.
    let mut since = TokenEnd::from(clock.now_us());
    loop {
        tokio::select! {
            () = told_to_end(&mut stop) => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = look(tenancy.as_ref(), &grants, &clock, &mut since).await {
            tracing::warn!(%error, "what ended tokens have let in is not ended now; in a moment again");
        }
    }
}

/// Ends what tokens have let in that have ended since; a part at a time.
async fn look(
    tenancy: &dyn Tenancy,
    grants: &Grants,
    clock: &Clock,
    since: &mut TokenEnd,
) -> Result<(), Error> {
    let now_us = clock.now_us();
    loop {
        let ended = tenancy.tokens_ended(since, now_us, MAX_PAGE).await?;
        let Some((_, last)) = ended.last().cloned() else {
            break;
        };
        for (tenant, end) in ended {
            grants.revoke(&tenant, &end.id);
            tracing::info!(%tenant, token = end.id, "a token has ended");
        }
        *since = last;
    }
    // A clock that was set back lets some in again, which end once more.
    *since = TokenEnd::from(now_us);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use stencil_protocol::id::{DeviceId, TenantId};
    use stencil_store::TokenKind;

    use super::*;

    #[test]
    fn zero_is_without_an_end_and_too_long_is_refused() {
        assert_eq!(end_us(0, 5), Ok(None));
        assert_eq!(end_us(2, 5), Ok(Some(2_000_005)));
        let longest = end_us(days_s(MAX_DAYS), 5).unwrap();
        assert!(longest.is_some());
        for wrong in [days_s(MAX_DAYS) + 1, u64::MAX] {
            assert!(end_us(wrong, 5).unwrap_err().contains("316224000"));
        }
    }

    #[tokio::test]
    async fn what_a_token_has_let_in_ends_with_it_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = stencil_store::sqlite::open(folder.path().join("hub.db"));
        let tenancy = store.await.unwrap().store().tenancy;
        let acme = TenantId::parse("acme").unwrap();
        tenancy.create_tenant(&acme, 1).await.unwrap();
        let make = async |name: &str, end_us| {
            let device = DeviceId::parse(name).unwrap();
            let kind = TokenKind::Device { device };
            let made = tenancy.create_token(&acme, kind, name, end_us, 1);
            made.await.unwrap().token.id
        };
        let (ending, later, endless) = (
            make("ending", Some(100)).await,
            make("later", Some(200)).await,
            make("endless", None).await,
        );
        let grants = Grants::default();
        let held = [&ending, &later, &endless].map(|id| grants.hold(&acme, id));
        let ended = || [0, 1, 2].map(|at| held[at].is_revoked());
        let now_us = Arc::new(AtomicI64::new(99));
        let clock = Clock::from_fn({
            let now_us = Arc::clone(&now_us);
            move || now_us.load(Ordering::SeqCst)
        });
        let mut since = TokenEnd::from(clock.now_us());
        let mut at = async |time_us| {
            now_us.store(time_us, Ordering::SeqCst);
            let looked = look(tenancy.as_ref(), &grants, &clock, &mut since);
            looked.await.unwrap();
        };
        at(99).await;
        assert_eq!(ended(), [false, false, false]);
        at(100).await;
        assert_eq!(ended(), [true, false, false]);
        at(i64::MAX).await;
        assert_eq!(ended(), [true, true, false]);
    }
}
