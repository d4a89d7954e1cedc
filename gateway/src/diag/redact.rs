//! Texts without what is secret in them: values of which the name says that they are, private keys,
//! passwords in addresses, and what this gateway keeps secret itself ([`Secrets`]).
//!
//! By names and exact values, and not by what looks like a secret: addresses, ids of commands and
//! fingerprints are what a log is read for.

use super::secrets::Secrets;

/// What stands in the place of a secret.
pub(super) const HIDDEN: &str = "***";
/// How the name of something secret ends, without what separates words in it, and digits behind it.
const SECRET: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "psk",
    "privatekey",
    "secretkey",
    "sharedkey",
    "accesskey",
    "apikey",
    "credential",
    "credentials",
    "authorization",
];
/// What is called just that.
const SHORT: [&str; 3] = ["pass", "pin", "bearer"];
/// What is called a key is one if it is that long and looks like it; else it may be the path of one.
const KEY_CHARACTERS: usize = 32;
/// What begins the lines of a private key, besides its digits.
const KEY_HEADERS: [&str; 2] = ["Proc-Type:", "DEK-Info:"];

/// The text without what is secret in it.
#[must_use]
pub(super) fn redacted(text: &str, secrets: &Secrets) -> String {
    let mut out = String::with_capacity(text.len());
    let mut redactor = Redactor::new(secrets);
    for line in text.lines().filter_map(|line| redactor.line(line)) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// Hides what is secret, line by line.
pub(crate) struct Redactor<'a> {
    secrets: &'a Secrets,
    /// What is hidden until it ends: a private key, a text in three quotes, or a value over several
    /// lines.
    in_key: bool,
    until: Option<&'static str>,
    deeper_than: Option<usize>,
}

/// What of a value is in the lines below.
enum GoesOn {
    No,
    Deeper,
    Until(&'static str),
}

impl<'a> Redactor<'a> {
    /// One that knows these besides what names say.
    pub(crate) fn new(secrets: &'a Secrets) -> Self {
        Self {
            secrets,
            in_key: false,
            until: None,
            deeper_than: None,
        }
    }

    /// The next line of a text without what is secret; nothing, where all of it is.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        if self.in_key {
            if let Some((_, behind)) = line.split_once("-----END") {
                self.in_key = false;
                let behind = behind.split_once("KEY-----").map_or("", |(_, it)| it);
                return (!behind.trim().is_empty()).then(|| self.shown(behind));
            }
            let text = line.trim();
            let is_header = KEY_HEADERS.iter().any(|name| text.starts_with(name));
            if is_header || !text.contains(char::is_whitespace) {
                return None;
            }
            // Somebody only said that a key begins: what follows is not hidden for that.
            self.in_key = false;
        }
        if let Some(end) = self.until {
            if line.contains(end) {
                self.until = None;
            }
            return None;
        }
        let indent = line.len() - line.trim_start().len();
        match self.deeper_than {
            Some(of) if line.trim().is_empty() || indent > of => return None,
            _ => self.deeper_than = None,
        }
        if let Some(before) = key_begins(line) {
            let behind = line[before..].split_once("-----END");
            self.in_key = behind.is_none();
            let behind = behind.and_then(|(_, it)| it.split_once("KEY-----"));
            let behind = behind.map_or(String::new(), |(_, it)| self.shown(it));
            return Some(format!("{}{HIDDEN}{behind}", self.shown(&line[..before])));
        }
        Some(self.shown(line))
    }

    fn shown(&mut self, line: &str) -> String {
        // First of all, as what follows could take them apart.
        let line = self.secrets.hide(line);
        let (line, goes_on) = without_named(&without_passwords(&line));
        match goes_on {
            GoesOn::No => {}
            GoesOn::Deeper => {
                self.deeper_than = Some(line.len() - line.trim_start().len());
            }
            GoesOn::Until(end) => self.until = Some(end),
        }
        line
    }
}

/// Where a private key begins.
fn key_begins(line: &str) -> Option<usize> {
    let at = line.find("-----BEGIN")?;
    let (kind, _) = line[at + "-----BEGIN".len()..].split_once("-----")?;
    kind.ends_with("KEY").then_some(at)
}

/// Without the values whose name says that they are secret: `name=value` up to the value's end,
/// `name: value` up to the line's, as that may hold anything.
fn without_named(line: &str) -> (String, GoesOn) {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find([':', '=']) {
        let (before, after) = rest.split_at(at);
        let name = name_at_end(before);
        let mut behind = after.chars();
        let separator = behind.next();
        let value = behind.as_str();
        let is_path = separator == Some(':') && (value.starts_with(':') || before.ends_with(':'));
        out.push_str(before);
        out.extend(separator);
        rest = value;
        if is_path || name.is_empty() {
            continue;
        }
        let end = value_end(value);
        if is_secret(name) {
            let told = value.trim();
            out.push(' ');
            out.push_str(HIDDEN);
            for quotes in ["\"\"\"", "'''"] {
                if let Some(text) = told.strip_prefix(quotes) {
                    let ends = text.contains(quotes);
                    return (
                        out,
                        if ends {
                            GoesOn::No
                        } else {
                            GoesOn::Until(quotes)
                        },
                    );
                }
            }
            if told.is_empty() || separator == Some(':') {
                let goes_on = told.is_empty() || told.starts_with(['|', '>']);
                return (out, if goes_on { GoesOn::Deeper } else { GoesOn::No });
            }
            rest = &value[end..];
        } else if is_key(name, &value[..end]) {
            out.push(' ');
            out.push_str(HIDDEN);
            rest = &value[end..];
        }
    }
    out.push_str(rest);
    (out, GoesOn::No)
}

