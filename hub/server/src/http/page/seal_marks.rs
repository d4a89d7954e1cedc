//! Seals that are not what the hub has, on the pages of the gateways and devices that they concern: which
//! seal, which batches, and what differs. They stay until an admin says what was found.

use maud::{Markup, html};
use stencil_store::{Page, Role, SealFlaw, SealMark, SealMarkFilter};

use super::super::api::seal_marks::{MAX_WHY, ShownMark};
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{badge, encoded, moment, value};
use crate::proofs::{KeptBatch, Numbers};

/// Marks that are shown.
const MARKS: u32 = 10;

/// Those of a gateway or of a device; nothing without one.
pub(super) async fn render(
    state: &State,
    caller: &Caller,
    filter: &SealMarkFilter,
) -> Result<Markup, Problem> {
    let proofs = &state.store.proofs;
    let page = proofs
        .seal_marks(&caller.tenant, filter, None, MARKS)
        .await?;
    let (now_us, may_clear) = (state.clock.now_us(), caller.role == Role::Admin);
    Ok(section(page, now_us, may_clear))
}

/// How many seals of a gateway are marked, in a word; nothing for none.
pub(super) fn word(marked: u64) -> Markup {
    html! {
        @if marked > 0 {
            (badge("bad", &match marked {
                1 => "a seal is not what is here".to_owned(),
                _ => format!("{} seals are not what is here", value::count(marked)),
            }))
        }
    }
}

fn section(page: Page<SealMark>, now_us: i64, may_clear: bool) -> Markup {
    if page.items.is_empty() {
        return html! {};
    }
    let marks: Vec<ShownMark> = page.items.into_iter().map(ShownMark::from).collect();
    html! {
        section.card aria-labelledby="marks-title" {
            header {
                h2 #marks-title { "Seals that are not what is stored here" }
                @if page.next.is_some() { span.more.dim { "the newest " (MARKS) } }
            }
            p.dim {
                "What the gateway has signed, and what this hub has taken in, are two things. One of both was changed: "
                "look which before you clear it. Such a seal is never anchored, and proves nothing."
            }
            ul.lines { @for (at, mark) in marks.iter().enumerate() {
                (line(mark, now_us, may_clear && is_last_of_its_seal(&marks, at)))
            } }
        }
    }
}

/// A seal is cleared as one, however many devices' readings in it are wrong.
fn is_last_of_its_seal(marks: &[ShownMark], at: usize) -> bool {
    let seal = |mark: &ShownMark| (mark.gateway.clone(), mark.epoch.clone(), mark.number);
    let next = marks.get(at + 1).map(seal);
    next.is_none() || next != marks.get(at).map(seal)
}

fn line(mark: &ShownMark, now_us: i64, may_clear: bool) -> Markup {
    let gateway = &mark.gateway;
    let at = format!("{}-{}", mark.epoch, mark.number);
    html! {
        li {
            div.what {
                (badge("bad", of(mark.flaw)))
                span {
                    "Seal " (mark.number) " of "
                    a href={ "/gateways/" (gateway) } { (gateway) }
                    @if let Some(device) = &mark.device {
                        ", readings of " a href={ "/devices/" (encoded(device.as_str())) } { (device) }
                    }
                }
            }
            div.of.dim.small { "chain " span.mono { (mark.epoch) } ", found " (moment::ago(mark.at_us, now_us)) }
            p.small { (mark.why) }
            (differs(mark))
            @if may_clear {
                form.form.line data-told="Cleared: your word is in the audit log"
                    data-send={ "POST /api/v1/gateways/" (gateway) "/seals/" (mark.epoch) "/" (mark.number) "/clear" } {
                    div.field {
                        label for={ "why-" (at) } { "What was found, or done" }
                        input id={ "why-" (at) } name="why" required maxlength=(MAX_WHY);
                    }
                    button { "Clear seal " (mark.number) }
                    p.alert.problem role="alert" hidden {}
                }
            }
        }
    }
}

fn of(flaw: SealFlaw) -> &'static str {
    match flaw {
        SealFlaw::Unreadable => "unreadable",
        SealFlaw::Root => "its own root",
        SealFlaw::Certificate => "unknown certificate",
        SealFlaw::Revoked => "revoked certificate",
        SealFlaw::Signature => "signature",
        SealFlaw::Chain => "out of its chain",
        SealFlaw::Readings => "readings",
    }
}

fn differs(mark: &ShownMark) -> Markup {
    let it = &mark.differs;
    let unknown = |hash: &Option<String>| {
        html! { @match hash { Some(hash) => { code.small { (hash) } } None => { span.dim { "nothing" } } } }
    };
    html! {
        dl.facts {
            @if it.named.is_some() {
                div { dt { "The seal says" } dd { (unknown(&it.named)) } }
                div { dt { "Here is" } dd { (unknown(&it.here)) } }
            }
            @if let Some(readings) = it.readings {
                div { dt { "Over" } dd { (value::count(readings)) " readings: " (ranges(&it.numbers)) } }
            }
            @if !it.batches.is_empty() {
                div { dt { "Batches here" } dd {
                    ul.plain.small { @for batch in &it.batches { li { (kept(batch)) } } }
                    @if it.more_batches > 0 { span.dim.small { "and " (value::count(it.more_batches)) " more" } }
                } }
            }
            @if !it.twice.is_empty() {
                div { dt { "Came twice" } dd {
                    (ranges(&it.twice))
                    p.dim.small { "With another content the second time: what came first is stored." }
                } }
            }
        }
    }
}

fn ranges(numbers: &[Numbers]) -> Markup {
    html! {
        @for (at, one) in numbers.iter().enumerate() {
            @if at > 0 { ", " }
            (one.first) @if one.last != one.first { "–" (one.last) }
            " of boot " (one.boot)
        }
    }
}

fn kept(batch: &KeptBatch) -> Markup {
    html! {
        (ranges(std::slice::from_ref(&batch.numbers)))
        ", received " (moment::element(batch.received_us))
        span.dim { ", at " (batch.position) " in the log" }
    }
}
