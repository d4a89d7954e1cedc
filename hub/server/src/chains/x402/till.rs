//! Where the invoice of a purchase is made.

use async_trait::async_trait;
use stencil_payments::invoice::{self, Decision, Definition, Event, Id};
use stencil_protocol::id::TenantId;

use crate::chains::{About, Cashier, NewInvoice, Refused};

/// Makes invoices, so that what comes for them is looked for from then on.
#[async_trait]
pub(crate) trait Till: Send + Sync + 'static {
    /// Makes an invoice. One that is there already stays as it is: it is the same then, since its id
    /// follows from the payment. When this returns payments of it are looked for.
    async fn open(&self, definition: Definition, offer: &str) -> Result<(), NotOpened>;

    /// Calls an invoice off: what has come for it and what comes goes back.
    async fn call_off(&self, tenant: &TenantId, id: Id) -> Result<(), NotOpened>;

    /// Waits until one that was settled may be so no more, since the last call.
    async fn undone(&self);
}

/// Why there is no invoice. Nothing is charged then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    /// It can't be one, whenever it is tried.
    #[error("{0}")]
    Refused(String),
    /// It may succeed later.
    #[error(transparent)]
    Store(#[from] stencil_store::Error),
}

#[async_trait]
impl Till for Cashier {
    async fn open(&self, definition: Definition, offer: &str) -> Result<(), NotOpened> {
        let about = About {
            // What workflows know a purchase of this offer by.
            reference: Some(format!("x402:{offer}")),
            title: Some(offer.to_owned()),
            ..About::default()
        };
        self.create(NewInvoice { definition, about }).await?;
        Ok(())
    }

    async fn call_off(&self, tenant: &TenantId, id: Id) -> Result<(), NotOpened> {
        match self.apply(tenant, id, Event::Cancel).await {
            // It was never made: then nothing is looked for either.
            Ok(_) | Err(Refused::NoInvoice(_)) => Ok(()),
            // The payer has brought the payment by themselves.
            Err(Refused::Invoice(invoice::Error::TooLate { .. })) => {
                let back = Event::Resolve(Decision::RefundAll);
                self.apply(tenant, id, back).await?;
                Ok(())
            }
            Err(refused) => Err(refused.into()),
        }
    }

    async fn undone(&self) {
        self.0.undone.notified().await;
    }
}

impl From<Refused> for NotOpened {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Store(error) => Self::Store(error),
            refused => Self::Refused(refused.to_string()),
        }
    }
}
