//! What a device said, as the entry of a leaf.

use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_protocol::sample::{OwnedSample, Sample, Value};

use crate::{Hash, Salt, array, tree};

const TAG: &str = "stencil-reading-2";
/// Of readings without a salt.
const PLAIN: &str = "stencil-reading-1";

/// One measurement of a device, with the number that the device gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Who measured.
    pub device: DeviceId,
    /// In which boot.
    pub boot: Boot,
    /// Its number in the boot.
    pub seq: Seq,
    /// What was measured, when, in which unit.
    pub sample: OwnedSample,
}

impl Reading {
    /// What is hashed of it.
    #[must_use]
    pub fn said(&self) -> Said {
        Said::of(&self.device, self.boot, self.seq, &self.sample.as_ref())
    }

    /// Its leaf, with this salt.
    #[must_use]
    pub fn leaf(&self, salt: &Salt) -> Hash {
        self.said().leaf(salt)
    }
}

/// What a device said in one reading, encoded: all that a leaf is made of but its salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said(Vec<u8>);

impl Said {
    /// Of a sample that a batch holds.
    #[must_use]
    pub fn of(device: &DeviceId, boot: Boot, seq: Seq, sample: &Sample<'_>) -> Self {
        Self(array(|e| {
            e.str(device.as_str())?
                .u32(boot.0)?
                .u64(seq.0)?
                .str(sample.name)?
                .i64(sample.time_us)?;
            match sample.value {
                Value::Bool(bit) => e.bool(bit)?,
                Value::Integer(integer) => e.i64(integer)?,
                Value::Number(number) => e.f64(number)?,
                Value::Text(text) => e.str(text)?,
            };
            match sample.unit {
                Some(unit) => e.str(unit)?,
                None => e.null()?,
            };
            Ok(())
        }))
    }

    /// What is hashed. The salt stands within it, behind what says what it is: so no entry of another
    /// tree is one of these, whatever a gateway takes as its salt.
    #[must_use]
    pub fn entry(&self, salt: &Salt) -> Vec<u8> {
        let mut entry = array(|e| e.array(9)?.str(TAG)?.bytes(&salt.0)?.ok());
        entry.extend_from_slice(&self.0);
        entry
    }

    /// The leaf, with this salt.
    #[must_use]
    pub fn leaf(&self, salt: &Salt) -> Hash {
        tree::leaf(&self.entry(salt))
    }

    /// The leaf without a salt, in chunks of gateways that did not know of salts yet.
    #[must_use]
    pub fn plain_leaf(&self) -> Hash {
        let mut entry = array(|e| e.array(8)?.str(PLAIN)?.ok());
        entry.extend_from_slice(&self.0);
        tree::leaf(&entry)
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::sample::OwnedValue;

    use super::*;

    const SALT: Salt = Salt([5; 32]);

    fn reading(value: OwnedValue) -> Reading {
        Reading {
            device: DeviceId::parse("freezer-07").unwrap(),
            boot: Boot(7),
            seq: Seq(1),
            sample: OwnedSample {
                name: "temperature".to_owned(),
                value,
                unit: Some("degC".to_owned()),
                time_us: 1_700_000_000_000_000,
            },
        }
    }

    /// Others hash this, too: it does not change.
    #[test]
    fn the_form_is_fixed() {
        let reading = reading(OwnedValue::Number(-17.5));
        let said = [
            "6a667265657a65722d3037", // "freezer-07"
            "0701",
            "6b74656d7065726174757265", // "temperature"
            "1b00060a24181e4000",
            "fbc031800000000000",
            "6464656743", // "degC"
        ];
        let said = said.concat();
        // [9, "stencil-reading-2", salt
        let begins = "89717374656e63696c2d72656164696e672d325820";
        let entry = format!("{begins}{}{said}", "05".repeat(32));
        assert_eq!(hex::encode(reading.said().entry(&SALT)), entry);
        // [8, "stencil-reading-1"
        let plain = format!("88717374656e63696c2d72656164696e672d31{said}");
        let plain = tree::leaf(&hex::decode(plain).unwrap());
        assert_eq!(reading.said().plain_leaf(), plain);
    }

    #[test]
    fn values_of_other_types_or_bits_are_other_leaves() {
        let values = [
            OwnedValue::Number(1.0),
            OwnedValue::Integer(1),
            OwnedValue::Bool(true),
            OwnedValue::Text("1".to_owned()),
            OwnedValue::Number(0.0),
            OwnedValue::Number(-0.0),
        ];
        let mut leaves: Vec<Hash> = values
            .into_iter()
            .map(|it| reading(it).leaf(&SALT))
            .collect();
        leaves.sort_unstable();
        leaves.dedup();
        assert_eq!(leaves.len(), 6);
    }
}
