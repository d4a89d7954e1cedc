//! The message: read by its grammar, and written.

use std::fmt::Write as _;

use alloy_primitives::Address;
use stencil_protocol::moment;

use crate::error::{Error, Part};
use crate::grammar::{is_authority, is_pchars, is_scheme, is_statement, is_uri};

/// The longest message that is looked at, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4_096;
/// The shortest nonce, in characters.
pub const MIN_NONCE: usize = 8;

const ASKS: &str = " wants you to sign in with your Ethereum account:";

/// A point in time as a message writes it: RFC 3339, which has several forms of the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    text: String,
    us: i64,
}

impl Moment {
    /// A time in µs since the Unix epoch, written to the second in UTC.
    #[must_use]
    pub fn of(time_us: i64) -> Self {
        let text = moment::rfc3339(time_us);
        let us = time_us.div_euclid(1_000_000).saturating_mul(1_000_000);
        Self { text, us }
    }

    /// A time as it is written; `None` if it is no `date-time` of RFC 3339.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let us = moment::from_rfc3339(text)?;
        let text = text.to_owned();
        Some(Self { text, us })
    }

    /// µs since the Unix epoch.
    #[must_use]
    pub fn us(&self) -> i64 {
        self.us
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A message of EIP-4361, version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The scheme of the origin that asks, such as `https`, where the message names it.
    pub scheme: Option<String>,
    /// Who asks: an authority (RFC 3986, section 3.2), such as `hub.example.org` or `127.0.0.1:8080`.
    pub domain: String,
    /// The account.
    pub address: Address,
    /// Whether the account is written with its checksum (EIP-55). In small letters it has none, as
    /// some wallets write it; any other form is refused.
    pub is_checksummed: bool,
    /// What is agreed to, in one line of ASCII.
    pub statement: Option<String>,
    /// What is signed in to.
    pub uri: String,
    /// EIP-155 chain id, on which a contract wallet is asked.
    pub chain_id: u64,
    /// [`MIN_NONCE`] or more letters and digits, used once.
    pub nonce: String,
    /// When it was made.
    pub issued_at: Moment,
    /// When it holds no more.
    pub expiration_time: Option<Moment>,
    /// Before when it does not hold yet.
    pub not_before: Option<Moment>,
    /// The asker's own name of the request.
    pub request_id: Option<String>,
    /// What is agreed to beside the statement: URIs.
    pub resources: Vec<String>,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// Which part is wrong, in which line, and what would be right.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_MESSAGE_BYTES {
            let why = format!("{} bytes: at most {MAX_MESSAGE_BYTES} are read", text.len());
            return Err(Error {
                part: Part::Message,
                line: 1,
                why,
            });
        }
        let mut lines = Lines::of(text);
        let (scheme, domain) = first(&mut lines)?;
        let (address, is_checksummed) = account(&mut lines)?;
        lines.empty(Part::Address)?;
        // Without a statement two empty lines follow each other.
        let statement = match lines.peek() {
            Some("") => None,
            _ => {
                let statement = lines.next(Part::Statement)?;
                if !is_statement(statement) {
                    let why = "one line of letters, digits, spaces and the punctuation of URIs \
                               (RFC 3986) is right";
                    return Err(lines.wrong(Part::Statement, why));
                }
                Some(statement.to_owned())
            }
        };
        lines.empty(Part::Statement)?;
        let uri = lines.field(Part::Uri)?;
        if !is_uri(uri) {
            return Err(lines.wrong(Part::Uri, "a URI of RFC 3986 is right"));
        }
        if lines.field(Part::Version)? != "1" {
            return Err(lines.wrong(Part::Version, "1 is right"));
        }
        let chain = lines.field(Part::ChainId)?;
        let digits = !chain.is_empty() && chain.bytes().all(|byte| byte.is_ascii_digit());
        let chain_id = chain.parse().ok().filter(|_| digits);
        let Some(chain_id) = chain_id else {
            let why = "an EIP-155 chain id is right, such as 1";
            return Err(lines.wrong(Part::ChainId, why));
        };
        let nonce = lines.field(Part::Nonce)?;
        if nonce.len() < MIN_NONCE || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let why = format!("{MIN_NONCE} or more letters and digits are right");
            return Err(lines.wrong(Part::Nonce, why));
        }
        let issued_at = lines.field(Part::IssuedAt)?;
        let issued_at = lines.moment(Part::IssuedAt, issued_at)?;
        let expiration_time = lines.maybe_moment(Part::ExpirationTime)?;
        let not_before = lines.maybe_moment(Part::NotBefore)?;
        let request_id = lines.maybe(Part::RequestId).map(str::to_owned);
        if request_id.as_deref().is_some_and(|id| !is_pchars(id)) {
            let why =
                "letters, digits and the characters of a segment of a path (RFC 3986) are right";
            return Err(lines.wrong(Part::RequestId, why));
        }
        let resources = resources(&mut lines)?;
        lines.end()?;
        Ok(Self {
            scheme,
            domain: domain.to_owned(),
            address,
            is_checksummed,
            statement,
            uri: uri.to_owned(),
            chain_id,
            nonce: nonce.to_owned(),
            issued_at,
            expiration_time,
            not_before,
            request_id,
            resources,
        })
    }

    /// The text that is signed.
    ///
    /// # Errors
    /// A part that the grammar does not have so: then there is no text that says this.
    pub fn text(&self) -> Result<String, Error> {
        let text = self.written();
        // What a part smuggles in, such as a line break, reads as something else.
        match Self::parse(&text)? {
            read if read == *self => Ok(text),
            _ => Err(Error {
                part: Part::Message,
                line: 1,
                why: "a part holds what another part begins with".to_owned(),
            }),
        }
    }

    fn written(&self) -> String {
        let mut text = String::new();
        if let Some(scheme) = &self.scheme {
            text.push_str(scheme);
            text.push_str("://");
        }
        let address = match self.is_checksummed {
            true => self.address.to_checksum(None),
            false => format!("{:#x}", self.address),
        };
        text.push_str(&self.domain);
        text.push_str(ASKS);
        text.push('\n');
        text.push_str(&address);
        text.push_str("\n\n");
        if let Some(statement) = &self.statement {
            text.push_str(statement);
            text.push('\n');
        }
        let mut line = |part: Part, value: &str| {
            // Writing to a text can't fail.
            let _ = write!(text, "\n{part}: {value}");
        };
        line(Part::Uri, &self.uri);
        line(Part::Version, "1");
        line(Part::ChainId, &self.chain_id.to_string());
        line(Part::Nonce, &self.nonce);
        line(Part::IssuedAt, self.issued_at.as_str());
        if let Some(at) = &self.expiration_time {
            line(Part::ExpirationTime, at.as_str());
        }
        if let Some(at) = &self.not_before {
            line(Part::NotBefore, at.as_str());
        }
        if let Some(id) = &self.request_id {
            line(Part::RequestId, id);
        }
        if !self.resources.is_empty() {
            text.push_str("\nResources:");
            for resource in &self.resources {
                text.push_str("\n- ");
                text.push_str(resource);
            }
        }
        text
    }
}

