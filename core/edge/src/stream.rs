//! What a gateway writes down for the hub to judge by: numbered, in the order of its spool.

use std::fmt;

use minicbor::{Decode, Encode};
use stencil_protocol::id::DeviceId;
use stencil_rules::Change;

use crate::wire::ChangeForm;
use crate::{Error, Row, Scalar, Verdict};

/// The most bytes of a record, so that it fits into a spool's entry.
pub const MAX_RECORD_BYTES: usize = 60 << 10;

/// The place of a record in a gateway's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// Which stream: a gateway that has lost its memory begins another one, with a number drawn
    /// at random.
    #[n(0)]
    pub epoch: u64,
    /// The number in it: one more than that of the record before.
    #[n(1)]
    pub number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of stream {:016x}", self.number, self.epoch)
    }
}

/// The number of the record from which on a rule is what it is.
pub type Since = u64;

/// A device's batch in the stream: `[epoch, number, received_us, batch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged<'a> {
    /// Its place.
    pub place: Place,
    /// When the gateway received it, by the clock of the stream: never before what is before it.
    pub received_us: i64,
    /// As the device sent it.
    pub batch: &'a [u8],
}

/// Anything else in the stream.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct Record {
    /// Its place.
    #[n(0)]
    pub place: Place,
    /// When it was written, by the clock of the stream.
    #[n(1)]
    pub at_us: i64,
    /// What it says.
    #[n(2)]
    pub what: What,
}

/// What a record says.
// One lives at a time, while it is written or read.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum What {
    /// These rules are judged from here on, and no others.
    #[n(0)]
    Rules(#[n(0)] Rules),
    /// It is so late.
    #[n(1)]
    Mark,
    /// What a rule told of a device.
    #[n(2)]
    Told(#[n(0)] Told),
    /// What became of the rules that the hub has placed. It is not a part of what is judged: its
    /// number is 0.
    #[n(3)]
    Verdicts(#[n(0)] Vec<Verdict>),
    /// A part of the state in which the gateway's judge is here, for a hub to which records are
    /// missing.
    #[n(4)]
    Here(#[n(0)] Here),
}

/// A part of a judge's state; the parts follow one another without a record in between.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Here {
    /// Which part, from 0.
    #[n(0)]
    pub part: u32,
    /// Of how many.
    #[n(1)]
    pub parts: u32,
    /// [`Judge::head`](crate::Judge::head), in the first part.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub head: Vec<u8>,
    /// What is remembered of devices.
    #[n(3)]
    pub rows: Vec<Row>,
}

impl Here {
    /// A state in as many parts as it needs.
    pub fn parts(head: Vec<u8>, rows: Vec<Row>) -> Vec<Self> {
        let (mut parts, mut bytes) = (vec![Vec::new()], head.len());
        for row in rows {
            // With names, and their lengths.
            let length = row.bytes.len() + 128;
            if bytes + length > MAX_RECORD_BYTES - 128 {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += length;
            if let Some(last) = parts.last_mut() {
                last.push(row);
            }
        }
        let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let mut head = Some(head);
        (0..)
            .zip(parts)
            .map(|(part, rows)| Self {
                part,
                parts: of,
                head: head.take().unwrap_or_default(),
                rows,
            })
            .collect()
    }
}

/// The rules that are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rules {
    /// The most states (rule × device).
    #[n(0)]
    pub max_states: u32,
    /// Samples further ahead of their reception are not judged, in µs.
    #[n(1)]
    pub max_ahead_us: i64,
    /// The rules as JSON ([`Placed`](crate::Placed)), each with the number of the record in which
    /// it began to ask what it asks: that of this record, if it begins now.
    #[n(2)]
    pub placed: Vec<(Since, String)>,
}

/// What a rule told of a device, and what was done about it.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Told {
    /// The workflow.
    #[n(0)]
    pub workflow: String,
    /// Its version.
    #[n(1)]
    pub version: u32,
    /// The device.
    #[n(2)]
    pub device: DeviceId,
    /// What happened.
    #[cbor(n(3), with = "change")]
    pub change: Change,
    /// Value and unit of the sample that made it happen, if one did.
    #[n(4)]
    pub sample: Option<(Scalar, Option<String>)>,
    /// What was done.
    #[n(5)]
    pub done: Done,
}

/// What a gateway did about a firing.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Done {
    /// Nothing was to be done: the rule cleared.
    #[n(0)]
    Nothing,
    /// It gives this command to a device.
    #[n(1)]
    Given(#[n(0)] Command),
    /// It could not, for this reason: whoever else can may.
    #[n(2)]
    Declined(#[n(0)] String),
}

/// A command as it was given. Its id follows from the firing ([`command_id`](crate::command_id)).
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Command {
    /// The step that it is.
    #[n(0)]
    pub step: String,
    /// To which device.
    #[n(1)]
    pub device: DeviceId,
    /// What to do.
    #[n(2)]
    pub name: String,
    /// With what.
    #[n(3)]
    pub argument: Option<Scalar>,
    /// Not to be begun after this, µs.
    #[n(4)]
    pub expires_us: i64,
}

impl<'a> Judged<'a> {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = minicbor::Encoder::new(Vec::with_capacity(self.batch.len() + 32));
        // Writing to a Vec cannot fail.
        let _ = e.array(4).and_then(|e| {
            e.u64(self.place.epoch)?
                .u64(self.place.number)?
                .i64(self.received_us)?
                .bytes(self.batch)
        });
        e.into_writer()
    }

    /// Reads one that fills `bytes`.
    ///
    /// # Errors
    /// [`Error`] says where the bytes stop making sense.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut d = minicbor::Decoder::new(bytes);
        if d.array()? != Some(4) {
            return Err(minicbor::decode::Error::message("a list of four is expected").into());
        }
        let place = Place {
            epoch: d.u64()?,
            number: d.u64()?,
        };
        let (received_us, batch) = (d.i64()?, d.bytes()?);
        end(&d, bytes)?;
        Ok(Self {
            place,
            received_us,
            batch,
        })
    }
}

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        bytes
    }

    /// Reads one that fills `bytes`.
    ///
    /// # Errors
    /// [`Error`] says where the bytes stop making sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut d = minicbor::Decoder::new(bytes);
        let record = d.decode()?;
        end(&d, bytes)?;
        Ok(record)
    }
}

