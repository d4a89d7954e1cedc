//! What an admin may ask of a gateway from its page: the script asks the API, and shows the answer.

use maud::{Markup, html};
use stencil_protocol::id::GatewayId;
use stencil_protocol::question::Level;

/// For how long more may be logged, in words and seconds.
const SPANS: [(&str, u32); 3] = [
    ("10 minutes", 600),
    ("30 minutes", 1_800),
    ("1 hour", 3_600),
];

/// Log and figures, and how much is logged for a while.
pub(super) fn panel(gateway: &GatewayId) -> Markup {
    html! {
        section #asked.card aria-labelledby="asked-title" data-gateway=(gateway) {
            header {
                h2 #asked-title { "Log and figures" }
                span.dim { "Asked of the gateway as it is now; secrets are left out." }
            }
            div.form.line {
                div.field {
                    label for="log-level" { "From level" }
                    select #log-level {
                        @for level in Level::ALL {
                            option value=(level.name()) selected[level == Level::Info] { (level.name()) }
                        }
                    }
                }
                label.check { input #log-follow type="checkbox"; " Follow" }
                button #show-log type="button" { "Show log" }
                button #show-figures type="button" { "Show figures" }
            }
            form.form.line data-send={ "PUT /api/v1/gateways/" (gateway) "/log-level" }
                data-told="The gateway logs so much" data-then="keep" {
                div.field {
                    label for="raise-level" { "Log for a while" }
                    select #raise-level name="level" data-empty="null" {
                        @for level in Level::ALL {
                            option value=(level.name()) selected[level == Level::Debug] { (level.name()) }
                        }
                        option value="" { "as its settings say" }
                    }
                }
                div.field {
                    label for="raise-for" { "For" }
                    select #raise-for name="seconds" data-type="number" {
                        @for (words, seconds) in SPANS { option value=(seconds) { (words) } }
                    }
                }
                button { "Set" }
                p.alert.problem role="alert" hidden {}
            }
            p #asked-problem.alert role="alert" hidden {}
            div #log-box hidden {
                p #log-none.dim hidden { "No lines of this level are held." }
                pre #log.payload.log.scroll tabindex="0" aria-label="Log" {}
            }
            div #figures-box.scroll hidden {
                table #figures {
                    thead { tr {
                        th scope="col" { "Figure" }
                        th.num scope="col" { "Value" }
                        th scope="col" { "What it says" }
                    } }
                    tbody {}
                }
            }
        }
    }
}