/// `[ scheme "://" ] domain " wants you …"`
fn first<'t>(lines: &mut Lines<'t>) -> Result<(Option<String>, &'t str), Error> {
    let first = lines.next(Part::Domain)?;
    let Some(origin) = first.strip_suffix(ASKS) else {
        let why = format!("the first line is `<domain>{ASKS}`");
        return Err(lines.wrong(Part::Domain, why));
    };
    let (scheme, domain) = match origin.split_once("://") {
        Some((scheme, domain)) => (Some(scheme), domain),
        None => (None, origin),
    };
    if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
        return Err(lines.wrong(Part::Scheme, "a scheme is right, such as https"));
    }
    if !is_authority(domain) {
        let why = "a host is right, with a port where there is one, such as hub.example.org";
        return Err(lines.wrong(Part::Domain, why));
    }
    Ok((scheme.map(str::to_owned), domain))
}

fn account(lines: &mut Lines<'_>) -> Result<(Address, bool), Error> {
    let text = lines.next(Part::Address)?;
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let is_address = digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let address = text.parse::<Address>().ok().filter(|_| is_address);
    let Some(address) = address else {
        let why = "0x and 40 hexadecimal digits are right";
        return Err(lines.wrong(Part::Address, why));
    };
    let right = address.to_checksum(None);
    if text == right {
        return Ok((address, true));
    }
    if !digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok((address, false));
    }
    let why = format!("its checksum (EIP-55) is wrong; if no digit is, {right} is right");
    Err(lines.wrong(Part::Address, why))
}

