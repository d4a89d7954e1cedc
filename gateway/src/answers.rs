//! What the gateway answers to the hub's questions: lines of its log without what is secret in them,
//! figures, and how much it logs for a while.

use std::{sync::Arc, time::Duration};

use stencil_protocol::question::{
    Answer, Asked, Cursor, Level, Line, Lines, Log, MAX_ANSWER_BYTES, MAX_LINE_BYTES, MAX_LINES,
    Question, Refusal,
};

use crate::{
    Logs,
    clock::now_us,
    diag::{Keepers, Redactor, Secrets},
    figures::Figures,
    logs::{Held, Newest},
};

/// As much of an answer is left for what is not lines.
const HEAD_BYTES: usize = 128;
/// More than what a line takes besides its text.
const LINE_OVERHEAD_BYTES: usize = 16;

/// Who answers.
pub(crate) struct Answers {
    pub(crate) logs: Logs,
    pub(crate) figures: Arc<Figures>,
    /// Where the secrets lie that no line may hold.
    pub(crate) keepers: Keepers,
    /// Whether anything may be set from afar.
    pub(crate) accept: bool,
}

impl Answers {
    /// The answer's bytes. Takes a moment: it looks through all lines that are held.
    pub(crate) fn to(&self, question: &[u8]) -> Vec<u8> {
        let answer = match Question::decode(question) {
            Ok(question) => self.answer(question.what),
            Err(error) => {
                tracing::warn!(%error, "the hub asks what this version does not know");
                Answer::Refused(Refusal::Unknown)
            }
        };
        answer.encode().unwrap_or_else(|error| {
            tracing::error!(%error, "an answer to the hub cannot be written");
            Answer::Refused(Refusal::Unknown)
                .encode()
                .unwrap_or_default()
        })
    }

    fn answer(&self, what: Asked) -> Answer {
        match what {
            Asked::Log(want) => {
                let secrets = self.keepers.secrets();
                Answer::Log(select(&self.logs.ring().newest(), &want, &secrets))
            }
            Asked::Figures => Answer::Figures {
                at_us: now_us(),
                figures: self.figures.all(),
            },
            Asked::Level { .. } if !self.accept => Answer::Refused(Refusal::NotAllowed),
            Asked::Level { level, seconds } => {
                let time = Duration::from_secs(u64::from(seconds));
                self.logs.raise(level.map(Level::name), time);
                Answer::Level { level, seconds }
            }
        }
    }
}

