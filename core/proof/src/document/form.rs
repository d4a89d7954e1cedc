//! The parts of a document as they are written.

use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_protocol::sample::OwnedSample;

use super::{ValueForm, short};
use crate::{Chunk, Hash, Reading, Run, Salt, Seal};

/// A reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingForm {
    /// The device.
    pub device: String,
    /// The boot.
    pub boot: u32,
    /// The number in the boot.
    #[serde(with = "decimal")]
    pub number: u64,
    /// What was measured.
    pub name: String,
    /// When, µs since 1970 in UTC.
    #[serde(with = "decimal")]
    pub time_us: i64,
    /// The value.
    pub value: ValueForm,
    /// The unit.
    pub unit: Option<String>,
    /// The salt of its leaf.
    #[serde(with = "hash")]
    pub salt: Hash,
}

/// A run of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunForm {
    /// The boot.
    pub boot: u32,
    /// The first number.
    #[serde(with = "decimal")]
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// A chunk, and where in it the reading is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkForm {
    /// Its readings' numbers, in the order of the leaves.
    pub runs: Vec<RunForm>,
    /// Its root.
    #[serde(with = "hash")]
    pub root: Hash,
    /// Which leaf the reading is, from 0.
    pub index: u64,
    /// The way from there to the root, from below.
    #[serde(with = "hashes")]
    pub path: Vec<Hash>,
}

/// A seal, and where in it the chunk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealForm {
    /// Whose gateway.
    pub tenant: String,
    /// The gateway.
    pub gateway: String,
    /// Which chain of seals.
    #[serde(with = "decimal")]
    pub epoch: u64,
    /// Which one of the chain.
    #[serde(with = "decimal")]
    pub number: u64,
    /// The hash of the one before.
    #[serde(with = "hash")]
    pub previous: Hash,
    /// When it was made, µs.
    #[serde(with = "decimal")]
    pub at_us: i64,
    /// How many chunks it has.
    pub chunks: u64,
    /// Its root.
    #[serde(with = "hash")]
    pub root: Hash,
    /// Which leaf the chunk is.
    pub index: u64,
    /// The way from there to the root.
    #[serde(with = "hashes")]
    pub path: Vec<Hash>,
    /// The signature's algorithm: `ML-DSA-65`.
    pub algorithm: String,
    /// The signature over the seal's entry.
    #[serde(with = "base64_text")]
    pub signature: Vec<u8>,
    /// The gateway's certificate, in DER.
    #[serde(with = "base64_text")]
    pub certificate: Vec<u8>,
}

/// An anchor: a root over seals that a contract keeps, where in it the seal is, and what shows that
/// the contract keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorForm {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The contract (`StencilAnchor`), as `0x…`.
    pub contract: String,
    /// The account that anchored, as `0x…`.
    pub publisher: String,
    /// The name of the publisher's series.
    #[serde(with = "hash")]
    pub series: Hash,
    /// Which one of the series.
    pub number: u64,
    /// The link before.
    #[serde(with = "hash")]
    pub previous: Hash,
    /// The interval's first second, since 1970.
    pub start: u64,
    /// The second after its last.
    pub end: u64,
    /// How many seals it is said to be over. The root does not have it: another number may lead there, too.
    pub seals: u64,
    /// Its root.
    #[serde(with = "hash")]
    pub root: Hash,
    /// Which leaf the seal is.
    pub index: u64,
    /// The way from there to the root.
    #[serde(with = "hashes")]
    pub path: Vec<Hash>,
    /// The transaction's hash, to find it by. Receipts do not have it, so nothing here shows that it is the
    /// one at [`Self::transaction_index`].
    #[serde(with = "hash")]
    pub transaction: Hash,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    #[serde(with = "hash")]
    pub block_hash: Hash,
    /// The block's header, in RLP: its keccak-256 is the block's hash.
    #[serde(with = "hex_text")]
    pub header: Vec<u8>,
    /// The transaction's place in the block: the key of its receipt.
    pub transaction_index: u64,
    /// The nodes from the header's root of receipts to the transaction's receipt.
    #[serde(with = "hex_texts")]
    pub receipt_path: Vec<Vec<u8>>,
}

/// The texts of a reading that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotSo(pub(super) String);

impl ReadingForm {
    /// Of a reading, with the salt of its leaf.
    #[must_use]
    pub fn of(reading: &Reading, salt: &Salt) -> Self {
        let sample = &reading.sample;
        Self {
            device: reading.device.to_string(),
            boot: reading.boot.0,
            number: reading.seq.0,
            name: sample.name.clone(),
            time_us: sample.time_us,
            value: ValueForm::of(&sample.value),
            unit: sample.unit.clone(),
            salt: salt.0,
        }
    }

    pub(super) fn salt(&self) -> Salt {
        Salt(self.salt)
    }

    pub(super) fn reading(&self) -> Result<Reading, NotSo> {
        Ok(Reading {
            device: device(&self.device)?,
            boot: Boot(self.boot),
            seq: Seq(self.number),
            sample: OwnedSample {
                name: self.name.clone(),
                value: self.value.value()?,
                unit: self.unit.clone(),
                time_us: self.time_us,
            },
        })
    }
}

impl ChunkForm {
    /// Of a chunk, with the way of one of its leaves.
    #[must_use]
    pub fn of(chunk: &Chunk, index: u64, path: Vec<Hash>) -> Self {
        let runs = chunk.runs.iter().map(|run| RunForm {
            boot: run.boot.0,
            first: run.first.0,
            count: run.count,
        });
        Self {
            runs: runs.collect(),
            root: chunk.root,
            index,
            path,
        }
    }

