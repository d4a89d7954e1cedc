//! What the cashier has in memory: what open invoices expect, and when something is due. All of it
//! follows from the store, and is made anew from there at each start.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stencil_payments::U256;
use stencil_payments::invoice::{Definition, Id, Invoice, Way};
use stencil_payments::matching::{self, Index, PaidTo};
use stencil_payments::money::Amount;
use stencil_payments::observation::Needs;
use stencil_protocol::id::TenantId;

use super::cashier::until_us;
use super::make::Watches;

/// Invoices of all tenants that payments are looked for at one time.
const MAX_OPEN: usize = 200_000;
/// Those of one tenant.
const MAX_TENANT_OPEN: usize = 50_000;
/// Purchases (x402) beside them, which anybody can make who can sign: they have room of their own, so that
/// they leave no tenant without room for invoices.
const MAX_PURCHASES: usize = 100_000;
/// Those of one tenant.
const MAX_TENANT_PURCHASES: usize = 25_000;

/// What the cashier knows by heart.
#[derive(Debug, Default)]
pub(super) struct Till {
    pub(super) index: Index,
    /// Places of tenants that are looked at, invoice or not.
    held: BTreeMap<TenantId, BTreeSet<PaidTo>>,
    /// Up to when each chain was read, µs since the epoch.
    clocks: HashMap<u64, i64>,
    /// The newest block of each chain that is final, where one is.
    finals: HashMap<u64, u64>,
    /// How far each chain's clock was ahead of the hub's, µs; less than 0: behind.
    ahead: HashMap<u64, i64>,
    known: HashMap<Id, Known>,
    /// How many are open of each tenant: invoices, and purchases.
    open: [HashMap<TenantId, usize>; 2],
    /// When time alone changes an invoice.
    wakes: BTreeSet<(i64, Id)>,
    /// Which invoices have payments that are deep enough once a chain has a block.
    deep: BTreeSet<(u64, u64, Id)>,
}

#[derive(Debug)]
struct Known {
    tenant: TenantId,
    is_purchase: bool,
    chains: BTreeSet<u64>,
    version: u64,
    wakes_us: Option<i64>,
    deep: Vec<(u64, u64)>,
    /// The chain and block of each payment that it may still lose.
    loose: Vec<(u64, u64)>,
}

impl Till {
    /// Expects payments of an invoice.
    pub(super) fn add(
        &mut self,
        invoice: &Invoice,
        version: u64,
        until_us: i64,
    ) -> Result<(), matching::Error> {
        let definition = invoice.definition();
        self.index.add(definition, until_us)?;
        let is_purchase = is_purchase(definition);
        let open = &mut self.open[usize::from(is_purchase)];
        *open.entry(definition.tenant.clone()).or_default() += 1;
        self.known.insert(
            definition.id,
            Known {
                tenant: definition.tenant.clone(),
                is_purchase,
                chains: definition.chains(),
                version,
                wakes_us: None,
                deep: Vec::new(),
                loose: Vec::new(),
            },
        );
        self.changed(invoice, version);
        Ok(())
    }

    /// Whether there is room for one more like this.
    pub(super) fn has_room(&self, definition: &Definition) -> bool {
        let is_purchase = is_purchase(definition);
        let (most, most_of_tenant) = match is_purchase {
            true => (MAX_PURCHASES, MAX_TENANT_PURCHASES),
            false => (MAX_OPEN, MAX_TENANT_OPEN),
        };
        let open = &self.open[usize::from(is_purchase)];
        let of_tenant = open.get(&definition.tenant).copied().unwrap_or_default();
        of_tenant < most_of_tenant && open.values().sum::<usize>() < most
    }

    /// Takes note of what an invoice waits for at a version, if none later is known.
    pub(super) fn changed(&mut self, invoice: &Invoice, version: u64) {
        let definition = invoice.definition();
        let id = definition.id;
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        if version < known.version {
            return;
        }
        known.version = version;
        // What a reorganisation takes back is waited for anew, as is kept in the store.
        self.index.extend(id, until_us(invoice));
        if let Some(wakes_us) = std::mem::replace(&mut known.wakes_us, invoice.wakes_us()) {
            self.wakes.remove(&(wakes_us, id));
        }
        if let Some(wakes_us) = known.wakes_us {
            self.wakes.insert((wakes_us, id));
        }
        for (chain, block) in known.deep.drain(..) {
            self.deep.remove(&(chain, block, id));
        }
        let loose = invoice.loose_payments();
        known.loose = loose
            .map(|(key, payment)| (key.chain, payment.block.number))
            .collect();
        let firm: BTreeSet<_> = invoice.firm_payments().map(|(key, _)| key).collect();
        for (key, payment) in invoice.payments() {
            let method = definition.methods.get(usize::from(payment.method));
            let needs = method.map(|method| method.needs);
            if let (false, Some(Needs::Confirmations(wanted))) = (firm.contains(&key), needs) {
                let more = u64::from(wanted.max(1)) - 1;
                let block = payment.block.number.saturating_add(more);
                known.deep.push((key.chain, block));
                self.deep.insert((key.chain, block, id));
            }
        }
    }

