//! The versions of a workflow, and what differs between two of them.

use maud::{Markup, html};
use stencil_store::{Page, Workflow};

use super::super::{badge, encoded, moment};
use super::diff::{self, Line};

/// Lines around a change that are shown.
const AROUND: usize = 3;

/// The list, the newest first.
pub(super) fn list(
    id: &str,
    versions: &Page<Workflow>,
    shown: u32,
    compared: Option<(u32, u32)>,
    from_first: bool,
) -> Markup {
    let here = format!("/workflows/{}", encoded(id));
    let (from, to) = compared.unwrap_or_else(|| {
        let newest = versions.items.first().map_or(1, |version| version.version);
        let before = versions
            .items
            .get(1)
            .map_or(newest, |version| version.version);
        (before, newest)
    });
    html! {
        section.card aria-labelledby="versions-title" {
            header { h2 #versions-title { "Versions" } }
            ol.versions {
                @for version in &versions.items {
                    li {
                        div.row {
                            a href={ (here) "?version=" (version.version) }
                                aria-current=[(version.version == shown).then_some("true")] { "Version " (version.version) }
                            @if version.active { (badge("good", "in force")) }
                            span.dim.small { (moment::element(version.created_us)) }
                        }
                    }
                }
            }
            nav.pager aria-label="Pages of the versions" {
                @if !from_first { a.button href=(here) { "Newest" } }
                @if let Some(next) = &versions.next {
                    a.button rel="next" href={ (here) "?older=" (encoded(next)) } { "Older" }
                }
            }
            @if versions.items.len() > 1 || compared.is_some() {
                form.row method="get" action={ (here) "#diff" } {
                    label for="from" { "Compare" }
                    (choice("from", versions, from))
                    label for="to" { "with" }
                    (choice("to", versions, to))
                    button { "Compare" }
                }
            }
        }
    }
}

fn choice(name: &str, versions: &Page<Workflow>, chosen: u32) -> Markup {
    let listed = versions
        .items
        .iter()
        .any(|version| version.version == chosen);
    html! {
        select #(name) name=(name) {
            @for version in &versions.items {
                option value=(version.version) selected[version.version == chosen] { "Version " (version.version) }
            }
            @if !listed { option value=(chosen) selected { "Version " (chosen) } }
        }
    }
}

/// What differs, with some lines around each change.
pub(super) fn compare(before: &Workflow, after: &Workflow) -> Markup {
    let lines = diff::lines(&before.yaml, &after.yaml);
    let same = lines.iter().all(|line| matches!(line, Line::Same(_)));
    html! {
        section #diff.card aria-labelledby="diff-title" {
            header { h2 #diff-title { "From version " (before.version) " to version " (after.version) } }
            @if same {
                p.dim { "The two texts are the same." }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="diff-title" {
                    table.diff {
                        thead.unseen { tr {
                            th scope="col" { "Change" }
                            th scope="col" { "Text" }
                        } }
                        tbody {
                            @for part in near(&lines) {
                                @match part {
                                    Some(Line::Same(text)) => { tr { td { span.unseen { "same" } } td { pre { (text) } } } }
                                    Some(Line::Gone(text)) => { tr.gone { td { "−" span.unseen { " gone" } } td { pre { (text) } } } }
                                    Some(Line::New(text)) => { tr.new { td { "+" span.unseen { " new" } } td { pre { (text) } } } }
                                    None => { tr.skipped { td { span.unseen { "left out" } } td { "⋯" } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The changes with what is around them; `None` where lines are left out.
fn near<'a>(lines: &[Line<'a>]) -> Vec<Option<Line<'a>>> {
    let changed: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !matches!(line, Line::Same(_)))
        .map(|(place, _)| place)
        .collect();
    let mut found = Vec::new();
    let mut next = changed.iter().peekable();
    let mut last: Option<usize> = None;
    for (place, line) in lines.iter().enumerate() {
        while next.peek().is_some_and(|change| **change + AROUND < place) {
            last = next.next().copied();
        }
        let ahead = next.peek().is_some_and(|change| **change <= place + AROUND);
        let behind = last.is_some_and(|change| place <= change + AROUND);
        if ahead || behind {
            found.push(Some(*line));
        } else if !matches!(found.last(), Some(None)) {
            found.push(None);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_around_each_change_are_shown() {
        let before: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let mut after = before.clone();
        after[10] = "ten".to_owned();
        after[28] = "more".to_owned();
        let (before, after) = (before.join("\n"), after.join("\n"));
        let lines = diff::lines(&before, &after);
        let shown: Vec<String> = near(&lines)
            .into_iter()
            .map(|line| match line {
                None => "⋯".to_owned(),
                Some(Line::Same(text)) => text.to_owned(),
                Some(Line::Gone(text)) => format!("-{text}"),
                Some(Line::New(text)) => format!("+{text}"),
            })
            .collect();
        let right = "⋯ 7 8 9 -10 +ten 11 12 13 ⋯ 25 26 27 -28 +more 29";
        assert_eq!(shown.join(" "), right);
    }
}
