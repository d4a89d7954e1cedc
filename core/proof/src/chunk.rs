//! What one device said in one interval.

use minicbor::Decoder;
use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_protocol::sample::Sample;

use crate::tree::Tree;
use crate::{Hash, Malformed, Said, Salts, Secret, array, hash, tagged, tree};

const TAG: &str = "stencil-chunk-1";

/// The most readings of a chunk: a bound for whoever recomputes one.
pub const MAX_READINGS: u64 = 65_536;
/// The most runs of a chunk.
pub const MAX_RUNS: usize = 1_024;

/// Readings with numbers of one boot that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The boot.
    pub boot: Boot,
    /// The first number.
    pub first: Seq,
    /// How many, at least 1.
    pub count: u64,
}

/// Readings of a device, in the order in which its gateway took them in. What a device handed in twice
/// may be in it twice, and in two chunks: it is the same reading, in leaves that do not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The device.
    pub device: DeviceId,
    /// Their numbers, in the order of the leaves.
    pub runs: Vec<Run>,
    /// How many readings there are: leaves.
    pub readings: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Chunk {
    /// What is hashed.
    #[must_use]
    pub fn entry(&self) -> Vec<u8> {
        array(|e| {
            e.array(5)?
                .str(TAG)?
                .str(self.device.as_str())?
                .array(self.runs.len() as u64)?;
            for run in &self.runs {
                e.array(3)?
                    .u32(run.boot.0)?
                    .u64(run.first.0)?
                    .u64(run.count)?;
            }
            e.u64(self.readings)?.bytes(&self.root)?.ok()
        })
    }

    /// Its leaf in the tree of a seal.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        tree::leaf(&self.entry())
    }

    /// Reads the entry of one.
    ///
    /// # Errors
    /// [`Malformed`] also for one that is written otherwise than [`Chunk::entry`] does.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let chunk = Self::read(bytes).map_err(Malformed::of("chunk"))?;
        if chunk.entry() != bytes {
            return Err(Malformed::new("chunk", "it is not in its shortest form"));
        }
        chunk.check()?;
        Ok(chunk)
    }

    fn read(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        let mut d: Decoder<'_> = tagged(bytes, TAG, 5)?;
        let wrong = |why: &'static str| minicbor::decode::Error::message(why);
        let device = DeviceId::parse(d.str()?).map_err(|_| wrong("its device is no id"))?;
        let length = d.array()?.ok_or_else(|| wrong("runs without a length"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_RUNS {
            return Err(wrong("too many runs"));
        }
        let mut runs = Vec::with_capacity(length);
        for _ in 0..length {
            if d.array()? != Some(3) {
                return Err(wrong("a run is a list of three"));
            }
            runs.push(Run {
                boot: Boot(d.u32()?),
                first: Seq(d.u64()?),
                count: d.u64()?,
            });
        }
        Ok(Self {
            device,
            runs,
            readings: d.u64()?,
            root: hash(&mut d)?,
        })
    }

    /// Checks that its numbers fit together.
    ///
    /// # Errors
    /// [`Malformed`] with what does not.
    pub fn check(&self) -> Result<(), Malformed> {
        let mut sum = 0_u64;
        for run in &self.runs {
            let fits = run.count >= 1
                && run.first.0 >= 1
                && run
                    .first
                    .0
                    .checked_add(run.count)
                    .is_some_and(|end| end <= Seq::MAX.0 + 1);
            if !fits {
                return Err(Malformed::new("chunk", "a run of it has no such numbers"));
            }
            sum = sum.saturating_add(run.count);
        }
        if sum != self.readings || sum == 0 || sum > MAX_READINGS || self.runs.len() > MAX_RUNS {
            return Err(Malformed::new(
                "chunk",
                format!("its runs have {sum} readings, it says {}", self.readings),
            ));
        }
        Ok(())
    }

    /// Which reading a leaf is of.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<(Boot, Seq)> {
        let mut before = 0;
        for run in &self.runs {
            if index - before < run.count {
                return Some((run.boot, Seq(run.first.0 + (index - before))));
            }
            before += run.count;
        }
        None
    }

    /// The first leaf of a reading.
    #[must_use]
    pub fn index(&self, boot: Boot, seq: Seq) -> Option<u64> {
        let mut before = 0;
        for run in &self.runs {
            let into = seq.0.checked_sub(run.first.0);
            if run.boot == boot
                && let Some(into) = into.filter(|into| *into < run.count)
            {
                return Some(before + into);
            }
            before += run.count;
        }
        None
    }

    /// The numbers of its readings, in the order of the leaves.
    pub fn numbers(&self) -> impl Iterator<Item = (Boot, Seq)> + '_ {
        self.runs.iter().flat_map(|run| {
            (run.first.0..run.first.0 + run.count).map(|number| (run.boot, Seq(number)))
        })
    }
}

