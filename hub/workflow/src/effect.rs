//! Effects as data, and whoever performs them.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use stencil_access::grant;
use stencil_payments::money::Amount;
use stencil_payments::port::Address;
use stencil_protocol::command;
use stencil_protocol::id::{CommandId, DeviceId, TenantId};
use stencil_protocol::sample::{MAX_TEXT, OwnedValue};
use stencil_store::RunId;

/// The longest URL of a webhook, in bytes.
pub const MAX_URL: usize = 2_048;

/// Kinds of credentials that mean something of their own to who reads one, and are not issued as others are.
pub const RESERVED_KINDS: [&str; 4] = [
    "VerifiableCredential",
    "VerifiablePresentation",
    "BitstringStatusListCredential",
    // Doors take these: they are given as rights.
    "DeviceAccessCredential",
];

/// The most recipients of one mail.
pub const MAX_RECIPIENTS: usize = 50;

/// The most characters of a mail's subject; a longer one is cut.
pub const MAX_SUBJECT: usize = 200;

/// What a step does to the world, with nothing left to compute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "use")]
pub enum Effect {
    /// Set fields of an entry of the built-in content store.
    #[serde(rename = "content.upsert")]
    ContentUpsert {
        /// The collection.
        collection: String,
        /// The entry's key.
        key: String,
        /// The fields to set.
        fields: Map<String, Value>,
    },
    /// Publish an entry's newest version.
    #[serde(rename = "content.publish")]
    ContentPublish {
        /// The collection.
        collection: String,
        /// The entry's key.
        key: String,
    },
    /// Post JSON to a URL.
    #[serde(rename = "webhook.post")]
    WebhookPost {
        /// Where to.
        url: String,
        /// What.
        body: Value,
        /// The name of the secret that signs it.
        secret: Option<String>,
    },
    /// Send a mail.
    #[serde(rename = "mail.send")]
    MailSend(Mail),
    /// Call a function of a contract; nothing is sent.
    #[serde(rename = "chain.call")]
    ChainCall(ChainCall),
    /// Send a transaction.
    #[serde(rename = "chain.send")]
    ChainSend(ChainSend),
    /// Issue a credential, by the tenant's keys.
    #[serde(rename = "credential.issue")]
    CredentialIssue(CredentialIssue),
    /// Let somebody command a device, by its gateway alone.
    #[serde(rename = "access.grant")]
    AccessGrant(AccessGrant),
    /// Get the proof of what a device said.
    #[serde(rename = "data.prove")]
    DataProve(DataProve),
    /// Tell a device to do something.
    #[serde(rename = "device.command")]
    DeviceCommand {
        /// The device.
        device: DeviceId,
        /// What to do.
        command: String,
        /// With what.
        argument: Option<OwnedValue>,
        /// How long after the command is given it may still be begun, in µs.
        expires_us: i64,
    },
}

/// A mail, without what its connection adds: who sends it, and through what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// The name of the connection, a setting of the hub.
    pub connection: String,
    /// To whom: 1 to [`MAX_RECIPIENTS`] addresses, each as `name@domain`.
    pub to: Vec<String>,
    /// The subject, on one line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML, for those who read that.
    pub html: Option<String>,
}

/// A function of a contract that is called.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChainCall {
    /// The chain's name in the hub's settings.
    pub chain: String,
    /// The contract.
    pub address: Address,
    /// The function's signature.
    pub function: String,
    /// What it is called with.
    pub arguments: Vec<Value>,
}

/// A transaction that is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChainSend {
    /// The chain's name in the hub's settings.
    pub chain: String,
    /// Who is called or paid.
    pub address: Address,
    /// The function's signature, and what it is called with; `None`: coin is sent, and nothing else.
    pub function: Option<(String, Vec<Value>)>,
    /// The chain's own coin that goes along, in wei.
    pub value: Amount,
    /// The most gas.
    pub gas: u64,
    /// Whether it is waited until it is final, else until it is in a block.
    pub until_final: bool,
}

/// A reading whose proof is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataProve {
    /// The device.
    pub device: DeviceId,
    /// The boot.
    pub boot: u32,
    /// The number in the boot.
    pub number: u64,
    /// Whether it is waited until it is anchored on a chain, else until it is sealed.
    pub until_anchored: bool,
}

/// A credential that is issued.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CredentialIssue {
    /// Of which kind it is.
    pub kind: String,
    /// What it is called, for people.
    pub name: Option<String>,
    /// The device that it is about.
    pub device: Option<DeviceId>,
    /// Whom else it is about, a DID or another URI.
    pub subject: Option<String>,
    /// What is said.
    pub claims: Map<String, Value>,
    /// For how long it holds, in µs; `None`: for ever.
    pub valid_us: Option<i64>,
}

/// A right to command a device that is given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccessGrant {
    /// Whose it is: an account's address, with or without its checksum.
    pub holder: String,
    /// The device.
    pub device: DeviceId,
    /// What it may be told.
    pub commands: Vec<String>,
    /// For how long it holds, in µs; `None`: for ever.
    pub valid_us: Option<i64>,
}

