//! What an invoice's accounts are to hold.

use std::collections::BTreeMap;

use super::state::State;
use super::tally::Tally;
use super::transition::Invoice;
use crate::ledger::{self, Account, Position, Side};
use crate::money::{Amount, Asset};

/// The position in each asset of an invoice.
pub(super) fn positions(invoice: &Invoice) -> Result<BTreeMap<Asset, Position>, ledger::Error> {
    let tally = Tally::of(invoice);
    let id = invoice.definition.id;
    let mut positions: BTreeMap<Asset, Position> = BTreeMap::new();
    for (at, method) in invoice.definition.methods.iter().enumerate() {
        let position = positions.entry(method.token.asset()).or_default();
        let (came, sent, due) = (tally.came[at], tally.sent[at], tally.due[at]);
        let confirmed = tally.confirmed[at];
        let wallet = Account::Wallet(method.payee);
        position.add(wallet, Side::Debit, came)?;
        position.add(wallet, Side::Credit, confirmed)?;
        let promised = sent.saturating_add(due).saturating_sub(confirmed);
        position.add(Account::RefundsDue(id), Side::Credit, promised)?;
        position.add(Account::RefundLoss, Side::Debit, sent.saturating_sub(came))?;
        // What does not go back is earned, as far as the invoice is settled and it is deep enough.
        let rest = came.saturating_sub(sent).saturating_sub(due);
        let earned = if invoice.state == State::Settled && !invoice.returned {
            let firm = &tally.firm[at];
            let decided = firm.total().saturating_sub(firm.undecided);
            decided.saturating_sub(due).min(rest)
        } else {
            Amount::ZERO
        };
        position.add(Account::Revenue, Side::Credit, earned)?;
        position.add(
            Account::Pending(id),
            Side::Credit,
            rest.saturating_sub(earned),
        )?;
    }
    Ok(positions)
}