/// A chunk that grows.
#[derive(Debug, Clone)]
pub struct Open {
    device: DeviceId,
    salts: Salts,
    runs: Vec<Run>,
    tree: Tree,
}

impl Open {
    /// Without a reading yet, for a seal with this secret.
    #[must_use]
    pub fn new(device: DeviceId, secret: &Secret) -> Self {
        Self {
            salts: secret.salts(&device),
            device,
            runs: Vec::new(),
            tree: Tree::default(),
        }
    }

    /// Takes a reading in.
    pub fn take(&mut self, boot: Boot, seq: Seq, sample: &Sample<'_>) {
        match self.runs.last_mut() {
            Some(run) if run.boot == boot && run.first.0 + run.count == seq.0 => run.count += 1,
            _ => self.runs.push(Run {
                boot,
                first: seq,
                count: 1,
            }),
        }
        let salt = self.salts.at(self.tree.size());
        let said = Said::of(&self.device, boot, seq, sample);
        self.tree.push(said.leaf(&salt));
    }

    /// How many readings it has.
    #[must_use]
    pub fn readings(&self) -> u64 {
        self.tree.size()
    }

    /// How many runs it has.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The chunk.
    #[must_use]
    pub fn close(self) -> Chunk {
        Chunk {
            device: self.device,
            readings: self.tree.size(),
            root: self.tree.root(),
            runs: self.runs,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use stencil_protocol::sample::Value;

    use super::*;

    pub(crate) fn chunk(device: &str, numbers: &[(u32, u64)]) -> Chunk {
        let device = DeviceId::parse(device).unwrap();
        let mut open = Open::new(device, &Secret::new([3; 32]));
        let sample = Sample {
            name: "t",
            value: Value::Bool(true),
            unit: None,
            time_us: 1,
        };
        for (boot, seq) in numbers {
            open.take(Boot(*boot), Seq(*seq), &sample);
        }
        open.close()
    }

    #[test]
    fn it_says_which_leaf_is_which() {
        let numbers = [(7, 5), (7, 6), (9, 1), (7, 7), (7, 6)];
        let chunk = chunk("a", &numbers);
        assert_eq!(chunk.runs.len(), 4);
        assert_eq!(Chunk::decode(&chunk.entry()).unwrap(), chunk);
        let all: Vec<_> = chunk.numbers().map(|(boot, seq)| (boot.0, seq.0)).collect();
        assert_eq!(all, numbers);
        for (index, (boot, seq)) in (0..).zip(numbers) {
            assert_eq!(chunk.at(index), Some((Boot(boot), Seq(seq))));
        }
        assert_eq!(chunk.at(5), None);
        assert_eq!(chunk.index(Boot(7), Seq(6)), Some(1));
        assert_eq!(chunk.index(Boot(9), Seq(1)), Some(2));
        assert_eq!(chunk.index(Boot(9), Seq(2)), None);
    }

    #[test]
    fn what_does_not_fit_together_is_none() {
        let good = chunk("a", &[(7, 5), (7, 6)]);
        let mut more = good.clone();
        more.readings = 3;
        assert!(Chunk::decode(&more.entry()).is_err());
        let mut none = good.clone();
        none.runs[0].count = 0;
        none.readings = 0;
        assert!(Chunk::decode(&none.entry()).is_err());
        let mut huge = good.clone();
        huge.runs[0].count = u64::MAX;
        huge.readings = u64::MAX;
        assert!(Chunk::decode(&huge.entry()).is_err());
        let bytes = good.entry();
        for cut in 0..bytes.len() {
            assert!(Chunk::decode(&bytes[..cut]).is_err());
        }
        assert!(Chunk::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
