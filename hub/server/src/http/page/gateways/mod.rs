//! `/gateways`: what runs where, and what each gateway shall be like.

mod asked;
mod list;
mod one;

pub(in crate::http) use list::show as list;
pub(in crate::http) use one::show as one;

use maud::{Markup, html};
use stencil_protocol::desired::Verdict;
use stencil_store::{Gateway, GatewayFlaw, GatewayVerdict};

use super::{badge, moment};

/// From so many days before its end on a certificate is said to end soon.
const ENDS_SOON_DAYS: i64 = 30;

/// Whether it is connected, in a word.
fn connection(connected: bool, gateway: &Gateway) -> Markup {
    if gateway.revoked_us.is_some() {
        return badge("bad", "revoked");
    }
    match (connected, gateway.said_us.or(gateway.registered_us)) {
        (true, _) => badge("good", "connected"),
        (false, Some(_)) => badge("bad", "cut off"),
        (false, None) => badge("", "never connected"),
    }
}

/// When its certificate ends, with a word where that is soon: it should have been renewed by then.
fn certificate_end(end_us: i64, now_us: i64) -> Markup {
    const SOON_US: i64 = ENDS_SOON_DAYS * 86_400_000_000;
    html! {
        (moment::element(end_us))
        @if end_us <= now_us { " " (badge("bad", "over")) }
        @else if end_us <= now_us.saturating_add(SOON_US) { " " (badge("warn", "ends soon")) }
    }
}

/// How far it is with what it shall be like.
fn standing(gateway: &Gateway) -> Markup {
    if gateway.desired_revision == 0 {
        return html! { span.dim { "as its own files say" } };
    }
    match &gateway.last {
        Some(last) if last.revision == gateway.desired_revision => verdict(last),
        _ => badge("warn", "on its way"),
    }
}

fn verdict(last: &GatewayVerdict) -> Markup {
    match last.verdict {
        Verdict::Applied => badge("good", "applied"),
        Verdict::Trying => badge("warn", "on trial"),
        Verdict::Refused => badge("bad", "refused"),
        Verdict::RolledBack => badge("bad", "rolled back"),
    }
}

/// Why a desired state is not applied.
fn flaws(flaws: &[GatewayFlaw]) -> Markup {
    html! {
        ul.plain {
            @for flaw in flaws {
                li {
                    @if let Some(section) = &flaw.section {
                        b { (section)
                            @if let (Some(line), Some(column)) = (flaw.line, flaw.column) {
                                ", line " (line) ", column " (column)
                            }
                        } ": "
                    }
                    (flaw.what)
                }
            }
        }
    }
}
