//! Changes of invoices, told by signed webhooks (Standard Webhooks).

use std::time::Duration;

use serde_json::{Value, json};
use stencil_payments::invoice::{Id, What};
use stencil_store::DueEffect;
use stencil_workflow::{Effect, Effects, Performed, Request};

use super::Did;
use crate::chains::cashier::{At, Cashier, Refused, word};
use crate::chains::change::{Due, Todo};
use crate::chains::settings::PaymentSettings;
use crate::chains::unspent::NotTold;

/// How long a receiver has.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Posts what happened to the tenant's webhook; there may be none.
pub(super) async fn post(
    cashier: &Cashier,
    connectors: &dyn Effects,
    one: &DueEffect,
    due: &Due,
) -> Result<Did, Refused> {
    let (store, id) = (&cashier.0.store, Id(one.invoice));
    let settings = store.payments.payment_settings(&one.tenant).await?;
    let settings = settings.and_then(|body| PaymentSettings::read(&body).ok());
    let Some(webhook) = settings.and_then(|settings| settings.webhook) else {
        return Ok(Did::Done);
    };
    let Some(at) = cashier.invoice(&one.tenant, id).await? else {
        return Ok(Did::Done);
    };
    let effect = Effect::WebhookPost {
        url: webhook.url,
        body: body(&at, due),
        secret: Some(webhook.secret),
    };
    let key = hex::encode(one.effect.key);
    let request = Request {
        tenant: &one.tenant,
        effect_key: &key,
        effect: &effect,
        attempt: one.attempts.saturating_add(1),
        at_us: due.at_us,
        now_us: cashier.0.clock.now_us(),
        timeout: TIMEOUT,
        cause: None,
    };
    let performed = connectors.perform(&request).await;
    match &performed {
        Ok(Performed::Later(_)) => {}
        Ok(_) => cashier.told(&one.tenant, id),
        Err(failure) => cashier.not_told(
            &one.tenant,
            NotTold {
                invoice: id,
                why: failure.message.clone(),
                at_us: request.now_us,
                attempt: request.attempt,
            },
        ),
    }
    Ok(match performed {
        Ok(Performed::Done(_) | Performed::Waiting(_)) => Did::Done,
        Ok(Performed::Later(later)) => Did::UnderWay(later),
        Err(failure) if failure.retryable => Did::Again(failure.message, failure.retry_after),
        // A secret or an address that the settings have wrong is mended there.
        Err(failure) => Did::Again(failure.message, None),
    })
}

/// What a webhook says: the same at each attempt, whatever has happened since.
pub(super) fn body(at: &At, due: &Due) -> Value {
    let (kind, mut data) = match &due.what {
        Todo::Invoice(What::Changed {
            revision,
            state,
            facets,
        }) => (
            "invoice.changed",
            json!({ "revision": revision, "state": word(*state), "facets": facets }),
        ),
        Todo::Invoice(What::Settled { round }) => ("invoice.settled", json!({ "round": round })),
        Todo::Invoice(What::Unsettled { round }) => {
            ("invoice.unsettled", json!({ "round": round }))
        }
        Todo::Invoice(What::RefundDue { id, method, amount }) => {
            let methods = &at.kept.invoice.definition().methods;
            let token = methods.get(usize::from(*method)).map(|of| &of.token);
            let units = amount.to_string();
            let amount = token.map(|token| token.format(*amount));
            let asset = token.map(|token| token.asset().to_string());
            (
                "refund.due",
                json!({ "refund": id, "asset": asset, "amount": amount, "units": units }),
            )
        }
        Todo::Invoice(What::RefundWithdrawn { id }) => {
            ("refund.withdrawn", json!({ "refund": id }))
        }
        // Where it is read what has come of it, and how it is started after all.
        Todo::NotStarted {} => ("invoice.not_started", json!({})),
        Todo::Invoice(What::Post(_) | What::RateNeeded { .. })
        | Todo::SendRefund { .. }
        | Todo::FollowRefund { .. } => ("invoice.internal", json!({})),
    };
    if let Some(data) = data.as_object_mut() {
        let definition = at.kept.invoice.definition();
        data.insert("invoice".to_owned(), definition.id.to_string().into());
        data.insert("version".to_owned(), due.version.into());
        let about = &at.kept.about;
        data.insert("reference".to_owned(), about.reference.clone().into());
        data.insert("metadata".to_owned(), json!(about.metadata));
    }
    json!({ "type": kind, "at_us": due.at_us, "data": data })
}
