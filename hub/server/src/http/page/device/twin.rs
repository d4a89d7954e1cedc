//! The device's twin: of each name the newest value, its unit, and when it was measured.

use maud::{Markup, html};
use stencil_store::Latest;

use super::super::{encoded, moment, value};
use super::Of;

pub(super) fn render(of: &Of<'_>, latest: &[Latest]) -> Markup {
    html! {
        section #twin.card data-live="fleet" data-every="15" data-from=(of.from)
            aria-labelledby="twin-title" {
            header {
                h2 #twin-title { "Newest values" }
                span.more.dim { (latest.len()) @if latest.len() == 1 { " name" } @else { " names" } }
            }
            @if latest.is_empty() { p.dim { "Nothing has been heard of it yet." } }
            @else {
                div.scroll tabindex="0" role="region" aria-labelledby="twin-title" {
                    table data-device=(of.device.id) {
                        thead { tr {
                            th scope="col" { "Name" }
                            th.num scope="col" { "Value" }
                            th scope="col" { "Unit" }
                            th.num scope="col" { "Measured" }
                        } }
                        tbody { @for item in latest { (row(of, item)) } }
                    }
                }
            }
        }
    }
}

fn row(of: &Of<'_>, item: &Latest) -> Markup {
    let at = item.time_us;
    html! {
        tr data-name=(item.name) {
            th scope="row" { a href={ (of.here()) "?name=" (encoded(&item.name)) "#chart" } { (item.name) } }
            td.num { b { (value::text(&item.value)) } }
            td.dim data-unit { (item.unit.as_deref().unwrap_or_default()) }
            td.num.nowrap {
                time datetime=(moment::rfc3339(at)) title={ (moment::utc(at)) " UTC" }
                    data-ago=(at) data-time { (moment::since(of.now_us.saturating_sub(at))) }
            }
        }
    }
}
