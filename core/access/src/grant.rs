//! The credential: who may tell a device what (Verifiable Credentials Data Model 2.0).

use serde_json::{Map, Value, json};
use stencil_identity::credential::{self, Credential, Draft};
use stencil_identity::did::{Account, Did, Method};
use stencil_identity::status;
use stencil_protocol::id::DeviceId;

/// The kind of these credentials, beside `VerifiableCredential`.
pub const KIND: &str = "DeviceAccessCredential";
/// The most commands of one.
pub const MAX_COMMANDS: usize = 8;
/// The longest name of a command, in bytes: a device takes none that is longer.
pub const MAX_COMMAND: usize = stencil_protocol::command::MAX_NAME;
/// The longest credential that a gateway reads. One with two proofs has some 5,500 bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// What is said: this account may tell this device these things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose wallet has to sign.
    pub holder: Account,
    /// The device, within the issuer's tenant.
    pub device: DeviceId,
    /// The commands, from 1 to [`MAX_COMMANDS`].
    pub commands: Vec<String>,
}

/// Why a credential says nothing of the kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is of another kind.
    #[error("it is no {KIND}")]
    Kind,
    /// It is about nobody who could sign.
    #[error("it is about “{0}”; an account is right, such as did:pkh:eip155:1:0x…")]
    Holder(String),
    /// It does not say which device.
    #[error("its credentialSubject.access.device {0}")]
    Device(String),
    /// It does not say what it may be told.
    #[error("its credentialSubject.access.commands {0}")]
    Commands(String),
}

/// A text that is no name of a command that a right may give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {right}", what = self.what(), right = Self::RIGHT)]
pub struct NoCommand {
    /// Of it, at most [`MAX_COMMAND`] characters.
    begin: String,
    /// How many it has.
    characters: usize,
}

impl NoCommand {
    /// What would be right.
    pub const RIGHT: &'static str = "1 to 32 letters, digits, '.', '_' or '-' are right";

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> String {
        let Self { begin, characters } = self;
        match *characters > MAX_COMMAND {
            true => format!(
                "“{begin}…”, of {characters} characters, is too long for the name of a command"
            ),
            false => format!("“{begin}” is no name of a command"),
        }
    }
}

/// Looks that a text can be the name of a command that a right gives, wherever one is written: in a right, a
/// policy, a workflow or a challenge. It is shown to whoever signs for it, in a line of its own.
///
/// # Errors
/// [`NoCommand`]: what is wrong, and what would be right.
pub fn check_command(text: &str) -> Result<(), NoCommand> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=MAX_COMMAND).contains(&text.len()) && text.bytes().all(is_good) {
        return Ok(());
    }
    Err(NoCommand {
        begin: text.chars().take(MAX_COMMAND).collect(),
        characters: text.chars().count(),
    })
}

impl Grant {
    /// The DID of the holder.
    #[must_use]
    pub fn subject(&self) -> Did {
        Did::from_account(self.holder)
    }

    /// The credential without proofs, to be issued by [`credential::issue`] with a key of Ed25519 and
    /// one of ML-DSA-44.
    ///
    /// # Errors
    /// As [`Draft::build`].
    pub fn draft(
        &self,
        id: &str,
        issuer: &str,
        (from_us, until_us): (i64, i64),
        statuses: Vec<status::Entry>,
    ) -> Result<Map<String, Value>, credential::Error> {
        let mut subject = Map::new();
        subject.insert("id".to_owned(), json!(self.subject().as_str()));
        subject.insert(
            "access".to_owned(),
            json!({ "device": self.device.as_str(), "commands": self.commands }),
        );
        Draft {
            id: Some(id.to_owned()),
            kinds: vec![KIND.to_owned()],
            valid_until_us: Some(until_us),
            statuses,
            ..Draft::new(issuer, from_us, subject)
        }
        .build()
    }

    /// What a credential says. Nothing of it is proven.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(credential: &Credential) -> Result<Self, Error> {
        if credential.kinds().all(|kind| kind != KIND) {
            return Err(Error::Kind);
        }
        let subjects = credential.subjects();
        let subject = match subjects.as_slice() {
            [Some(one)] => *one,
            [None] => return Err(Error::Holder("nobody".to_owned())),
            several => return Err(Error::Holder(format!("{} subjects", several.len()))),
        };
        let holder = match Did::parse(subject).as_ref().map(Did::method) {
            Ok(Method::Pkh(account)) => *account,
            _ => return Err(Error::Holder(subject.chars().take(80).collect())),
        };
        let subject = match credential.as_map().get("credentialSubject") {
            Some(Value::Array(items)) => items.first(),
            other => other,
        };
        let access = subject.and_then(|subject| subject.get("access"));
        let member = |name: &str| access.and_then(|access| access.get(name));
        let device = member("device")
            .and_then(Value::as_str)
            .ok_or_else(|| Error::Device("is no text".to_owned()))?;
        let device = DeviceId::parse(device).map_err(|error| Error::Device(error.to_string()))?;
        let commands = member("commands")
            .and_then(Value::as_array)
            .ok_or_else(|| Error::Commands("is no list".to_owned()))?;
        if !(1..=MAX_COMMANDS).contains(&commands.len()) {
            return Err(Error::Commands(format!(
                "has {} entries, where 1 to {MAX_COMMANDS} are right",
                commands.len()
            )));
        }
        let commands = commands
            .iter()
            .map(|command| {
                let wrong = |why: String| Error::Commands(format!("has what is none: {why}"));
                let name = command.as_str();
                let name = name.ok_or_else(|| wrong("it is no text".to_owned()))?;
                match check_command(name) {
                    Ok(()) => Ok(name.to_owned()),
                    Err(why) => Err(wrong(why.to_string())),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            holder,
            device,
            commands,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_device_takes_and_a_wallet_shows_in_a_line() {
        let longest = "a".repeat(MAX_COMMAND);
        for good in ["open", "unlock.left-2_b", longest.as_str()] {
            assert_eq!(check_command(good), Ok(()), "{good}");
        }
        let longer = "a".repeat(MAX_COMMAND + 1);
        for bad in ["", "a b", "öffnen", "a\nGateway: x", longer.as_str()] {
            let told = check_command(bad).unwrap_err();
            assert!(told.to_string().starts_with(&told.what()), "{bad}");
            assert!(told.to_string().ends_with(NoCommand::RIGHT), "{bad}");
        }
        assert!(NoCommand::RIGHT.contains(&format!("1 to {MAX_COMMAND} ")));
        // What is cut is not shown as if it had been sent so.
        let told = check_command(&longer).unwrap_err().what();
        let right =
            format!("“{longest}…”, of 33 characters, is too long for the name of a command");
        assert_eq!(told, right);
        // More bytes than a name may have, and all of it is shown.
        let marked = "ö".repeat(17);
        let told = check_command(&marked).unwrap_err().what();
        assert_eq!(told, format!("“{marked}” is no name of a command"));
    }
}
