//! A mail as it goes over the wire (RFC 5322, MIME).
//!
//! The same effect gives the same bytes at each attempt: message id and
//! boundary follow from the effect key, the date from the event. Everything is
//! ASCII in lines of at most 998 bytes, so that any server can take it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stencil_workflow::Mail;

use super::options::Sender;

/// The longest line that may be written, without its end (RFC 5322, 2.1.1).
const MAX_LINE: usize = 998;
/// Where headers are folded, and base64 is broken.
const FOLD: usize = 76;
/// Bytes in one encoded word: with its frame it has at most 75 characters.
const WORD_BYTES: usize = 45;

/// A mail that is ready to go.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    /// `at_us` is when that happened which it tells of.
    pub(super) fn new(mail: &Mail, from: &Sender, effect_key: &str, at_us: i64) -> Self {
        let domain = from
            .address
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain);
        let short = effect_key.get(..32).unwrap_or(effect_key);
        let id = format!("<{short}@{domain}>");
        let mut text = String::new();
        let mut header = |name: &str, value: &str| {
            text.push_str(&format!("{name}: {value}\r\n"));
        };
        let sender = match &from.name {
            Some(name) => format!("{}\r\n <{}>", phrase(name), from.address),
            None => from.address.clone(),
        };
        header("From", &sender);
        header("To", &mail.to.join(",\r\n "));
        header("Subject", &unstructured(&mail.subject));
        header("Date", &date(at_us));
        header("Message-ID", &id);
        header("MIME-Version", "1.0");
        // No vacation notice answers this (RFC 3834).
        header("Auto-Submitted", "auto-generated");
        match &mail.html {
            None => part(&mut text, "plain", &mail.text, ""),
            Some(html) => {
                let boundary = format!("=_{short}");
                header(
                    "Content-Type",
                    &format!("multipart/alternative;\r\n boundary=\"{boundary}\""),
                );
                for (kind, body) in [("plain", &mail.text), ("html", html)] {
                    text.push_str(&format!("\r\n--{boundary}\r\n"));
                    part(&mut text, kind, body, &boundary);
                }
                text.push_str(&format!("\r\n--{boundary}--\r\n"));
            }
        }
        Self {
            id,
            bytes: text.into_bytes(),
        }
    }
}

/// Headers and body of a text part.
fn part(out: &mut String, kind: &str, body: &str, boundary: &str) {
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    let mut body = body.replace('\n', "\r\n");
    if !body.ends_with("\r\n") {
        body.push_str("\r\n");
    }
    let plain = body
        .chars()
        .all(|c| matches!(c, ' '..='~' | '\t' | '\r' | '\n'))
        && body.split("\r\n").all(|line| line.len() <= MAX_LINE)
        && (boundary.is_empty() || !body.contains(boundary));
    let encoding = if plain { "7bit" } else { "base64" };
    out.push_str(&format!(
        "Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    ));
    if plain {
        out.push_str(&body);
        return;
    }
    let encoded = STANDARD.encode(body.as_bytes());
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(FOLD.min(rest.len()));
        out.push_str(line);
        out.push_str("\r\n");
        rest = after;
    }
}

/// The text of a header such as Subject: as it is where that is possible, else
/// in encoded words (RFC 2047); folded.
fn unstructured(text: &str) -> String {
    let plain = text.chars().all(|c| matches!(c, ' '..='~'))
        && !text.contains("=?")
        && text
            .split(' ')
            .all(|word| word.len() < FOLD && !word.is_empty());
    if !plain {
        return encoded_words(text);
    }
    let (mut folded, mut column) = (String::new(), "Subject: ".len());
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 && column + 1 + word.len() > FOLD {
            folded.push_str("\r\n");
            column = 0;
        }
        if at > 0 {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += word.len();
    }
    folded
}

/// A name in front of an address: atoms as they are, all else encoded.
fn phrase(name: &str) -> String {
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    if name.chars().all(atom) && !name.contains("=?") {
        return name.to_owned();
    }
    encoded_words(name)
}

fn encoded_words(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

/// A time in UTC as `Mon, 02 Dec 2013 15:55:00 +0000`.
fn date(at_us: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let named = |names: &[&'static str], at: i64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| names.get(at).copied())
    };
    let seconds = at_us.div_euclid(1_000_000);
    let weekday = named(&DAYS, seconds.div_euclid(86_400).rem_euclid(7));
    // 2013-12-02T15:55:00Z
    let moment = stencil_protocol::moment::rfc3339(seconds.saturating_mul(1_000_000));
    let parts = moment.split_once('T').and_then(|(day, clock)| {
        let mut day = day.splitn(3, '-');
        let (year, month, day) = (day.next()?, day.next()?, day.next()?);
        let month = named(&MONTHS, month.parse::<i64>().ok()? - 1)?;
        Some(format!("{day} {month} {year} {}", clock.get(..8)?))
    });
    match (weekday, parts) {
        (Some(weekday), Some(parts)) => format!("{weekday}, {parts} +0000"),
        // No event has a time that cannot be written so.
        _ => "Thu, 01 Jan 1970 00:00:00 +0000".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

    fn mail(subject: &str, text: &str, html: Option<&str>) -> String {
        let mail = Mail {
            connection: "default".to_owned(),
            to: vec!["a@example.org".to_owned(), "b@example.org".to_owned()],
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: html.map(ToOwned::to_owned),
        };
        let from = Sender {
            name: Some("Stencil Hub".to_owned()),
            address: "hub@example.org".to_owned(),
        };
        let message = Message::new(&mail, &from, KEY, 1_385_999_700_000_000);
        String::from_utf8(message.bytes).unwrap()
    }

    #[test]
    fn a_plain_mail_to_the_letter() {
        assert_eq!(
            mail("freezer-07 is warm", "It is -11.5 degC.\nLook.", None),
            "From: Stencil Hub\r\n <hub@example.org>\r\n\
             To: a@example.org,\r\n b@example.org\r\n\
             Subject: freezer-07 is warm\r\n\
             Date: Mon, 02 Dec 2013 15:55:00 +0000\r\n\
             Message-ID: <5f70bf18a086007016e948b04aed3b82@example.org>\r\n\
             MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             It is -11.5 degC.\r\nLook.\r\n"
        );
    }

    #[test]
    fn whatever_is_said_lines_are_short_and_ascii() {
        let long = "ü".repeat(200);
        for (subject, text) in [
            (long.as_str(), long.as_str()),
            (&"a ".repeat(90), &"x".repeat(5_000)),
            ("=?UTF-8?B?eA==?=", "nul \0 and \u{7f}"),
            (&"y".repeat(150), ".\r\n..\n.\r"),
        ] {
            for html in [None, Some(text)] {
                let mail = mail(subject, text, html);
                assert!(mail.is_ascii() && mail.ends_with("\r\n"));
                let lines = mail.replace("\r\n", "\u{1}");
                assert!(!lines.contains(['\r', '\n', '\0']), "{mail:?}");
                assert!(lines.split('\u{1}').all(|line| line.len() <= 990));
            }
        }
    }

    #[test]
    fn dates_of_any_event() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_400_000_000), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(-1), "Wed, 31 Dec 1969 23:59:59 +0000");
        for at_us in [i64::MIN, i64::MAX] {
            assert!(date(at_us).ends_with("+0000"));
        }
    }
}
