//! What stands beside the editor: what the rule led to, how definitions are written, the backtest.

use maud::{Markup, html};
use stencil_store::{AtGateway, Role, Workflow};

use super::super::super::Caller;
use super::super::{encoded, moment};
use super::in_force;

/// Whether somebody may change rules.
pub(super) fn may_write(caller: &Caller) -> bool {
    matches!(caller.role, Role::Editor | Role::Admin)
}

/// Whether the rule is applied, and ways to what it led to.
pub(super) fn state(shown: &Workflow, write: bool) -> Markup {
    let id = encoded(&shown.id);
    html! {
        section.card aria-labelledby="state-title" {
            header { h2 #state-title { "State" } span.more { (in_force(shown)) } }
            dl.facts {
                div { dt { "Id" } dd { code { (shown.id) } } }
                div { dt { "Written" } dd { "version " (shown.version) ", " (moment::element(shown.created_us)) } }
            }
            div.row {
                a.button href={ "/alarms?state=active&workflow=" (id) } { "Alarms" }
                a.button href={ "/runs?workflow=" (id) } { "Runs" }
                @if write && shown.active {
                    form data-send={ "DELETE /api/v1/workflows/" (id) } data-then={ "/workflows/" (id) }
                        data-confirm={ "Take " (shown.id) " out of force? Its active alarms are cleared. Versions, runs and alarms stay readable." } {
                        button.danger { "Take out of force" }
                    }
                }
                @if write && !shown.active {
                    button #restart type="button" { "Put version " (shown.version) " in force" }
                }
            }
        }
    }
}

/// The gateways that judge the rule first, or why not.
pub(super) fn at_gateways(gateways: &[AtGateway]) -> Markup {
    html! {
        section.card aria-labelledby="gateways-title" {
            header { h2 #gateways-title { "At gateways" } }
            dl.facts {
                @for at in gateways {
                    div {
                        dt { (at.gateway) }
                        dd {
                            @match &at.refused {
                                None => { "judges version " (at.version) ", since " (moment::element(at.at_us)) " at least" }
                                Some(why) => { "refuses version " (at.version) ": " (why) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How definitions are written, in short.
pub(super) fn reference() -> Markup {
    let conditions = [
        (
            "{ above: 30.0, for: 10s, clear: 28.0 }",
            "a limit; for and clear may be left out",
        ),
        ("{ below: 4.0 }", "the other way round"),
        ("{ absent: 5m }", "no sample for five minutes"),
        ("{ rate: { over: 1m, above: 0.5 } }", "change per second"),
        (
            "{ window: { of: mean, over: 10m, lateness: 30s, above: 5.0 } }",
            "count, mean, min, max or p95",
        ),
        ("{ expr: \"event.value > 30.0\" }", "CEL over one sample"),
    ];
    let steps = [
        "content.upsert",
        "content.publish",
        "webhook.post",
        "mail.send",
        "device.command",
        "credential.issue",
        "data.prove",
    ];
    html! {
        section.card {
            details {
                summary { "How a rule is written" }
                div.stack {
                    h3 { "when" }
                    dl.forms {
                        @for (form, about) in conditions {
                            div { dt { code { (form) } } dd.dim.small { (about) } }
                        }
                    }
                    h3 { "What it leads to" }
                    p { "An " code { "alarm" } " with a severity (warning, minor, major, critical) and a title; "
                        code { "steps" } " that are done one after the other; or both." }
                    p { "Steps use " @for (place, step) in steps.iter().enumerate() {
                        @if place > 0 { ", " } code { (step) }
                    } "." }
                    p.dim.small { "Templates " code { "{{ event.device }}" } ", " code { "{{ event.value }}" } ", "
                        code { "{{ steps.<id>.… }}" } " stand wherever a text may." }
                }
            }
        }
    }
}

/// The form of the backtest, and the places for its outcome.
pub(super) fn backtest(newest_us: i64) -> Markup {
    let presets = [
        ("3600", "1 hour"),
        ("86400", "24 hours"),
        ("604800", "7 days"),
        ("2592000", "30 days"),
    ];
    html! {
        section #backtest.card aria-labelledby="backtest-title" data-newest=(newest_us) {
            header {
                h2 #backtest-title { "Backtest" }
                span.dim { "What the text above would have done with what is stored. Nothing is started or sent." }
            }
            form #backtest-form.row {
                div.segments role="group" aria-label="Range up to the newest data" {
                    @for (seconds, text) in presets {
                        button type="button" data-range=(seconds) aria-pressed="false" { (text) }
                    }
                }
                label for="backtest-from" { "From" }
                input #backtest-from type="datetime-local" step="1" required;
                label for="backtest-to" { "to" }
                input #backtest-to type="datetime-local" step="1" required;
                span.dim.small { "UTC" }
                button #backtest-run.primary { "Backtest" }
                button #backtest-stop type="button" hidden { "Stop" }
            }
            p #backtest-said role="status" aria-live="polite" {}
            progress #backtest-busy aria-label="The backtest is running" hidden {}
            p #backtest-cut.alert.warn hidden {}
            div #backtest-chart hidden {
                div.row {
                    label for="backtest-device" { "Device" }
                    select #backtest-device {}
                    span.legend {
                        span.key.would { "would have been true" }
                        span.key.did { "what the version in force did" }
                    }
                }
                div #backtest-figure {}
            }
            div #backtest-table hidden {
                h3 #firings-title { "Firings" }
                div.scroll.tall tabindex="0" role="region" aria-labelledby="firings-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Device" }
                            th scope="col" { "True since (UTC)" }
                            th scope="col" { "Fired (UTC)" }
                            th scope="col" { "Cleared (UTC)" }
                            th.num scope="col" { "Lasted" }
                            th.num scope="col" { "Value" }
                            th scope="col" { "In force" }
                        } }
                        tbody #firings {}
                    }
                }
            }
        }
    }
}