    /// Expects nothing of an invoice any more.
    pub(super) fn remove(&mut self, id: Id) {
        self.index.remove(id);
        self.forget(id);
    }

    fn forget(&mut self, id: Id) {
        let Some(known) = self.known.remove(&id) else {
            return;
        };
        if let Some(wakes_us) = known.wakes_us {
            self.wakes.remove(&(wakes_us, id));
        }
        for (chain, block) in known.deep {
            self.deep.remove(&(chain, block, id));
        }
        let all = &mut self.open[usize::from(known.is_purchase)];
        if let Some(open) = all.get_mut(&known.tenant) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                all.remove(&known.tenant);
            }
        }
    }

    /// A chain was read up to a time.
    pub(super) fn read_up_to(&mut self, chain: u64, now_us: i64) {
        let clock = self.clocks.entry(chain).or_insert(now_us);
        *clock = (*clock).max(now_us);
    }

    /// Notes how far a chain's clock is ahead of the hub's; gives what was noted before.
    pub(super) fn is_ahead(&mut self, chain: u64, ahead_us: i64) -> i64 {
        self.ahead.insert(chain, ahead_us).unwrap_or(i64::MIN)
    }

    pub(super) fn ahead_us(&self, chain: u64) -> i64 {
        self.ahead.get(&chain).copied().unwrap_or(i64::MIN)
    }

    /// A chain's blocks are final up to this one, and all that they have was taken.
    pub(super) fn final_up_to(&mut self, chain: u64, block: Option<u64>) {
        match block {
            Some(block) => self.finals.insert(chain, block),
            None => self.finals.remove(&chain),
        };
    }

    /// Forgets invoices that are long over, once those that time alone changes were told it. One of which a payment
    /// is not final is kept: where a reorganisation takes that to another block, it is to be seen there.
    pub(super) fn sweep(&mut self) {
        let Self {
            index,
            clocks,
            finals,
            known,
            ..
        } = self;
        let is_loose = |(chain, block): &(u64, u64)| {
            clocks.contains_key(chain) && finals.get(chain).is_none_or(|last| block > last)
        };
        let keeps = |id: Id| {
            let known: Option<&Known> = known.get(&id);
            known.is_some_and(|known| known.loose.iter().any(is_loose))
        };
        for id in index.expire(|chain| clocks.get(&chain).copied(), keeps) {
            self.forget(id);
        }
    }

    /// A chain that is followed, of which nothing may have been read yet.
    pub(super) fn follows(&mut self, chain: u64) {
        self.clocks.entry(chain).or_insert(i64::MIN);
    }

    /// Up to when the chains that an invoice can be paid on were all read.
    pub(super) fn now_us(&self, id: Id) -> Option<i64> {
        let chains = &self.known.get(&id)?.chains;
        let clock = |chain| self.clocks.get(chain).copied().unwrap_or(i64::MIN);
        chains.iter().map(clock).min().filter(|now| *now > i64::MIN)
    }

    /// The invoices of which time alone changes something now.
    pub(super) fn woken(&self) -> Vec<(TenantId, Id)> {
        let newest_us = self.clocks.values().max().copied().unwrap_or(i64::MIN);
        let up_to = (newest_us, Id([0xff; 16]));
        let due = self.wakes.range(..=up_to);
        due.filter(|(wakes_us, id)| self.now_us(*id).is_some_and(|now| now >= *wakes_us))
            .filter_map(|(_, id)| Some((self.known.get(id)?.tenant.clone(), *id)))
            .collect()
    }

    /// The invoices with payments that are deep enough now that a chain has this block.
    pub(super) fn deep_enough(&self, chain: u64, block: u64) -> BTreeSet<(TenantId, Id)> {
        let due = self
            .deep
            .range((chain, 0, Id([0; 16]))..=(chain, block, Id([0xff; 16])));
        due.filter_map(|(_, _, id)| Some((self.known.get(id)?.tenant.clone(), *id)))
            .collect()
    }

    /// Looks at these places of a tenant, and at no other but those of its invoices.
    ///
    /// # Errors
    /// A place of another tenant: nothing has changed then.
    pub(super) fn hold(
        &mut self,
        tenant: &TenantId,
        places: BTreeSet<PaidTo>,
    ) -> Result<(), matching::Error> {
        let before = self.held.remove(tenant).unwrap_or_default();
        let mut taken = Vec::new();
        for place in places.difference(&before) {
            if let Err(error) = self.index.hold(tenant, *place) {
                taken.into_iter().for_each(|place| self.index.let_go(place));
                self.held.insert(tenant.clone(), before);
                return Err(error);
            }
            taken.push(*place);
        }
        for place in before.difference(&places) {
            self.index.let_go(*place);
        }
        if !places.is_empty() {
            self.held.insert(tenant.clone(), places);
        }
        Ok(())
    }

    /// What chains have to look at for it.
    pub(super) fn watches(&self, watches: &mut Watches) {
        for (tenant, places) in &self.held {
            watches.of_places(tenant, places);
        }
        for id in self.known.keys() {
            if let Some(definition) = self.index.definition(*id) {
                watches.of_invoice(definition);
            }
        }
    }

    /// Forgets all of a tenant.
    pub(super) fn tenant_gone(&mut self, tenant: &TenantId) {
        for place in self.held.remove(tenant).unwrap_or_default() {
            self.index.let_go(place);
        }
        let of = self
            .known
            .iter()
            .filter(|(_, known)| known.tenant == *tenant);
        let ids: Vec<Id> = of.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.remove(id));
    }

    /// How many invoices payments are looked for.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Gives each method that is known by its amount one that no other open invoice has. One for which there is none
    /// is left out where it `may_lack`, and others are left.
    pub(super) fn make_unique(
        &mut self,
        definition: &mut Definition,
        may_lack: bool,
    ) -> Result<(), NoneFree> {
        let (mut given, mut lacks) = (BTreeSet::new(), None);
        let mut methods = Vec::with_capacity(definition.methods.len());
        for method in &definition.methods {
            let mut method = method.clone();
            if method.way == Way::UniqueAmount {
                let asset = method.token.asset();
                let (step, steps) = spacing(method.due, method.token.decimals());
                let unique = self
                    .index
                    .unique(asset, method.payee, method.due, step, steps);
                let Some(due) = unique.filter(|due| given.insert((asset, method.payee, *due)))
                else {
                    lacks.get_or_insert_with(|| NoneFree(method.token.symbol().to_owned()));
                    continue;
                };
                method.due = due;
            }
            methods.push(method);
        }
        match lacks {
            Some(none_free) if !may_lack || methods.is_empty() => Err(none_free),
            _ => {
                definition.methods = methods;
                Ok(())
            }
        }
    }
}

