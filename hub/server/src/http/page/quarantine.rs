//! `/quarantine`: what came and could not be understood, and why.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{MAX_QUARANTINED_PAYLOAD, Quarantined};

use super::super::input::Query;
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::moment;
use super::shell::{Frame, Nav, shell};

/// Payloads on one page.
const PAYLOADS: u32 = 25;
/// Bytes on a line of a dump.
const LINE: usize = 16;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    after: Option<String>,
}

/// `GET /quarantine?after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let ledger = &state.store.ledger;
    let after = which.after.as_deref();
    let page = ledger.quarantine(&caller.tenant, after, PAYLOADS).await?;
    let count = ledger.quarantine_count(&caller.tenant).await?;
    let body = html! {
        div #quarantine.stack data-live="quarantine" data-every="10" {
            p.dim {
                "What devices sent and the hub could not read is kept here rather than lost: correct \
                 the sender, and it stops growing."
            }
            @if page.items.is_empty() {
                section.card.empty {
                    h2 { "Nothing is in quarantine" }
                    p { "Everything that was received was understood." }
                }
            } @else {
                @for (place, payload) in page.items.iter().enumerate() { (one(payload, place)) }
                nav.pager aria-label="Pages of the quarantine" {
                    span.dim { (count) @if count == 1 { " payload" } @else { " payloads" } " in all, the newest first" }
                    @if which.after.is_some() { a.button href="/quarantine" { "Newest" } }
                    @if let Some(next) = &page.next {
                        a.button rel="next" href={ "/quarantine?after=" (super::encoded(next)) } { "Older" }
                    }
                }
            }
        }
    };
    shell(
        &state,
        &caller,
        Frame::new(Nav::Quarantine, "Quarantine"),
        body,
    )
    .await
}

/// `place` tells payloads of one record apart.
fn one(payload: &Quarantined, place: usize) -> Markup {
    let bytes = payload.payload.as_slice();
    let cut = bytes.len() >= MAX_QUARANTINED_PAYLOAD;
    html! {
        article.card aria-labelledby={ "q" (payload.position) "-" (place) } {
            header {
                h2 id={ "q" (payload.position) "-" (place) } { (payload.reason) }
                span.more { (moment::element(payload.at_us)) }
            }
            dl.facts {
                div { dt { "Device" } dd {
                    @match &payload.device {
                        Some(device) => { a href={ "/devices/" (device) } { (device) } }
                        None => { span.dim { "not known" } }
                    }
                } }
                div { dt { "Topic" } dd { code { (payload.topic) } } }
                @if let Some(path) = &payload.path {
                    div { dt { "Where" } dd { code { (path) } } }
                }
                div { dt { "Record" } dd { (payload.position) " of the log" } }
            }
            @match readable(bytes) {
                Some(text) => {
                    pre.payload tabindex="0" aria-label="Payload as text" { (text) }
                    details {
                        summary { (bytes.len()) " bytes in hexadecimal" }
                        pre.payload tabindex="0" aria-label="Payload in hexadecimal" { (dump(bytes)) }
                    }
                }
                None if bytes.is_empty() => { p.dim { "The payload is empty." } }
                None => {
                    pre.payload tabindex="0" aria-label="Payload in hexadecimal" { (dump(bytes)) }
                }
            }
            @if cut { p.dim.small { "Only the first " (MAX_QUARANTINED_PAYLOAD) " bytes were kept." } }
        }
    }
}

/// The bytes as text, if they are one that can be read.
fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!text.is_empty() && !text.contains(odd)).then_some(text)
}

/// Place, bytes and characters, line by line.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (number, line) in bytes.chunks(LINE).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        });
        let shown: String = shown.collect();
        text.push_str(&format!(
            "{:04x}  {:<47}  {shown}\n",
            number * LINE,
            hex.join(" ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_bytes() {
        assert_eq!(readable(b"{\"a\":\n1}"), Some("{\"a\":\n1}"));
        assert_eq!(
            readable("t\u{00e9}l\u{00e9}".as_bytes()).map(str::len),
            Some(6)
        );
        for bytes in [&b"\xff\x00"[..], b"a\x00b", b"", b"\x1b[31m"] {
            assert_eq!(readable(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_dump_names_each_byte_once() {
        let bytes: Vec<u8> = (0..=32).collect();
        assert_eq!(
            dump(&bytes),
            "0000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................\n\
             0010  10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f  ................\n\
             0020  20                                               \x20\n"
        );
        assert_eq!(dump(&[]), "");
    }
}
