//! `/invoices/{invoice}`: what is due, what came, what goes back.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use stencil_store::Role;

use super::super::super::api::invoice_runs;
use super::super::super::api::invoices::{id, settings};
use super::super::super::input::Path;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{badge, moment};
use super::{price, state as standing};
use crate::chains::view::InvoiceView;
use crate::chains::{NotTold, Started};

/// `GET /invoices/{invoice}`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
) -> Result<Html<String>, Problem> {
    let id = id(&invoice)?;
    let cashier = state.control.cashier();
    let found = cashier.invoice(&caller.tenant, id).await?;
    let at = found.ok_or_else(|| Problem::not_found("invoice", id))?;
    let view = InvoiceView::as_it_stands(cashier, &at, &state.public_url).await;
    let started = invoice_runs::of(&state, &caller, id).await?;
    let webhook = settings(&state, &caller).await?.webhook;
    let not_told = cashier.last_not_told(&caller.tenant);
    let not_told = not_told.filter(|not| not.invoice == id);
    let title = view.title.clone().unwrap_or_else(|| "Invoice".to_owned());
    let body = html! {
        div.stack {
            section.card aria-label="What it is" {
                dl {
                    div { dt { "State" } dd { (standing(&view)) } }
                    div { dt { "Price" } dd { (price(&view.price)) } }
                    div { dt { "Reference" } dd { (view.reference.as_deref().unwrap_or("–")) } }
                    @if let Some(text) = &view.description { div { dt { "Description" } dd { (text) } } }
                    div { dt { "Made" } dd { (moment::element(view.created_us)) } }
                    div { dt { "Can be paid until" } dd { (moment::element(view.expires_us)) } }
                    div { dt { "Changed" } dd { (moment::element(view.changed_us)) ", version " (view.version) } }
                    div { dt { "Checkout" } dd { a href={ "/pay/" (view.id) } { "/pay/" (view.id) } } }
                    @for (key, value) in &view.metadata { div { dt { (key) } dd { (value) } } }
                }
            }
            (methods(&view))
            (payments(&view))
            @if view.reference.is_some() && started.paid { (runs(&view, &caller, &started)) }
            @if !view.refunds.is_empty() { (refunds(&view)) }
            @if webhook.is_some() && matches!(caller.role, Role::Editor | Role::Admin) {
                (webhooks(&view, &caller, not_told.as_ref()))
            }
            @if view.state == "settled" {
                p { a href={ "/api/v1/invoices/" (view.id) "/receipt" } { "Receipt (JSON)" } }
            }
        }
    };
    let frame = Frame::new(Nav::Invoices, &title).crumb("/invoices", "Invoices");
    shell(&state, &caller, frame, body).await
}

fn methods(view: &InvoiceView) -> Markup {
    html! {
        section.card aria-labelledby="methods-title" {
            header { h2 #methods-title { "Ways to pay" } }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Way" } th scope="col" { "Due" } th scope="col" { "Open" }
                    th scope="col" { "Payee" } th scope="col" { "Counts" }
                } }
                tbody { @for method in &view.methods { tr {
                    td { (method.name) }
                    td { (method.due.amount) " " (method.token.symbol) }
                    td { (method.open.amount) }
                    td { @if let Some(payee) = &method.payee { code { (payee) } } }
                    td { @match method.confirmations {
                        Some(wanted) => { "at " (wanted) " confirmations" }
                        None => { "when it is final" }
                    } }
                } } }
            } }
        }
    }
}

