//! Refunds that were confirmed, and whose transaction a reorganisation has taken away that went deeper than what was
//! final. The hub sends the same again; the invoice says so until it is final once more, and where it has failed.

use stencil_payments::invoice::Status;
use stencil_payments::port::Sent;

use super::cashier::{At, Cashier};
use super::view::InvoiceView;

/// What a refund is told that is being sent again.
const AGAIN: &str = "a reorganisation took away the transaction that had sent it, deeper than what this chain calls \
                     final: the hub sends the same again, and it is not final yet";
/// What one is told that was not sent after all.
const FAILED: &str = "a reorganisation took away the transaction that had sent it, deeper than what this chain calls \
                      final, and it has failed since: nothing has come there. Look at the account's transactions, and \
                      send it yourself";

impl InvoiceView {
    /// An invoice as [`of`](Self::of) gives it, with what has become since of refunds that the hub has sent and that
    /// were final.
    pub(crate) async fn as_it_stands(cashier: &Cashier, at: &At, public_url: &str) -> Self {
        let mut view = Self::of(at, cashier.chains(), public_url);
        let (invoice, about) = (&at.kept.invoice, &at.kept.about);
        let definition = invoice.definition();
        for (refund, shown) in invoice.refunds().iter().zip(&mut view.refunds) {
            let told = about.told.get(&refund.id);
            let is_tenants = refund.unchecked || told.is_some_and(|told| !told.failed);
            if refund.status() != Status::Confirmed || is_tenants {
                continue;
            }
            let method = definition.methods.get(usize::from(refund.method));
            let chain = method.and_then(|it| cashier.chains().by_id(it.token.asset().chain));
            let Some(chain) = chain else { continue };
            let key = super::outbox::refund_key(refund);
            // The store is asked, and no endpoint.
            let gone = match chain.sent(&definition.tenant, &key).await {
                Ok(Some(Sent::Pending | Sent::Included(_))) => AGAIN,
                Ok(Some(Sent::Final(outcome))) if outcome.succeeded => continue,
                Ok(Some(Sent::Final(_) | Sent::Lost)) => FAILED,
                Ok(None) | Err(_) => continue,
            };
            shown.waits = Some(gone.to_owned());
        }
        view
    }
}
