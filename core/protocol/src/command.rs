//! What the hub asks of a device, and how far it came.
//!
//! ```text
//! command = { 0: id (16 bytes), 1: device, 2: name, 3: expires in µs, ? 4: argument, ? 5: first }
//! status  = { 0: id (16 bytes), 1: state, 2: at in µs, ? 3: detail }
//! ```
//!
//! `first` is for a gateway: the command was never handed to anybody before. Who has it from then
//! on without a break can vouch for what has not happened to it.

use core::fmt;

use crate::cbor::{self, Reader, Writer, need, once, writer, written};
use crate::id::{CommandId, DeviceId};
use crate::sample::Value;

/// The longest command name in bytes.
pub const MAX_NAME: usize = 32;
/// The longest detail of a status in bytes.
pub const MAX_DETAIL: usize = 128;
/// The most bytes of an encoded command.
pub const MAX_COMMAND_BYTES: usize = 512;
/// The most bytes of an encoded status.
pub const MAX_STATUS_BYTES: usize = 256;

/// Why a command or a status cannot be read or written.
pub type Error = cbor::Error;

/// What a device shall do.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'a> {
    /// Names it for ever: a device that knows it answers, but does not act again.
    pub id: CommandId,
    /// Who shall do it.
    pub device: DeviceId,
    /// What to do, `lock`: 1 to [`MAX_NAME`] bytes.
    pub name: &'a str,
    /// With what.
    pub argument: Option<Value<'a>>,
    /// Not to be begun after this: microseconds since the Unix epoch.
    pub expires_us: i64,
}

impl<'a> Command<'a> {
    /// Checks the limits.
    pub fn check(&self) -> Result<(), Error> {
        if self.name.is_empty() {
            return Err(Error::Invalid {
                field: "name",
                why: "is empty",
            });
        }
        if self.name.len() > MAX_NAME {
            return Err(Error::TooLong {
                field: "name",
                max: MAX_NAME,
            });
        }
        if self.name.chars().any(char::is_control) {
            return Err(Error::Invalid {
                field: "name",
                why: "has control characters",
            });
        }
        match self.argument.map(|value| value.check()) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(BAD_ARGUMENT),
        }
    }

    /// Writes the command; says how many bytes it has.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = writer(out);
        self.write(&mut w)?;
        Ok(written(&w))
    }

    /// As [`Command::encode`], for a gateway, with whether nobody has had it before.
    pub fn encode_for_gateway(&self, first: bool, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = writer(out);
        self.write_with(first, &mut w)?;
        Ok(written(&w))
    }

    /// Reads a command that fills `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::decode_for_gateway(bytes).map(|(command, _)| command)
    }

    /// As [`Command::decode`], with whether nobody has had it before.
    pub fn decode_for_gateway(bytes: &'a [u8]) -> Result<(Self, bool), Error> {
        let mut r = Reader::new(bytes);
        let read = Self::read_with(&mut r)?;
        r.end()?;
        Ok(read)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), Error> {
        self.write_with(false, w)
    }

    fn write_with(&self, first: bool, w: &mut Writer<'_>) -> Result<(), Error> {
        self.check()?;
        w.map(4 + u64::from(self.argument.is_some()) + u64::from(first))?;
        w.u8(0)?.bytes(&self.id.0)?;
        w.u8(1)?.str(self.device.as_str())?;
        w.u8(2)?.str(self.name)?;
        w.u8(3)?.i64(self.expires_us)?;
        if let Some(argument) = &self.argument {
            w.u8(4)?;
            argument.write(w)?;
        }
        if first {
            w.u8(5)?.bool(true)?;
        }
        Ok(())
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, Error> {
        Self::read_with(r).map(|(command, _)| command)
    }

    fn read_with(r: &mut Reader<'a>) -> Result<(Self, bool), Error> {
        let (mut id, mut device, mut name, mut expires, mut argument, mut first) =
            (None, None, None, None, None, None);
        for _ in 0..r.map("a command: a map")? {
            match r.key()? {
                Some(0) => once(&mut id, read_id(r)?, "id")?,
                Some(1) => once(&mut device, read_device(r)?, "device")?,
                Some(2) => once(&mut name, r.str("name", MAX_NAME)?, "name")?,
                Some(3) => once(&mut expires, r.i64("the time of expiry")?, "expires")?,
                Some(4) => {
                    let value = Value::read(r)?.map_err(|_| BAD_ARGUMENT)?;
                    once(&mut argument, value, "argument")?;
                }
                Some(5) => once(&mut first, r.bool("whether it is the first time")?, "first")?,
                Some(_) | None => r.skip()?,
            }
        }
        let command = Command {
            id: need(id, "id")?,
            device: need(device, "device")?,
            name: need(name, "name")?,
            argument,
            expires_us: need(expires, "expires")?,
        };
        command.check()?;
        Ok((command, first.unwrap_or(false)))
    }
}