/// Whether it is what somebody has signed for already: nothing pays it beyond that.
pub(super) fn is_purchase(definition: &Definition) -> bool {
    let signed = |way| matches!(way, Way::Nonce { .. } | Way::Hold { .. });
    definition.methods.iter().all(|method| signed(method.way))
}

/// All amounts near a price are taken by open invoices.
#[derive(Debug, thiserror::Error)]
#[error(
    "all amounts of {0} near this price are those of other open invoices (one is at most a hundredth \
     above its price, and at most one {0}): take another way to pay, or wait until some of them are over"
)]
pub(crate) struct NoneFree(String);

/// Steps above the price that are tried.
const MOST_STEPS: u32 = 9_999;

/// By how much amounts differ, and how many there are above a price. All together are at most a
/// hundredth of the price and at most one whole token: that much a payer may pay more. Where there is
/// room a step is the power of ten with which they are a thousandth at most.
fn spacing(due: Amount, decimals: u8) -> (Amount, u32) {
    let whole = U256::from(10).checked_pow(U256::from(decimals));
    let whole = whole.unwrap_or(U256::MAX);
    let most = (due.0 / U256::from(100)).min(whole);
    let largest = (due.0 / U256::from(10_000_000_u64)).min(whole / U256::from(10_000));
    let mut step = U256::from(1);
    while step * U256::from(10) <= largest {
        step *= U256::from(10);
    }
    let steps = u32::try_from(most / step).unwrap_or(u32::MAX);
    (Amount(step), steps.min(MOST_STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chains::tests::{self, fake::ID, invoice};

    #[test]
    fn a_chain_that_is_silent_keeps_no_invoice_of_another() {
        let mut till = Till::default();
        till.follows(ID);
        till.follows(ID + 1);
        let needs = Needs::Confirmations(1);
        let invoice = Invoice::new(invoice(1, Way::UniqueAmount, needs)).unwrap();
        assert!(till.has_room(invoice.definition()));
        let until_us = until_us(&invoice);
        till.add(&invoice, 1, until_us).unwrap();
        till.read_up_to(ID, until_us - 1);
        till.sweep();
        assert_eq!(till.len(), 1);
        till.read_up_to(ID, until_us);
        till.sweep();
        assert_eq!(till.len(), 0);
        assert!(till.open.iter().all(HashMap::is_empty));
    }

    #[test]
    fn purchases_take_no_invoice_its_room() {
        let (mut till, needs) = (Till::default(), Needs::Confirmations(1));
        let bought = Way::Nonce {
            payer: tests::PAYER,
            nonce: stencil_payments::B256::ZERO,
        };
        let [purchase, invoice] = [bought, Way::UniqueAmount].map(|way| invoice(1, way, needs));
        let others: TenantId = "rival".parse().unwrap();
        for (at, mine, all) in [
            (1, MAX_TENANT_PURCHASES, MAX_PURCHASES),
            (0, MAX_TENANT_OPEN, MAX_OPEN),
        ] {
            for (of_mine, of_others, has_room) in [
                (mine - 1, 0, true),
                (mine, 0, false),
                (0, all - 1, true),
                (0, all, false),
            ] {
                let open = [(tests::acme(), of_mine), (others.clone(), of_others)];
                till.open[at] = open.into();
                let (these, those) = match at {
                    1 => (&purchase, &invoice),
                    _ => (&invoice, &purchase),
                };
                assert_eq!(till.has_room(these), has_room, "{at} {of_mine} {of_others}");
                assert!(till.has_room(those));
            }
            till.open[at].clear();
        }
    }

    #[test]
    fn no_amount_is_more_than_a_hundredth_or_a_token_above_its_price() {
        for (due, decimals, expected) in [
            (1_u64, 6, (1_u64, 0)),
            (99, 6, (1, 0)),
            // A cent: it is never doubled.
            (10_000, 6, (1, 100)),
            (2_500_000, 6, (1, 9_999)),
            (12_500_000_000, 6, (100, 9_999)),
            (5_000_000_000_000_000, 18, (100_000_000, 9_999)),
            // Ten million of a token are raised by one at most.
            (10_000_000_000_000, 6, (100, 9_999)),
            (500, 0, (1, 1)),
        ] {
            let (step, steps) = spacing(Amount::from(due), decimals);
            let expected = (Amount::from(expected.0), expected.1);
            assert_eq!((step, steps), expected, "{due}");
            let raised = step.0 * U256::from(steps);
            assert!(raised <= U256::from(due) / U256::from(100), "{due}");
        }
        assert!(spacing(Amount(U256::MAX), u8::MAX).0 > Amount::ZERO);
    }

    #[test]
    fn when_no_amount_is_left_it_is_said() {
        let (mut till, needs) = (Till::default(), Needs::Confirmations(1));
        let priced = |n| {
            let token = tests::fake::token();
            tests::definition(n, tests::method(token, Way::UniqueAmount, needs, 300))
        };
        // A hundredth of 300 is 3.
        for n in 0..4_u8 {
            let mut next = priced(n);
            till.make_unique(&mut next, false).unwrap();
            assert_eq!(next.methods[0].due, Amount::from(300 + u64::from(n)));
            till.add(&Invoice::new(next).unwrap(), 1, 1_000).unwrap();
        }
        for may_lack in [false, true] {
            let told = till.make_unique(&mut priced(4), may_lack).unwrap_err();
            let told = told.to_string();
            assert!(told.contains("a hundredth above its price"), "{told}");
        }
        // Others are left, where they may be all.
        let mut both = priced(4);
        let signed = tests::method(tests::fake::token(), Way::Authorization, needs, 300);
        both.methods.push(signed.clone());
        till.make_unique(&mut both, false).unwrap_err();
        assert_eq!(both.methods.len(), 2);
        till.make_unique(&mut both, true).unwrap();
        assert_eq!(both.methods, [signed]);
    }
}
