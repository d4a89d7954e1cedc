//! Texts without what is secret in them.

/// What stands in the place of a secret.
const HIDDEN: &str = "***";
/// What the name of something secret has in it.
const SECRET: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "psk",
    "private",
    "credential",
    "apikey",
    "api_key",
    "authorization",
];

/// The text with the values of secret settings, passwords in addresses, private keys, and what looks
/// like a key hidden. It hides too much rather than too little.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut redactor = Redactor::default();
    for line in text.lines().filter_map(|line| redactor.line(line)) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// Hides what is secret, line by line.
#[derive(Default)]
pub(crate) struct Redactor {
    /// What is hidden until it ends: a private key, or a value over several lines.
    in_key: bool,
    deeper_than: Option<usize>,
}

impl Redactor {
    /// The next line of a text without what is secret; nothing, where all of it is.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        if self.in_key {
            self.in_key = !line.contains("-----END");
            return None;
        }
        let indent = line.len() - line.trim_start().len();
        match self.deeper_than {
            Some(of) if line.trim().is_empty() || indent > of => return None,
            _ => self.deeper_than = None,
        }
        if line.contains("-----BEGIN") && line.contains("KEY") {
            self.in_key = !line.contains("-----END");
            return Some(HIDDEN.to_owned());
        }
        let (shown, goes_on) = line_without(line);
        if goes_on {
            self.deeper_than = Some(indent);
        }
        Some(shown)
    }
}

/// A line, and whether a value that is hidden goes on in the lines below.
fn line_without(line: &str) -> (String, bool) {
    let lower = line.to_ascii_lowercase();
    // From the name of a secret on, all of the line: a value may have any form.
    let named = SECRET
        .iter()
        .filter_map(|name| {
            let at = lower.find(name)?;
            let value = lower[at..].find([':', '='])?;
            Some(at + value)
        })
        .min();
    if let Some(at) = named {
        let value = line[at + 1..].trim();
        // A path to a secret is none.
        if !is_path(value) {
            let goes_on = value.is_empty() || value.starts_with(['|', '>']);
            return (format!("{} {HIDDEN}", &line[..=at]), goes_on);
        }
    }
    (without_keys(&without_passwords(line)), false)
}

fn is_path(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'', ',']);
    value.starts_with('/') && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Without who and what stands before the `@` of an address.
fn without_passwords(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || "/\"'<>,".contains(c))
            .unwrap_or(after.len());
        let (authority, further) = after.split_at(end);
        match authority.rfind('@') {
            Some(at) => {
                out.push_str(HIDDEN);
                out.push_str(&authority[at..]);
            }
            // A password with a slash in it would end the host too early.
            None => match further.find('@').filter(|at| !further[..*at].contains(' ')) {
                Some(at) => {
                    out.push_str(HIDDEN);
                    rest = &further[at..];
                    continue;
                }
                None => out.push_str(authority),
            },
        }
        rest = further;
    }
    out.push_str(rest);
    out
}

/// Without runs of 32 and more hexadecimal digits.
fn without_keys(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut run = String::new();
    for c in line.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        match run.len() >= 32 {
            true => out.push_str(HIDDEN),
            false => out.push_str(&run),
        }
        run.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_every_form_are_hidden_and_the_rest_is_not() {
        let text = "\
connections:
  - opc: opc.tcp://operator:hunter2@plc.example:4840/path
    password: \"hunter2\"
    user: ann
    api_key = hunter2
    note: { token: hunter2, other: 1 }
    passphrase: |
      hunter2
        hunter2

    rate: 5
    web: https://user:hun/ter2@host.example/
    key: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
-----BEGIN PRIVATE KEY-----
hunter2
-----END PRIVATE KEY-----
  password_file: /etc/stencil/secret
end: 1
";
        let shown = redacted(text);
        for secret in ["hunter2", "hun/ter2", "0123456789abcdef"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        for kept in [
            "opc.tcp://***@plc.example:4840/path",
            "user: ann",
            "rate: 5",
            "@host.example/",
            "password_file: /etc/stencil/secret",
            "end: 1",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }

    #[test]
    fn any_text_is_taken() {
        for text in [
            "",
            "\0",
            "://",
            "://@",
            "@://@",
            "password",
            "password:",
            "ä://ö@ü/ß",
        ] {
            let _ = redacted(text);
        }
    }
}
