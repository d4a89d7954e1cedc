//! Roll-outs: the list, and one with its progress and its devices. What people do about one goes
//! through the API.

mod list;
mod one;

pub(in crate::http) use list::show as list;
pub(in crate::http) use one::show as one;

use maud::{Markup, html};
use stencil_rollout::Counts;
use stencil_store::Role;

use super::super::Caller;
use super::super::api::rollouts::Shown;
use super::badge;

/// The phases in the order in which they are drawn, with their colours and what they say.
const PHASES: [(&str, &str, &str); 8] = [
    ("done", "good", "run it and keep it"),
    ("installed", "info", "run it on trial"),
    ("downloading", "info", "have a part of it"),
    ("offered", "info", "were told of it"),
    ("failed", "bad", "have failed"),
    ("timed_out", "bad", "showed no progress for too long"),
    ("waiting", "", "wait for their turn, or are off"),
    ("skipped", "", "do not get it"),
];

/// A status as a badge.
fn status(shown: &Shown) -> Markup {
    let by_failures = shown
        .why
        .as_ref()
        .is_some_and(|why| why["by"] == "failures");
    let class = match shown.status.as_str() {
        "running" => "info",
        "finished" => "good",
        "paused" if by_failures => "bad",
        "paused" => "warn",
        "failed" => "bad",
        _ => "",
    };
    badge(class, &shown.status)
}

/// Why it stands where it stands, in words.
fn why(shown: &Shown) -> Option<String> {
    let why = shown.why.as_ref()?;
    match why["by"].as_str() {
        Some("failures") => Some(format!(
            "{} of {} that are finished have failed",
            why["failed"], why["finished"]
        )),
        Some(_) => Some("somebody paused it".to_owned()),
        None => why["why"].as_str().map(str::to_owned),
    }
}

/// Whose turn it is, in words.
fn turn(shown: &Shown) -> String {
    match shown.stage {
        _ if shown.matches == 0 => "matches no device".to_owned(),
        0 => format!("the first {} devices", shown.turn),
        _ if shown.turn >= shown.counts.eligible() => "all devices".to_owned(),
        wave => format!("wave {wave}: {} devices", shown.turn),
    }
}

/// How far all devices have come, as one bar. What it shows is said beside it.
fn bar(counts: &Counts) -> Markup {
    let all = counts.all().max(1);
    let mut from = 0;
    let parts: Vec<(u32, u32, &str)> = PHASES
        .iter()
        .map(|(phase, class, _)| {
            let count = of(counts, phase);
            let part = (from, count, *class);
            from += count;
            part
        })
        .filter(|(_, count, _)| *count > 0)
        .collect();
    html! {
        svg.progress viewBox={ "0 0 " (all) " 1" } preserveAspectRatio="none" aria-hidden="true" {
            rect.rail width=(all) height="1" {}
            @for (from, count, class) in parts {
                rect class=(class) x=(from) width=(count) height="1" {}
            }
        }
    }
}

fn of(counts: &Counts, phase: &str) -> u32 {
    match phase {
        "waiting" => counts.waiting,
        "offered" => counts.offered,
        "downloading" => counts.downloading,
        "installed" => counts.installed,
        "done" => counts.done,
        "failed" => counts.failed,
        "timed_out" => counts.timed_out,
        "skipped" => counts.skipped,
        _ => 0,
    }
}

/// A phase as people read it.
fn words(phase: &str) -> String {
    phase.replace('_', " ")
}

/// Whether somebody may do something about roll-outs.
fn may_act(caller: &Caller) -> bool {
    matches!(caller.role, Role::Editor | Role::Admin)
}