/// A value that an effect cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {right}")]
pub struct Invalid {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl Effect {
    /// Checks the limits of each text.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::ContentUpsert {
                collection, key, ..
            }
            | Self::ContentPublish { collection, key } => {
                check_key("collection", collection)?;
                check_key("key", key)
            }
            Self::WebhookPost { url, .. } if url.len() > MAX_URL => Err(Invalid {
                what: format!("the URL has {} bytes", url.len()),
                right: format!("at most {MAX_URL} are allowed"),
            }),
            Self::WebhookPost { .. } | Self::ChainCall(_) | Self::ChainSend(_) => Ok(()),
            // What can be issued is for the issuer to say.
            Self::CredentialIssue(_) => Ok(()),
            Self::AccessGrant(grant) => {
                grant.commands.iter().try_for_each(|name| check_given(name))
            }
            // Whether there is such a reading is for who has the seals to say.
            Self::DataProve(_) => Ok(()),
            Self::MailSend(mail) => check_mail(mail),
            Self::DeviceCommand { command, .. } => check_command(command),
        }
    }
}

/// A performance that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// For whom.
    pub tenant: &'a TenantId,
    /// The key that makes the effect happen once, however often it is asked
    /// for: 64 hexadecimal digits. The other side is given it, too.
    pub effect_key: &'a str,
    /// What to do.
    pub effect: &'a Effect,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the run's rule fired (event time), µs since the Unix epoch: the
    /// same at each attempt.
    pub at_us: i64,
    /// The time, µs since the Unix epoch.
    pub now_us: i64,
    /// How long it may take.
    pub timeout: Duration,
    /// The run and its step, where what has caused it is on a chain and can be taken back.
    pub cause: Option<(&'a RunId, u32)>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Performed {
    /// It is done (now, or by an earlier call with the same key); later steps
    /// see the output as `steps.<id>`.
    Done(Value),
    /// A command was given; the step ends when the command does.
    Waiting(CommandId),
    /// Nothing was tried: whoever takes it is busy. It is asked for again after
    /// this time, and that does not count as an attempt.
    Later(Duration),
}

/// Why it could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whether it may succeed later as it is.
    pub retryable: bool,
    /// Not before this has passed, as the other side asked for.
    pub retry_after: Option<Duration>,
    /// In words, for the run's history; never a secret.
    pub message: String,
}

impl Failure {
    /// A failure that may pass.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            retry_after: None,
            message: message.into(),
        }
    }

    /// A failure that will not pass by itself.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            retryable: false,
            retry_after: None,
            message: message.into(),
        }
    }
}

/// Performs effects. The implementation must do an effect once a key: a crash
/// may come between an effect and its record, and then it is asked for again.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Does it, or finds that it was done.
    async fn perform(&self, request: &Request<'_>) -> Result<Performed, Failure>;

    /// How a command stands that a step waits for: [`Performed::Waiting`] while
    /// it is under way; a failure if it failed or expired.
    async fn settle(&self, tenant: &TenantId, command: &CommandId) -> Result<Performed, Failure>;
}

/// Whether a text can be a collection or an entry's key.
pub(crate) fn check_key(name: &str, text: &str) -> Result<(), Invalid> {
    let good = text.len() <= stencil_store::MAX_KEY
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if good {
        return Ok(());
    }
    Err(Invalid {
        what: format!(
            "`{name}` is {:?}",
            text.chars().take(60).collect::<String>()
        ),
        right: format!(
            "1 to {} letters, digits, '.', '_' or '-', beginning with a letter or digit, are allowed",
            stencil_store::MAX_KEY
        ),
    })
}

fn check_mail(mail: &Mail) -> Result<(), Invalid> {
    check_recipients(mail.to.len())?;
    mail.to.iter().try_for_each(|to| check_address(to))
}

pub(crate) fn check_recipients(count: usize) -> Result<(), Invalid> {
    if (1..=MAX_RECIPIENTS).contains(&count) {
        return Ok(());
    }
    Err(Invalid {
        what: format!("`to` names {count} recipients"),
        right: format!("1 to {MAX_RECIPIENTS} are allowed"),
    })
}

/// Whether a text is an address: a dot-atom and a domain (RFC 5321, section
/// 4.1.2), in ASCII. Quoted names and address literals are left out: nothing
/// that passes can end a line or an argument of a mail server's command.
///
/// # Errors
/// [`Invalid`], with what would be right.
pub fn check_address(text: &str) -> Result<(), Invalid> {
    let atoms = |text: &str, good: fn(char) -> bool| {
        text.split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(good))
    };
    let name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let good = text.rsplit_once('@').is_some_and(|(local, domain)| {
        local.len() <= 64
            && domain.len() <= 253
            && text.len() <= 254
            && atoms(local, name)
            && atoms(domain, label)
            && domain
                .split('.')
                .all(|l| l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-'))
    });
    if good {
        return Ok(());
    }
    Err(Invalid {
        what: format!(
            "{:?} is not a mail address",
            text.chars().take(60).collect::<String>()
        ),
        right: "write it as name@example.org, in ASCII and without a display name".to_owned(),
    })
}