fn resources(lines: &mut Lines<'_>) -> Result<Vec<String>, Error> {
    let mut resources = Vec::new();
    if lines.peek() != Some("Resources:") {
        return Ok(resources);
    }
    lines.next(Part::Resources)?;
    while let Some(line) = lines.peek() {
        let Some(resource) = line.strip_prefix("- ") else {
            break;
        };
        lines.next(Part::Resources)?;
        if !is_uri(resource) {
            return Err(lines.wrong(Part::Resources, "`- ` and a URI of RFC 3986 are right"));
        }
        resources.push(resource.to_owned());
    }
    Ok(resources)
}

/// The lines of a message, one after the other.
struct Lines<'t> {
    rest: Option<&'t str>,
    /// How many were read.
    read: usize,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let rest = Some(text);
        Self { rest, read: 0 }
    }

    fn peek(&self) -> Option<&'t str> {
        let rest = self.rest?;
        Some(rest.split_once('\n').map_or(rest, |(line, _)| line))
    }

    fn next(&mut self, part: Part) -> Result<&'t str, Error> {
        self.read += 1;
        let Some(rest) = self.rest else {
            return Err(self.wrong(part, "it is missing: the message ends before"));
        };
        match rest.split_once('\n') {
            Some((line, rest)) => {
                self.rest = Some(rest);
                Ok(line)
            }
            None => {
                self.rest = None;
                Ok(rest)
            }
        }
    }

    /// An empty line, after this part.
    fn empty(&mut self, after: Part) -> Result<(), Error> {
        match self.next(after)? {
            "" => Ok(()),
            _ => Err(self.wrong(after, "an empty line has to follow it")),
        }
    }

    /// `Name: value`
    fn field(&mut self, part: Part) -> Result<&'t str, Error> {
        let line = self.next(part)?;
        let value = line.strip_prefix(part.name());
        value
            .and_then(|rest| rest.strip_prefix(": "))
            .ok_or_else(|| self.wrong(part, format!("`{part}: …` has to stand in this line")))
    }

    /// The same, if it is there.
    fn maybe(&mut self, part: Part) -> Option<&'t str> {
        let rest = self.peek()?.strip_prefix(part.name())?;
        let value = rest.strip_prefix(": ")?;
        self.next(part).ok()?;
        Some(value)
    }

    fn moment(&self, part: Part, text: &str) -> Result<Moment, Error> {
        Moment::parse(text).ok_or_else(|| {
            let why = "a time of RFC 3339 is right, such as 2026-05-01T12:00:00Z";
            self.wrong(part, why)
        })
    }

    fn maybe_moment(&mut self, part: Part) -> Result<Option<Moment>, Error> {
        match self.maybe(part) {
            Some(text) => self.moment(part, text).map(Some),
            None => Ok(None),
        }
    }

    fn end(&self) -> Result<(), Error> {
        match self.rest {
            None => Ok(()),
            Some(_) => Err(Error {
                part: Part::Message,
                line: self.read + 1,
                why:
                    "nothing, or a later one of `Expiration Time`, `Not Before`, `Request ID` and \
                      `Resources`, may follow here"
                        .to_owned(),
            }),
        }
    }

    /// What was read last is wrong.
    fn wrong(&self, part: Part, why: impl Into<String>) -> Error {
        Error {
            part,
            line: self.read,
            why: why.into(),
        }
    }
}
