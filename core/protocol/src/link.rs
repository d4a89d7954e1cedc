//! Messages inside the encrypted records between a microcontroller and its
//! gateway. Each is a list whose first entry is the kind:
//!
//! ```text
//! up   = [0, batch: bytes] | [1, status] | [2]
//! down = [0, boot, through] | [1, command] | [2, command id, state] | [3, now in µs]
//! ```

use crate::batch::MAX_LINK_BYTES;
use crate::cbor::{self, Reader, writer, written};
use crate::command::{Command, State, Status, read_id, read_state};
use crate::id::{Boot, CommandId, Seq};

/// The most bytes of an encoded message; it fits into a frame with the
/// record's counter and tag.
pub const MAX_MESSAGE_BYTES: usize = MAX_LINK_BYTES + 8;

/// Why a message cannot be read or written.
pub type Error = cbor::Error;

/// From the device to the gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Up<'a> {
    /// A [`crate::batch`], passed on byte for byte: at most [`MAX_LINK_BYTES`].
    Batch(&'a [u8]),
    /// How far a command came; sent again until [`Down::StatusAck`].
    Status(Status<'a>),
    /// Nothing but a sign of life.
    Ping,
}

/// From the gateway to the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Down<'a> {
    /// All samples of `boot` up to `through` are on the gateway's disk.
    Ack {
        /// The boot.
        boot: Boot,
        /// The last number that is safe.
        through: Seq,
    },
    /// Do something.
    Command(Command<'a>),
    /// This status of this command is on the gateway's disk.
    StatusAck {
        /// The command.
        id: CommandId,
        /// The state that was received.
        state: State,
    },
    /// The gateway's time: microseconds since the Unix epoch.
    Time {
        /// Now.
        now_us: i64,
    },
}

impl<'a> Up<'a> {
    /// Writes the message; says how many bytes it has.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = writer(out);
        match self {
            Up::Batch(bytes) => {
                if bytes.len() > MAX_LINK_BYTES {
                    return Err(Error::TooLong {
                        field: "batch",
                        max: MAX_LINK_BYTES,
                    });
                }
                w.array(2)?.u8(0)?.bytes(bytes)?;
            }
            Up::Status(status) => {
                w.array(2)?.u8(1)?;
                status.write(&mut w)?;
            }
            Up::Ping => {
                w.array(1)?.u8(2)?;
            }
        }
        Ok(written(&w))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (kind, mut left) = open(&mut r)?;
        let up = match kind {
            0 => Up::Batch(field(&mut left, || r.bytes("batch", MAX_LINK_BYTES))?),
            1 => Up::Status(field(&mut left, || Status::read(&mut r))?),
            2 => Up::Ping,
            _ => {
                return Err(Error::Invalid {
                    field: "kind",
                    why: "is unknown, known are 0 to 2",
                });
            }
        };
        close(r, left)?;
        Ok(up)
    }
}

impl<'a> Down<'a> {
    /// Writes the message; says how many bytes it has.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = writer(out);
        match self {
            Down::Ack { boot, through } => {
                w.array(3)?.u8(0)?.u32(boot.0)?.u64(through.0)?;
            }
            Down::Command(command) => {
                w.array(2)?.u8(1)?;
                command.write(&mut w)?;
            }
            Down::StatusAck { id, state } => {
                w.array(3)?.u8(2)?.bytes(&id.0)?.u8(state.code())?;
            }
            Down::Time { now_us } => {
                w.array(2)?.u8(3)?.i64(*now_us)?;
            }
        }
        Ok(written(&w))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (kind, mut left) = open(&mut r)?;
        let down = match kind {
            0 => Down::Ack {
                boot: Boot(field(&mut left, || r.u32("a boot number"))?),
                through: Seq(field(&mut left, || r.u64("the last number that is safe"))?),
            },
            1 => Down::Command(field(&mut left, || Command::read(&mut r))?),
            2 => Down::StatusAck {
                id: field(&mut left, || read_id(&mut r))?,
                state: field(&mut left, || read_state(&mut r))?,
            },
            3 => Down::Time {
                now_us: field(&mut left, || r.i64("the time"))?,
            },
            _ => {
                return Err(Error::Invalid {
                    field: "kind",
                    why: "is unknown, known are 0 to 3",
                });
            }
        };
        close(r, left)?;
        Ok(down)
    }
}

/// The message's kind, and how many fields follow it.
fn open(r: &mut Reader<'_>) -> Result<(u64, u64), Error> {
    let mut left = r.array("a message: a list")?;
    let kind = field(&mut left, || r.u64("the message's kind"))?;
    Ok((kind, left))
}

fn field<T>(left: &mut u64, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    *left = left.checked_sub(1).ok_or(Error::Missing {
        field: "message field",
    })?;
    read()
}

/// Steps over the fields of later versions.
fn close(mut r: Reader<'_>, left: u64) -> Result<(), Error> {
    for _ in 0..left {
        r.skip()?;
    }
    r.end()
}