fn payments(view: &InvoiceView) -> Markup {
    html! {
        section.card aria-labelledby="payments-title" {
            header { h2 #payments-title { "Payments" } }
            @if view.payments.is_empty() { div.empty { p { "Nothing has come." } } }
            @else { div.scroll { table {
                thead { tr {
                    th scope="col" { "Amount" } th scope="col" { "Way" } th scope="col" { "From" }
                    th scope="col" { "Transaction" } th scope="col" { "Block" } th scope="col" { "Counts" }
                } }
                tbody { @for payment in &view.payments { tr {
                    td { (payment.amount.amount) }
                    td { (payment.method) }
                    td { code { (payment.from) } }
                    td { code { (payment.tx) } }
                    td { (payment.block) }
                    td { @if payment.counted { "yes" } @else { "not yet deep enough" } }
                } } }
            } } }
        }
    }
}

/// What the payment has started, and what starts it after all.
fn runs(view: &InvoiceView, caller: &Caller, started: &Started) -> Markup {
    let reference = view.reference.as_deref().unwrap_or_default();
    html! {
        section.card aria-labelledby="runs-title" {
            header { h2 #runs-title { "Workflows" } }
            @if started.runs.is_empty() {
                div.empty {
                    @if started.missed {
                        p { "This payment has started nothing: no workflow was in force that waits for payments of "
                            code { (reference) } " when it came, though there had been one." }
                    } @else {
                        p { "No workflow waits for payments of " code { (reference) } "." }
                    }
                }
            } @else { div.scroll { table {
                thead { tr { th scope="col" { "Workflow" } th scope="col" { "State" } } }
                tbody { @for run in &started.runs { tr {
                    td { a href={ "/runs/" (run.run) } { (run.workflow) } }
                    td { (run.state.as_str()) @if let Some(why) = &run.error { ": " (why) } }
                } } }
            } } }
            @if started.missed && matches!(caller.role, Role::Editor | Role::Admin) {
                form.form data-send={ "POST /api/v1/invoices/" (view.id) "/start" } data-bare
                    data-told="Started" {
                    p { "Once one is in force, this payment can start it." }
                    p.alert.problem role="alert" hidden {}
                    button { "Start it now" }
                }
            }
        }
    }
}

/// What has the invoice's webhooks sent again. Why one was not taken is the admins' matter, as where they go is.
fn webhooks(view: &InvoiceView, caller: &Caller, not_told: Option<&NotTold>) -> Markup {
    html! {
        section.card aria-labelledby="webhooks-title" {
            header { h2 #webhooks-title { "Webhooks" } }
            form.form data-send={ "POST /api/v1/invoices/" (view.id) "/webhooks" } data-bare
                data-told="They are sent once more" {
                @if let Some(not) = not_told {
                    p { (badge("warn", "not taken")) " at attempt " (not.attempt)
                        @if caller.role == Role::Admin { ": " (not.why) } }
                }
                p { "What became of this invoice was told by webhooks. They can be sent once more, with the ids that "
                    "they had, for a receiver that has lost them." }
                p.alert.problem role="alert" hidden {}
                button { "Send them again" }
            }
        }
    }
}

fn refunds(view: &InvoiceView) -> Markup {
    html! {
        section.card aria-labelledby="refunds-title" {
            header { h2 #refunds-title { "Refunds" } }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Amount" } th scope="col" { "Status" } th scope="col" { "To" }
                    th scope="col" { "Sent by" } th scope="col" { "Transaction" } th scope="col" { "Refund" }
                } }
                tbody { @for refund in &view.refunds { tr {
                    td { (refund.amount.amount) }
                    td { (refund.status) @if refund.failures > 0 { ", failed " (refund.failures) " times" }
                        @if refund.unchecked { ", at your word" }
                        @if refund.stuck { @if refund.managed { ", can't be sent" } @else { ", was not sent" } }
                        @if let Some(why) = &refund.waits { ": " (why) } }
                    td { @match &refund.to {
                        Some(to) => { code { (to) } " said by " (refund.by.as_deref().unwrap_or_default()) }
                        None => "nobody has said where it goes",
                    } }
                    td { @if refund.managed { "the hub" } @else { "you" } }
                    td { code { (refund.tx.as_deref().unwrap_or("–")) } }
                    td { code { (refund.id) } }
                } } }
            } }
        }
    }
}
