//! Money of no invoice that is small and much: what it came to is told, and not each of it.
//!
//! Anybody can send next to nothing any number of times, and each would be a row that a real stray is looked for
//! among. So of each asset and address the largest of a day stay as they are, and what is smaller is one sum. Only what
//! is final is folded: what the chain may still take back has to be found by its key. So a reorganisation deeper
//! than the chain's policy leaves a sum as it was.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_payments::money::{Amount, Asset};
use stencil_payments::port::Chain;
use stencil_protocol::id::TenantId;
use stencil_store::UnmatchedCredit;

use super::cashier::{Cashier, Refused};

/// Movements of one asset to one address that are told each, of a day.
const MOST_A_DAY: usize = 100;
/// Movements that are folded in one transaction.
const AT_ONCE: usize = 500;
/// Rows that are read at once.
const PAGE: u32 = 500;
const DAY_US: i64 = 86_400 * 1_000_000;
/// Between two looks at a chain's, µs.
const LOOK_US: i64 = 60 * 1_000_000;

/// Where there may be something to fold: by chain, whose and of which days since the epoch.
#[derive(Debug, Default)]
pub(super) struct Folding(Mutex<BTreeMap<u64, Days>>);

#[derive(Debug, Default)]
struct Days {
    days: BTreeSet<(TenantId, i64)>,
    /// What was final when it was looked last.
    looked: Option<u64>,
    next_us: Option<i64>,
}

/// What many movements came to, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sum {
    asset: Asset,
    to: Address,
    amount: Amount,
    count: u64,
    reason: Folded,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Folded {
    Folded,
}

/// A movement, as far as it matters here.
#[derive(Deserialize)]
struct Moved {
    asset: Asset,
    to: Address,
    amount: Amount,
    block: Number,
}

#[derive(Deserialize)]
struct Number {
    number: u64,
}

/// Movements of one asset to one address on one day.
#[derive(Default)]
struct Place {
    /// Under which key their sum is kept, and what it is so far.
    sum: Option<(String, Sum)>,
    /// The largest.
    largest: BinaryHeap<Reverse<(Amount, i64, String)>>,
    small: Vec<(Amount, String)>,
}

impl Folding {
    fn by_chain(&self) -> MutexGuard<'_, BTreeMap<u64, Days>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Money of no invoice has come.
    pub(super) fn came(&self, chain: u64, tenant: &TenantId, at_us: i64) {
        let day = at_us.div_euclid(DAY_US);
        let mut all = self.by_chain();
        let of_chain = all.entry(chain).or_default();
        of_chain.days.insert((tenant.clone(), day));
    }

    /// Where it is time to look, all up to a block being final.
    fn due(&self, chain: u64, last_final: u64, now_us: i64) -> Vec<(TenantId, i64)> {
        let mut all = self.by_chain();
        let Some(of_chain) = all.get_mut(&chain).filter(|it| !it.days.is_empty()) else {
            return Vec::new();
        };
        let nothing_new = of_chain.looked.is_some_and(|looked| looked >= last_final);
        if nothing_new || of_chain.next_us.is_some_and(|next_us| now_us < next_us) {
            return Vec::new();
        }
        of_chain.looked = Some(last_final);
        of_chain.next_us = Some(now_us.saturating_add(LOOK_US));
        let due = of_chain.days.iter().cloned().collect();
        // What came is final a day later, or is left as it is.
        let oldest = now_us.div_euclid(DAY_US) - 1;
        of_chain.days.retain(|(_, day)| *day >= oldest);
        due
    }
}

impl Cashier {
    /// Whether somebody is paid in an asset here: it is in the hub's settings of its chain, or an invoice or a tenant
    /// names it. Until the chain has confirmed its tokens, as after a start, none is known, and each may be one.
    pub(super) fn takes(&self, asset: Asset) -> bool {
        let is_one = |chain: &dyn Chain| {
            let mut tokens = chain.tokens().iter();
            chain.ready().is_err() || tokens.any(|known| known.token.asset() == asset)
        };
        let chain = self.chains().by_id(asset.chain);
        chain.is_some_and(|chain| is_one(chain.as_ref())) || self.till().index.knows(asset)
    }