    pub(super) fn chunk(&self, of: &DeviceId) -> Result<Chunk, NotSo> {
        let runs: Vec<Run> = self
            .runs
            .iter()
            .map(|run| Run {
                boot: Boot(run.boot),
                first: Seq(run.first),
                count: run.count,
            })
            .collect();
        let readings = runs
            .iter()
            .fold(0, |sum: u64, run| sum.saturating_add(run.count));
        let chunk = Chunk {
            device: of.clone(),
            runs,
            readings,
            root: self.root,
        };
        chunk.check().map_err(|error| NotSo(error.to_string()))?;
        Ok(chunk)
    }
}

impl SealForm {
    /// Of a seal and its signature, with the way of one of its leaves.
    #[must_use]
    pub fn of(
        seal: &Seal,
        signature: Vec<u8>,
        certificate: Vec<u8>,
        index: u64,
        path: Vec<Hash>,
    ) -> Self {
        Self {
            tenant: seal.tenant.to_string(),
            gateway: seal.gateway.to_string(),
            epoch: seal.epoch,
            number: seal.number,
            previous: seal.previous,
            at_us: seal.at_us,
            chunks: seal.chunks,
            root: seal.root,
            index,
            path,
            algorithm: stencil_crypto::signature::ALGORITHM.to_owned(),
            signature,
            certificate,
        }
    }

    pub(super) fn seal(&self, certificate: Hash) -> Result<Seal, NotSo> {
        let not = |error: stencil_protocol::id::Error| NotSo(error.to_string());
        Ok(Seal {
            tenant: self.tenant.parse().map_err(not)?,
            gateway: self.gateway.parse().map_err(not)?,
            epoch: self.epoch,
            number: self.number,
            previous: self.previous,
            at_us: self.at_us,
            certificate,
            chunks: self.chunks,
            root: self.root,
        })
    }
}

pub(super) fn device(id: &str) -> Result<DeviceId, NotSo> {
    DeviceId::parse(id).map_err(|error| NotSo(format!("{:?} is no device: {error}", short(id))))
}

pub(super) mod decimal {
    use super::{D, Deserialize, Deserializer, Serializer};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(in crate::document) fn serialize<S: Serializer, T: Display>(
        it: &T,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_str(it)
    }

    pub(in crate::document) fn deserialize<'de, De: Deserializer<'de>, T: FromStr + Display>(
        d: De,
    ) -> Result<T, De::Error> {
        let text = String::deserialize(d)?;
        // As it is written, and not `+7` or `007`.
        match text.parse::<T>() {
            Ok(number) if number.to_string() == text => Ok(number),
            _ => Err(D::wrong::<De::Error>(&text, "a whole number as text")),
        }
    }
}

mod hash {
    use super::{D, Deserialize, Deserializer, Hash, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &Hash, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(it))
    }

    pub(super) fn deserialize<'de, De: Deserializer<'de>>(d: De) -> Result<Hash, De::Error> {
        D::hash(&String::deserialize(d)?)
    }
}

mod hashes {
    use super::{D, Deserialize, Deserializer, Hash, Serialize, Serializer};
    use crate::tree::MAX_PATH;
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(it: &[Hash], s: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = it.iter().map(hex::encode).collect();
        texts.serialize(s)
    }

    pub(super) fn deserialize<'de, De: Deserializer<'de>>(d: De) -> Result<Vec<Hash>, De::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        if texts.len() > MAX_PATH {
            return Err(De::Error::custom(format!(
                "a path has {} hashes; at most {MAX_PATH} make sense",
                texts.len()
            )));
        }
        texts.iter().map(|text| D::hash(text)).collect()
    }
}

mod hex_text {
    use super::{D, Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(it))
    }

    pub(super) fn deserialize<'de, De: Deserializer<'de>>(d: De) -> Result<Vec<u8>, De::Error> {
        D::hex(&String::deserialize(d)?)
    }
}

mod hex_texts {
    use super::{D, Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &[Vec<u8>], s: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = it.iter().map(hex::encode).collect();
        texts.serialize(s)
    }

    pub(super) fn deserialize<'de, De: Deserializer<'de>>(
        d: De,
    ) -> Result<Vec<Vec<u8>>, De::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        texts.iter().map(|text| D::hex(text)).collect()
    }
}

mod base64_text {
    use base64::Engine as _;

    use super::{D, Deserialize, Deserializer, STANDARD, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(it))
    }

    pub(super) fn deserialize<'de, De: Deserializer<'de>>(d: De) -> Result<Vec<u8>, De::Error> {
        let text = String::deserialize(d)?;
        STANDARD
            .decode(&text)
            .map_err(|_| D::wrong(&text, "bytes in base64"))
    }
}

/// Reads texts.
struct D;

impl D {
    fn hash<E: serde::de::Error>(text: &str) -> Result<Hash, E> {
        let bytes = Self::hex::<E>(text)?;
        bytes
            .try_into()
            .map_err(|_| Self::wrong(text, "a hash of 64 hexadecimal digits"))
    }

    fn hex<E: serde::de::Error>(text: &str) -> Result<Vec<u8>, E> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Self::wrong(text, "hexadecimal digits in lower case"));
        }
        hex::decode(text).map_err(|_| Self::wrong(text, "hexadecimal digits"))
    }

    fn wrong<E: serde::de::Error>(text: &str, expected: &str) -> E {
        let shown: String = text.chars().take(40).collect();
        E::custom(format!("{shown:?} where {expected} is expected"))
    }
}
