//! Messages inside the encrypted records between a microcontroller and its
//! gateway. Each is a list whose first entry is the kind:
//!
//! ```text
//! up   = [0, batch: bytes] | [1, status] | [2]
//!      | [3, running] | [4, name, offset] | [5, verdict]
//! down = [0, boot, through] | [1, command] | [2, command id, state] | [3, now in µs]
//!      | [4, generation, key: bytes]
//!      | [5, header: bytes] | [6, name, offset, chunk: bytes]
//! ```
//!
//! What is said of firmware images is in [`crate::transfer`].

use crate::batch::MAX_LINK_BYTES;
use crate::cbor::{self, Reader, writer, written};
use crate::command::{Command, State, Status, read_id, read_state};
use crate::id::{Boot, CommandId, Seq};
use crate::transfer::{self, Chunk, HEADER_BYTES, MAX_CHUNK_BYTES, Running, Verdict, Want};

/// The most bytes of an encoded message; it fits into a frame with the
/// record's counter and tag.
pub const MAX_MESSAGE_BYTES: usize = MAX_LINK_BYTES + 40;

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
    /// What the device runs; first of all in each session.
    Running(Running<'a>),
    /// The next bytes of the package that was offered.
    Want(Want),
    /// What became of an offer.
    Verdict(Verdict),
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
    /// From now on the device shall show this key. The one before holds until it has done so: a
    /// device keeps it until a handshake with this one was answered.
    Key {
        /// Which of the device's keys it is.
        generation: u64,
        /// The key.
        key: Secret,
    },
    /// A firmware image of this header can be had.
    Offer(&'a [u8; HEADER_BYTES]),
    /// Bytes of the package; only after a [`Up::Want`], one at a time.
    Chunk(Chunk<'a>),
}

/// Length of a device's key in bytes.
pub const KEY_BYTES: usize = 32;

/// A device's key inside of a record; never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; KEY_BYTES]);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
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
            Up::Running(running) => {
                w.array(2)?.u8(3)?;
                running.write(&mut w)?;
            }
            Up::Want(Want { name, offset }) => {
                w.array(3)?.u8(4)?.bytes(name)?.u32(*offset)?;
            }
            Up::Verdict(verdict) => {
                w.array(2)?.u8(5)?;
                verdict.write(&mut w)?;
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
            3 => Up::Running(field(&mut left, || Running::read(&mut r))?),
            4 => Up::Want(Want {
                name: field(&mut left, || transfer::read_name(&mut r))?,
                offset: field(&mut left, || r.u32("an offset"))?,
            }),
            5 => Up::Verdict(field(&mut left, || Verdict::read(&mut r))?),
            _ => {
                return Err(Error::Invalid {
                    field: "kind",
                    why: "is unknown, known are 0 to 5",
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
            Down::Key { generation, key } => {
                w.array(3)?.u8(4)?.u64(*generation)?.bytes(&key.0)?;
            }
            Down::Offer(header) => {
                w.array(2)?.u8(5)?.bytes(&header[..])?;
            }
            Down::Chunk(chunk) => {
                chunk.check()?;
                w.array(4)?.u8(6)?.bytes(&chunk.name)?.u32(chunk.offset)?;
                w.bytes(chunk.bytes)?;
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
            4 => Down::Key {
                generation: field(&mut left, || r.u64("a generation"))?,
                key: field(&mut left, || read_key(&mut r))?,
            },
            5 => Down::Offer(field(&mut left, || transfer::read_header(&mut r))?),
            6 => {
                let chunk = Chunk {
                    name: field(&mut left, || transfer::read_name(&mut r))?,
                    offset: field(&mut left, || r.u32("an offset"))?,
                    bytes: field(&mut left, || r.bytes("chunk", MAX_CHUNK_BYTES))?,
                };
                chunk.check()?;
                Down::Chunk(chunk)
            }
            _ => {
                return Err(Error::Invalid {
                    field: "kind",
                    why: "is unknown, known are 0 to 6",
                });
            }
        };
        close(r, left)?;
        Ok(down)
    }
}

fn read_key(r: &mut Reader<'_>) -> Result<Secret, Error> {
    let at = r.at();
    let bytes = r.bytes("key", KEY_BYTES)?;
    let key = <[u8; KEY_BYTES]>::try_from(bytes);
    key.map(Secret).map_err(|_| Error::Unexpected {
        at,
        expected: "a key of 32 bytes",
    })
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