const BAD_ARGUMENT: Error = Error::Invalid {
    field: "argument",
    why: "is not a finite number, a 64-bit integer, true, false or a text of at most 256 bytes",
};

/// How far a command came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "std", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum State {
    /// The hub holds it.
    Queued = 0,
    /// It is on its way.
    Sent = 1,
    /// The device has it and will act.
    Acknowledged = 2,
    /// The device acted.
    Done = 3,
    /// The device could not act.
    Failed = 4,
    /// It was not begun in time.
    Expired = 5,
}

impl State {
    /// All states.
    pub const ALL: [State; 6] = [
        State::Queued,
        State::Sent,
        State::Acknowledged,
        State::Done,
        State::Failed,
        State::Expired,
    ];

    /// Whether a command in this state may get to `next`. States only go on.
    /// `Expired` is the hub's guess while a gateway is cut off: what the device
    /// says about it later is true and replaces it.
    pub fn can_become(self, next: State) -> bool {
        match self {
            State::Queued => next != State::Queued,
            State::Sent => next > State::Sent,
            State::Acknowledged => next > State::Acknowledged,
            State::Expired => {
                matches!(next, State::Acknowledged | State::Done | State::Failed)
            }
            State::Done | State::Failed => false,
        }
    }

    /// Whether who waits for the command need wait no longer.
    pub fn is_settled(self) -> bool {
        matches!(self, State::Done | State::Failed | State::Expired)
    }

    /// The name in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Sent => "sent",
            State::Acknowledged => "acknowledged",
            State::Done => "done",
            State::Failed => "failed",
            State::Expired => "expired",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The code on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The state of this code on the wire.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a device says about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// Which command.
    pub id: CommandId,
    /// How far it came.
    pub state: State,
    /// When, by the device's clock: microseconds since the Unix epoch.
    pub at_us: i64,
    /// More, as why it failed: at most [`MAX_DETAIL`] bytes.
    pub detail: Option<&'a str>,
}

impl<'a> Status<'a> {
    /// Writes the status; says how many bytes it has.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = writer(out);
        self.write(&mut w)?;
        Ok(written(&w))
    }

    /// Reads a status that fills `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let status = Self::read(&mut r)?;
        r.end()?;
        Ok(status)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), Error> {
        w.map(3 + u64::from(self.detail.is_some()))?;
        w.u8(0)?.bytes(&self.id.0)?;
        w.u8(1)?.u8(self.state.code())?;
        w.u8(2)?.i64(self.at_us)?;
        if let Some(detail) = self.detail {
            if detail.len() > MAX_DETAIL {
                return Err(Error::TooLong {
                    field: "detail",
                    max: MAX_DETAIL,
                });
            }
            w.u8(3)?.str(detail)?;
        }
        Ok(())
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, Error> {
        let (mut id, mut state, mut at, mut detail) = (None, None, None, None);
        for _ in 0..r.map("a command's status: a map")? {
            match r.key()? {
                Some(0) => once(&mut id, read_id(r)?, "id")?,
                Some(1) => once(&mut state, read_state(r)?, "state")?,
                Some(2) => once(&mut at, r.i64("the time")?, "at")?,
                Some(3) => once(&mut detail, r.str("detail", MAX_DETAIL)?, "detail")?,
                Some(_) | None => r.skip()?,
            }
        }
        Ok(Status {
            id: need(id, "id")?,
            state: need(state, "state")?,
            at_us: need(at, "at")?,
            detail,
        })
    }
}

pub(crate) fn read_id(r: &mut Reader<'_>) -> Result<CommandId, Error> {
    let at = r.at();
    let bytes = r.bytes("id", 16)?;
    let id = <[u8; 16]>::try_from(bytes);
    id.map(CommandId).map_err(|_| Error::Unexpected {
        at,
        expected: "a command id of 16 bytes",
    })
}

pub(crate) fn read_state(r: &mut Reader<'_>) -> Result<State, Error> {
    let code = r.u8("a command's state")?;
    State::from_code(code).ok_or(Error::Invalid {
        field: "state",
        why: "is unknown, known are 0 to 5",
    })
}

pub(crate) fn read_device(r: &mut Reader<'_>) -> Result<DeviceId, Error> {
    let text = r.str("device", crate::id::MAX_BYTES)?;
    DeviceId::parse(text).map_err(|_| Error::Invalid {
        field: "device",
        why: "is not an id",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_only_go_on() {
        use State::*;
        let allowed = [
            (Queued, &[Sent, Acknowledged, Done, Failed, Expired][..]),
            (Sent, &[Acknowledged, Done, Failed, Expired]),
            (Acknowledged, &[Done, Failed, Expired]),
            (Done, &[]),
            (Failed, &[]),
            (Expired, &[Acknowledged, Done, Failed]),
        ];
        for (state, next) in allowed {
            for other in State::ALL {
                assert_eq!(
                    state.can_become(other),
                    next.contains(&other),
                    "{state} → {other}"
                );
            }
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(State::from_code(state.code()), Some(state));
        }
    }
}
