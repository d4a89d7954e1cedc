//! Alarms: the list, and one alarm with its history. What people do about them goes through the
//! API, from two dialogs that both pages have.

mod list;
mod one;

pub(in crate::http) use list::show as list;
pub(in crate::http) use one::show as one;

use maud::{Markup, html};
use stencil_store::{Alarm, MAX_ALARM_NOTE, Role, Severity};

use super::super::Caller;
use super::{badge, moment};

/// A severity as a badge.
pub(super) fn severity(severity: Severity) -> Markup {
    let class = match severity {
        Severity::Warning => "info",
        Severity::Minor => "warn",
        Severity::Major => "high",
        Severity::Critical => "bad",
    };
    badge(class, severity.as_str())
}

/// Until when nobody is told, if that is still ahead.
fn silenced(alarm: &Alarm, now_us: i64) -> Option<i64> {
    alarm
        .silenced_until_us
        .filter(|until_us| *until_us > now_us)
}

/// What an alarm is: active or cleared, noted by whom, silenced until when.
fn state(alarm: &Alarm, now_us: i64) -> Markup {
    html! {
        @match alarm.cleared_us {
            None => { (badge("bad", "active")) }
            Some(_) => { (badge("good", "cleared")) }
        }
        @if alarm.acknowledged.is_some() { " " (badge("info", "acknowledged")) }
        @if silenced(alarm, now_us).is_some() { " " (badge("warn", "silenced")) }
    }
}

/// Who took note, and until when nobody is told.
fn notes(alarm: &Alarm, now_us: i64) -> Markup {
    html! {
        @if let Some(mark) = &alarm.acknowledged {
            p.small {
                (mark.by) ", " (moment::element(mark.at_us))
                @if let Some(note) = &mark.note { ": " q { (note) } }
            }
        }
        @if let Some(until_us) = silenced(alarm, now_us) {
            p.small { "silent until " (moment::utc(until_us)) " UTC"
                @if let Some(by) = &alarm.silenced_by { ", by " (by) } }
        }
    }
}

/// Whether somebody may do something about alarms.
fn may_act(caller: &Caller) -> bool {
    matches!(caller.role, Role::Editor | Role::Admin)
}

/// The buttons that open the dialogs.
fn actions(alarm: &Alarm, now_us: i64) -> Markup {
    let id = alarm.id;
    html! {
        div.row {
            button type="button" id={ "ack-" (id) } data-open="acknowledge" data-alarm=(id)
                data-title=(alarm.title) aria-haspopup="dialog" {
                @if alarm.acknowledged.is_some() { "Change note" } @else { "Acknowledge" }
                span.unseen { " " (alarm.title) }
            }
            @if silenced(alarm, now_us).is_some() {
                form data-send={ "POST /api/v1/alarms/" (id) "/silence" } data-told="People are told again" {
                    button id={ "silence-" (id) } { "End silence" span.unseen { " of " (alarm.title) } }
                }
            } @else {
                button type="button" id={ "silence-" (id) } data-open="silence" data-alarm=(id)
                    data-title=(alarm.title) aria-haspopup="dialog" {
                    "Silence" span.unseen { " " (alarm.title) }
                }
            }
        }
    }
}

/// The dialogs; their script fills in which alarm.
fn dialogs() -> Markup {
    html! {
        dialog #acknowledge aria-labelledby="acknowledge-title" {
            form data-path="acknowledge" data-told="Acknowledged" {
                h2 #acknowledge-title { "Acknowledge" }
                p data-what {}
                p.dim.small { "It says that somebody looks after it. The alarm goes on until its rule is no longer true." }
                div.field {
                    label for="note" { "Note" }
                    input #note name="note" maxlength=(MAX_ALARM_NOTE / 4) autocomplete="off" autofocus;
                    span.hint { "For colleagues; it may be empty." }
                }
                p.alert.problem role="alert" hidden {}
                div.row {
                    button.primary { "Acknowledge" }
                    button type="button" data-close { "Cancel" }
                }
            }
        }
        dialog #silence aria-labelledby="silence-title" {
            form data-path="silence" data-told="Nobody is told meanwhile" {
                h2 #silence-title { "Silence" }
                p data-what {}
                p.dim.small {
                    "Steps that tell people are passed over for this rule and device, also for later \
                     alarms. The alarm stays in sight, and steps that act are performed."
                }
                fieldset.choices {
                    legend { "For how long" }
                    label { input type="radio" name="length" value="3600" checked; " 1 hour" }
                    label { input type="radio" name="length" value="28800"; " 8 hours" }
                    label { input #length-until type="radio" name="length" value="until"; " until" }
                    input #until name="until" type="datetime-local" aria-label="Until, in UTC" disabled;
                    span.hint { "UTC, at most 30 days ahead" }
                }
                p.alert.problem role="alert" hidden {}
                div.row {
                    button.primary { "Silence" }
                    button type="button" data-close { "Cancel" }
                }
            }
        }
    }
}