/// The name that ends here, without quotes and spaces behind it.
fn name_at_end(before: &str) -> &str {
    let before = before.trim_end().trim_end_matches(['"', '\'', '`', '\\']);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let start = before.trim_end_matches(is_name).len();
    &before[start..]
}

fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    name.trim_end_matches(|c: char| c.is_ascii_digit())
        .to_owned()
}

fn is_secret(name: &str) -> bool {
    let name = plain(name);
    SHORT.contains(&name.as_str()) || SECRET.iter().any(|secret| name.ends_with(secret))
}

fn is_key(name: &str, value: &str) -> bool {
    let name = plain(name);
    let value = value.trim().trim_matches(['"', '\'']);
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
    name.ends_with("key")
        && !name.contains("public")
        && value.len() >= KEY_CHARACTERS
        && value.bytes().all(is_digit)
}

/// Where a value ends, with the spaces before it: at its quote, or at a space.
fn value_end(value: &str) -> usize {
    let start = value.len() - value.trim_start().len();
    let text = &value[start..];
    let Some(quote) = text.chars().next().filter(|c| "\"'".contains(*c)) else {
        return start + text.find(char::is_whitespace).unwrap_or(text.len());
    };
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return start + at + 1;
        }
    }
    value.len()
}

/// Without who and what stands before the `@` of an address.
fn without_passwords(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let is_end = |c: char| c.is_whitespace() || "\"'<>,".contains(c);
        let address = &after[..after.find(is_end).unwrap_or(after.len())];
        let authority = &address[..address.find('/').unwrap_or(address.len())];
        let user_ends = authority.rfind('@').or_else(|| {
            // A password with a slash in it would end the host too early.
            let (_, port) = authority.rsplit_once(':')?;
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) || port.ends_with(']');
            address.rfind('@').filter(|_| !is_port)
        });
        if let Some(user_ends) = user_ends {
            out.push_str(HIDDEN);
            rest = &after[user_ends..];
        } else {
            out.push_str(authority);
            rest = &after[authority.len()..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        redacted(text, &Secrets::these(&["s3cr3t-of-a-file"]))
    }

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
Proc-Type: 4,ENCRYPTED
hunter2
-----END PRIVATE KEY-----
  password_file: /etc/stencil/secret
  mqtt-password = \"hunter2 hunter2\" # hers
  Password1=/hunter2 topic=cmnd
  long_token = \"\"\"
hunter2
\"\"\"
  said: it was s3cr3t-of-a-file, or so
end: 1
";
        let shown = shown(text);
        for secret in ["hunter2", "hun/ter2", "0123456789abcdef", "s3cr3t"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        for kept in [
            "opc.tcp://***@plc.example:4840/path",
            "user: ann",
            "rate: 5",
            "@host.example/",
            "password_file: /etc/stencil/secret",
            "# hers",
            "topic=cmnd",
            "said: it was ***, or so",
            "end: 1",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }

    #[test]
    fn what_a_log_is_read_for_stays() {
        for line in [
            "INFO stencil_mqtt::connect: client refused peer=192.0.2.7:51820 client_id=plug-1 \
             code=bad user name, password or certificate why=\"there is no such client, or its \
             password is another one\"",
            "INFO client refused peer=[2001:db8::7]:51820 code=quota exceeded why=\"too many wrong \
             passwords: the next is looked at in 9 s\"",
            "WARN link{peer=192.0.2.7:40112}: handshake refused refusal=device freezer-01: the PSK \
             is another one peer=192.0.2.7:40112",
            "INFO command done command=5f2c1e0d9b8a77665544332211009988aabbccddeeff00112233445566778899",
            "INFO fingerprint=AB12CD34EF56AB12CD34EF56AB12CD34EF56AB12CD34EF56AB12CD34EF56AB12",
            "INFO connecting to opc.tcp://plc.example:4840/path@here and https://hub.example/a?b=c@d",
            "psk_dir = \"psk\"",
            "key = \"gw-1.key\"",
            "keys::token::parse: keyboard: qwerty",
            "password-file: /etc/stencil/password",
            "public_key=0123456789abcdef0123456789abcdef",
            "INFO a secret was found at 192.0.2.1:8883",
        ] {
            assert_eq!(shown(line).trim_end(), line);
        }
    }

    #[test]
    fn in_one_line_of_a_log_only_the_secret_is_hidden() {
        for (line, is) in [
            (
                "WARN refused password=hunter2 peer=192.0.2.7",
                "WARN refused password= *** peer=192.0.2.7",
            ),
            ("INFO pass=hunter2 bypass=on", "INFO pass= *** bypass=on"),
            (
                r#"WARN got "{\"password\":\"hunter2\"}" from x"#,
                r#"WARN got "{\"password\": ***"#,
            ),
            (
                r"INFO a -----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY----- b=c",
                "INFO a *** b=c",
            ),
            (
                "INFO key=hunter2hunter2hunter2hunter2hunter2 ok",
                "INFO key= *** ok",
            ),
        ] {
            assert_eq!(shown(line).trim_end(), is);
        }
    }

    #[test]
    fn who_says_that_a_key_begins_hides_nothing_of_others() {
        let text = "INFO client -----BEGIN KEY-----\nINFO one\nINFO two\n";
        let shown = shown(text);
        assert!(shown.contains("INFO one\nINFO two"), "{shown}");
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
            "password=\"",
            "=:=:",
            "-----BEGIN-----END",
            "-----BEGIN KEY-----END",
            "ä://ö@ü/ß",
            "passwörd=ä\\",
        ] {
            let _ = shown(text);
        }
    }
}