fn end(d: &minicbor::Decoder<'_>, bytes: &[u8]) -> Result<(), Error> {
    if d.position() == bytes.len() {
        return Ok(());
    }
    let error = minicbor::decode::Error::message("there is more behind it");
    Err(error.at(d.position()).into())
}

mod change {
    use super::{Change, ChangeForm};
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        change: &Change,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.encode(ChangeForm::from(*change))?.ok()
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Change, minicbor::decode::Error> {
        Ok(d.decode::<ChangeForm>()?.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stencil_protocol::id::{Boot, Seq};
    use stencil_rules::{Cause, Finite, Firing};

    use super::*;

    fn told() -> Told {
        let device = DeviceId::parse("freezer-07").unwrap();
        Told {
            workflow: "door".to_owned(),
            version: 3,
            device: device.clone(),
            change: Change::Fired(Firing {
                since_us: -1,
                at_us: 5,
                value: Finite::new(0.1),
                cause: Cause::Numbered {
                    boot: Boot(7),
                    seq: Seq(9),
                },
            }),
            sample: Some((Scalar::Text("open".to_owned()), None)),
            done: Done::Given(Command {
                step: "lock".to_owned(),
                device,
                name: "lock".to_owned(),
                argument: Some(Scalar::Number(1.5)),
                expires_us: 30,
            }),
        }
    }

    #[test]
    fn records_survive_the_round_trip_and_are_cut_nowhere() {
        let rules = Rules {
            max_states: 7,
            max_ahead_us: -1,
            placed: vec![(4, "{}".to_owned())],
        };
        for what in [What::Rules(rules), What::Mark, What::Told(told())] {
            let record = Record {
                place: Place {
                    epoch: u64::MAX,
                    number: 12,
                },
                at_us: 1_386_018_900_000_000,
                what,
            };
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            for length in 0..bytes.len() {
                assert!(Record::decode(&bytes[..length]).is_err(), "{length}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert!(Record::decode(&longer).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_batch_survives_the_round_trip(
            epoch: u64, number: u64, received_us: i64, batch: Vec<u8>
        ) {
            let judged = Judged { place: Place { epoch, number }, received_us, batch: &batch };
            let bytes = judged.encode();
            prop_assert_eq!(Judged::decode(&bytes).unwrap(), judged);
            for length in 0..bytes.len() {
                prop_assert!(Judged::decode(&bytes[..length]).is_err());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Judged::decode(&bytes);
            let _ = Record::decode(&bytes);
        }
    }
}