    /// Folds what is small and much of a chain, whose stream was taken up to this final block and further.
    pub(super) async fn fold_strays(&self, chain: u64, last_final: u64) {
        let due = self.0.folding.due(chain, last_final, self.0.clock.now_us());
        for (tenant, day) in due {
            if let Err(error) = self.fold_day(chain, last_final, &tenant, day).await {
                tracing::warn!(%tenant, %error, "small money of no invoice is not summed up now");
            }
        }
    }

    async fn fold_day(
        &self,
        chain: u64,
        last_final: u64,
        tenant: &TenantId,
        day: i64,
    ) -> Result<(), Refused> {
        let (begins_us, ends_us) = (day * DAY_US, (day + 1) * DAY_US);
        let mut places: BTreeMap<(Asset, Address), Place> = BTreeMap::new();
        let mut after = Some(format!("{ends_us}:"));
        while let Some(cursor) = after {
            let payments = &self.0.store.payments;
            let page = payments.unmatched(tenant, Some(&cursor), PAGE).await?;
            let rows = page.items.iter();
            for row in rows.take_while(|row| row.at_us >= begins_us) {
                // Sums are dated by the end of their day: they come before what they are added to.
                if let Ok(sum) = serde_json::from_str::<Sum>(&row.body) {
                    let place = places.entry((sum.asset, sum.to)).or_default();
                    place.sum = Some((row.credit.clone(), sum));
                    continue;
                }
                let Ok(moved) = serde_json::from_str::<Moved>(&row.body) else {
                    continue;
                };
                if moved.asset.chain != chain || moved.block.number > last_final {
                    continue;
                }
                let (asset, to) = (moved.asset, moved.to);
                let place = places.entry((asset, to)).or_default();
                let one = (moved.amount, row.at_us, row.credit.clone());
                place.largest.push(Reverse(one));
                if place.largest.len() <= MOST_A_DAY {
                    continue;
                }
                if let Some(Reverse((amount, _, credit))) = place.largest.pop() {
                    place.small.push((amount, credit));
                }
                if place.small.len() >= AT_ONCE {
                    self.fold_place(tenant, ends_us - 1, (asset, to), place)
                        .await?;
                }
            }
            let is_over = page.items.last().is_none_or(|row| row.at_us < begins_us);
            after = page.next.filter(|_| !is_over);
        }
        for (what, mut place) in places {
            self.fold_place(tenant, ends_us - 1, what, &mut place)
                .await?;
        }
        Ok(())
    }

    async fn fold_place(
        &self,
        tenant: &TenantId,
        at_us: i64,
        (asset, to): (Asset, Address),
        place: &mut Place,
    ) -> Result<(), Refused> {
        let small = std::mem::take(&mut place.small);
        let Some((_, first)) = small.first() else {
            return Ok(());
        };
        let (credit, mut sum) = place.sum.take().unwrap_or_else(|| {
            let none = Sum {
                asset,
                to,
                amount: Amount::ZERO,
                count: 0,
                reason: Folded::Folded,
            };
            (format!("folded:{first}"), none)
        });
        for (amount, _) in &small {
            sum.amount = sum.amount.saturating_add(*amount);
            sum.count += 1;
        }
        let body = serde_json::to_string(&sum);
        let body = body.map_err(|error| Refused::Not(error.to_string()))?;
        let into = UnmatchedCredit {
            credit,
            body,
            at_us,
        };
        let folded: Vec<String> = small.into_iter().map(|(_, credit)| credit).collect();
        let payments = &self.0.store.payments;
        payments.fold_unmatched(tenant, &folded, &into).await?;
        let metric = &self.0.metrics.folded;
        metric.fetch_add(folded.len() as u64, std::sync::atomic::Ordering::Relaxed);
        place.sum = Some((into.credit, sum));
        Ok(())
    }
}
