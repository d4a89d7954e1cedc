//! What the device runs, and the last image that it did not take, by its own word.

use maud::{Markup, html};

use super::super::super::api::firmware::{self, Firmware};
use super::super::super::problem::Problem;
use super::super::{badge, moment};
use super::Of;

pub(super) async fn render(of: &Of<'_>) -> Result<Markup, Problem> {
    let Firmware { runs, gave_up } = firmware::said(of.state, of.caller, &of.device.id).await?;
    Ok(html! {
        section #firmware.card data-live="rollouts fleet" data-every="10" data-from=(of.from)
            aria-labelledby="firmware-title" {
            h2 #firmware-title { "Firmware" }
            @if runs.is_none() { p.dim { "It has not said what it runs." } }
            dl.facts {
                @if let Some(runs) = &runs {
                    div { dt { "Runs" } dd {
                        @if let Some(version) = &runs.version { (version) ", " }
                        "number " (runs.sequence) " "
                        @if runs.trial { (badge("info", "on trial")) } @else { (badge("good", "kept")) }
                        p.dim.small { code { (short(&runs.digest)) } ", said " (moment::ago(runs.reported_us, of.now_us)) }
                    } }
                }
                @if let Some(gave_up) = &gave_up {
                    div { dt { "Did not take" } dd {
                        (gave_up.reason)
                        p.dim.small { code { (short(&gave_up.digest)) } ", said " (moment::ago(gave_up.reported_us, of.now_us)) }
                    } }
                }
            }
        }
    })
}

/// As much of a digest as is needed to find it.
fn short(digest: &stencil_rollout::Digest) -> String {
    digest.to_string().chars().take(16).collect()
}