/// The lines that are wanted, as many as fit.
fn select(newest: &Newest, want: &Lines, secrets: &Secrets) -> Log {
    let max = want.lines.min(MAX_LINES) as usize;
    let (from, missed) = match want.after {
        Some(after) if after.epoch == newest.epoch => (
            after.count.clamp(newest.first, newest.count),
            newest.first.saturating_sub(after.count),
        ),
        // Of another start: all of this one is new.
        Some(_) => (newest.first, newest.first),
        None => (newest.first, 0),
    };
    let age = want.age_us.map(Duration::from_micros);
    let is_wanted = |number: u64, held: &Held| {
        number >= from
            && level_of(held.level) <= want.level
            && age.is_none_or(|age| held.at.elapsed() <= age)
    };
    // Through all lines, wanted or not: what is secret may begin in one and end in another.
    let mut redactor = Redactor::new(secrets);
    let numbered = (newest.first..).zip(&newest.lines);
    let lines: Vec<(u64, Line)> = numbered
        .filter_map(|(number, held)| {
            let text = without_secrets(&mut redactor, &held.text)?;
            is_wanted(number, held).then(|| {
                let line = Line {
                    at_us: held.at_us,
                    level: level_of(held.level),
                    text,
                };
                (number, line)
            })
        })
        .collect();
    let mut left = MAX_ANSWER_BYTES - HEAD_BYTES;
    let mut fits = |line: &Line| {
        let bytes = line.text.len() + LINE_OVERHEAD_BYTES;
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    let onwards = want.after.is_some() || want.age_us.is_some();
    let count = lines.len();
    let taken = match onwards {
        true => lines
            .iter()
            .take(max)
            .take_while(|(_, it)| fits(it))
            .count(),
        false => {
            let newest_first = lines.iter().rev().take(max);
            newest_first.take_while(|(_, it)| fits(it)).count()
        }
    };
    let more = onwards && taken < count;
    let next = match lines.get(taken) {
        Some((number, _)) if more => *number,
        _ => newest.count,
    };
    let skipped = if onwards { 0 } else { count - taken };
    let lines = lines.into_iter().skip(skipped).take(taken);
    Log {
        at_us: now_us(),
        next: Cursor {
            epoch: newest.epoch,
            count: next,
        },
        missed,
        more,
        lines: lines.map(|(_, line)| line).collect(),
    }
}

/// A line's text without what is secret, cut to what may be sent; nothing, where all of it is secret.
fn without_secrets(redactor: &mut Redactor<'_>, text: &str) -> Option<String> {
    let shown: Vec<String> = text
        .lines()
        .filter_map(|line| redactor.line(line))
        .collect();
    if shown.is_empty() && !text.is_empty() {
        return None;
    }
    let mut shown = shown.join("\n");
    shown.truncate(shown.floor_char_boundary(MAX_LINE_BYTES));
    Some(shown)
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::Ring;

    const WANT: Lines = Lines {
        level: Level::Info,
        lines: 1_000,
        age_us: None,
        after: None,
    };

    fn select(newest: &Newest, want: &Lines) -> Log {
        super::select(newest, want, &Secrets::these(&[KEY]))
    }

    const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn texts(log: &Log) -> Vec<&str> {
        log.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_newest_come_without_a_cursor_and_what_follows_with_one() {
        let ring = Ring::default();
        for n in 0..10 {
            ring.push(tracing::Level::INFO, &format!("line {n}"));
        }
        ring.push(tracing::Level::DEBUG, "detail");
        let log = select(&ring.newest(), &Lines { lines: 2, ..WANT });
        assert_eq!(texts(&log), ["line 8", "line 9"]);
        assert_eq!((log.more, log.missed), (false, 0));
        let after = Some(log.next);
        let on = |lines| {
            let want = Lines {
                lines,
                after,
                ..WANT
            };
            select(&ring.newest(), &want)
        };
        assert!(on(9).lines.is_empty());
        for n in 10..13 {
            ring.push(tracing::Level::WARN, &format!("line {n}"));
        }
        let log = on(2);
        assert_eq!(texts(&log), ["line 10", "line 11"]);
        assert!(log.more);
        let rest = Lines {
            after: Some(log.next),
            ..WANT
        };
        let log = select(&ring.newest(), &rest);
        assert_eq!(texts(&log), ["line 12"]);
        assert!(!log.more);
        let warn = Lines {
            level: Level::Warn,
            ..WANT
        };
        assert_eq!(select(&ring.newest(), &warn).lines.len(), 3);
        let detail = Lines {
            level: Level::Debug,
            lines: 4,
            ..WANT
        };
        assert_eq!(texts(&select(&ring.newest(), &detail))[0], "detail");
    }

    #[test]
    fn what_is_gone_meanwhile_is_counted_and_another_start_is_seen() {
        let ring = Ring::default();
        ring.push(tracing::Level::INFO, "first");
        let next = select(&ring.newest(), &WANT).next;
        for n in 0..3_000 {
            ring.push(tracing::Level::INFO, &format!("line {n}"));
        }
        let on = |after| {
            let want = Lines {
                lines: 1,
                after: Some(after),
                ..WANT
            };
            select(&ring.newest(), &want)
        };
        let log = on(next);
        assert_eq!((texts(&log)[0], log.missed), ("line 1000", 1_000));
        let other = Cursor {
            epoch: next.epoch ^ 1,
            count: 7,
        };
        let log = on(other);
        assert_eq!((texts(&log)[0], log.missed), ("line 1000", 1_001));
        assert_eq!(log.next.epoch, next.epoch);
        // What nobody was ever told is no reason to look behind the end.
        let ahead = Cursor {
            epoch: next.epoch,
            count: u64::MAX,
        };
        let log = on(ahead);
        assert!(log.lines.is_empty() && !log.more && log.missed == 0);
    }

    #[test]
    fn none_is_older_than_it_may_be() {
        let mut newest = Ring::default().newest();
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        for (text, age) in [("old", 3), ("young", 1)] {
            newest.lines.push(Held {
                level: tracing::Level::INFO,
                // The clock was wrong: it does not count.
                at_us: 0,
                at: now.checked_sub(minute * age).unwrap(),
                text: text.to_owned(),
            });
        }
        newest.count = 2;
        let want = Lines {
            age_us: Some(120_000_000),
            ..WANT
        };
        assert_eq!(texts(&select(&newest, &want)), ["young"]);
    }

    #[test]
    fn whatever_is_logged_fits_into_an_answer_page_by_page() {
        let ring = Ring::default();
        for n in 0..120 {
            let text = format!("{n} {}", "ä".repeat(1_000));
            ring.push(tracing::Level::INFO, &text);
        }
        let newest = ring.newest();
        let log = select(&newest, &WANT);
        assert!(log.lines.len() > 20, "{}", log.lines.len());
        assert!(log.lines.last().unwrap().text.starts_with("119 "));
        let fits = |log: &Log| Answer::Log(log.clone()).encode().is_ok();
        assert!(fits(&log));
        let (mut after, mut all) = (Cursor::default(), Vec::new());
        loop {
            let want = Lines {
                after: Some(after),
                ..WANT
            };
            let log = select(&newest, &want);
            assert!(fits(&log) && !log.lines.is_empty());
            all.extend(log.lines);
            after = log.next;
            if !log.more {
                break;
            }
        }
        let held: Vec<_> = newest.lines.iter().map(|held| &held.text).collect();
        assert_eq!(all.iter().map(|line| &line.text).collect::<Vec<_>>(), held);
    }

    #[test]
    fn no_secret_leaves_also_where_it_is_spread_over_lines() {
        let ring = Ring::default();
        for line in [
            "connecting to mqtts://ann:hunter2@broker.example:8883/",
            "the server refuses password=hunter2",
            "-----BEGIN PRIVATE KEY-----",
            "aHVudGVyMg==hunter2",
            "-----END PRIVATE KEY-----",
            "two\n  token: hunter2\nlines",
            "key 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
            "command 5f2c1e0d9b8a77665544332211009988 is done, peer 192.0.2.7:8883",
            "uplink connected",
        ] {
            ring.push(tracing::Level::INFO, line);
        }
        let log = select(&ring.newest(), &WANT);
        let all = texts(&log).join("\n");
        assert!(!all.contains("hunter2") && !all.contains("0011"), "{all}");
        for kept in [
            "broker.example:8883",
            "two",
            "2211009988 is done, peer 192.0.2.7:8883",
        ] {
            assert!(all.contains(kept), "{kept}: {all}");
        }
        // One that begins before what is asked for is known as well.
        let last = Lines { lines: 5, ..WANT };
        let all = texts(&select(&ring.newest(), &last)).join("\n");
        assert!(!all.contains("hunter2"), "{all}");
    }
}