/// A subject on one line: what would end the line is a space, and what is too
/// long is cut. An alarm is not lost for a name with a line break in it.
pub(crate) fn subject(text: &str) -> String {
    let line = text.split(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}');
    let line: Vec<&str> = line.flat_map(str::split_whitespace).collect();
    let line = line.join(" ");
    match line.char_indices().nth(MAX_SUBJECT) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// A command that a right gives: doors and wallets show it, so not each that a device takes will do.
pub(crate) fn check_given(name: &str) -> Result<(), Invalid> {
    grant::check_command(name).map_err(|why| Invalid {
        what: format!("`commands`: {}", why.what()),
        right: grant::NoCommand::RIGHT.to_owned(),
    })
}

pub(crate) fn check_command(name: &str) -> Result<(), Invalid> {
    if !name.is_empty() && name.len() <= command::MAX_NAME && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let mut characters = name.chars();
    let begin: String = characters.by_ref().take(60).collect();
    let rest = characters.next().map_or("", |_| "…");
    let too_long = match name.len() > command::MAX_NAME {
        true => format!(", of {} bytes, which is too long", name.len()),
        false => String::new(),
    };
    Err(Invalid {
        what: format!("`command` is {begin:?}{rest}{too_long}"),
        right: format!(
            "1 to {} bytes without control characters are allowed",
            command::MAX_NAME
        ),
    })
}

pub(crate) fn device(text: &str) -> Result<DeviceId, Invalid> {
    DeviceId::parse(text).map_err(|error| Invalid {
        what: format!(
            "`device` is {:?}",
            text.chars().take(60).collect::<String>()
        ),
        right: error.to_string(),
    })
}

/// A whole number in a text.
pub(crate) fn whole<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, Invalid> {
    text.trim().parse().map_err(|_| Invalid {
        what: format!(
            "`{field}` is {:?}",
            text.chars().take(60).collect::<String>()
        ),
        right: "a whole number is allowed, such as that of the reading that was the cause"
            .to_owned(),
    })
}

/// A command's argument; null is none.
pub(crate) fn argument(value: Value) -> Result<Option<OwnedValue>, Invalid> {
    let invalid = |what: String| Invalid {
        what,
        right: format!("a number, true, false or text of at most {MAX_TEXT} bytes is allowed"),
    };
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(bit) => OwnedValue::Bool(bit),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => OwnedValue::Integer(integer),
            (None, Some(float)) => OwnedValue::Number(float),
            (None, None) => return Err(invalid(format!("`argument` is {number}"))),
        },
        Value::String(text) if text.len() <= MAX_TEXT => OwnedValue::Text(text),
        Value::String(text) => return Err(invalid(format!("`argument` has {} bytes", text.len()))),
        Value::Array(_) => return Err(invalid("`argument` is a list".to_owned())),
        Value::Object(_) => return Err(invalid("`argument` is a map".to_owned())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_s_name_that_is_too_long_is_called_so_and_none_is_shown_cut_as_if_whole() {
        let told = |name: &str| check_command(name).unwrap_err().what;
        let with = |letters: usize| "a".repeat(letters);
        assert_eq!(told("a\nb"), r#"`command` is "a\nb""#);
        for (letters, shown) in [
            (33, format!("{:?}", with(33))),
            (90, format!("{:?}…", with(60))),
        ] {
            let right = format!("`command` is {shown}, of {letters} bytes, which is too long");
            assert_eq!(told(&with(letters)), right);
        }
    }

    #[test]
    fn addresses_that_could_say_more_than_an_address_are_none() {
        for good in [
            "ops@example.org",
            "a.b+c@mail.example.org",
            "o'hara@localhost",
            "x@xn--bcher-kva.example",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "ops",
            "@example.org",
            "ops@",
            "ops@example.org\r\nRCPT TO:<x@y>",
            "ops@example.org\nBcc: x@y",
            "Ops <ops@example.org>",
            "a@example.org,b@example.org",
            "a b@example.org",
            "\"a b\"@example.org",
            ".a@example.org",
            "a..b@example.org",
            "a@-example.org",
            "a@example.org.",
            "a@[127.0.0.1]",
            "a@bücher.example",
            "a>@example.org",
            &long,
        ] {
            let error = check_address(bad).unwrap_err();
            assert!(error.to_string().contains("name@example.org"), "{error}");
        }
    }

    #[test]
    fn a_subject_is_one_line() {
        assert_eq!(subject("warm\r\nBcc: x@y"), "warm Bcc: x@y");
        assert_eq!(subject(" a \u{2028}b\0 "), "a b");
        let cut = subject(&"ü".repeat(MAX_SUBJECT + 1));
        assert_eq!(cut, format!("{}…", "ü".repeat(MAX_SUBJECT)));
        assert_eq!(
            subject(&"ü".repeat(MAX_SUBJECT)).chars().count(),
            MAX_SUBJECT
        );
    }
}
