//! What a gateway signs: the root over the chunks of an interval, and which seal was before.

use stencil_protocol::id::{GatewayId, TenantId};

use crate::{Hash, Malformed, array, hash, tagged, tree};

const TAG: &str = "stencil-seal-1";

/// A gateway's word on what its devices said in an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Whose gateway.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// Which chain of seals: a gateway that has lost its memory begins another one, with a number drawn
    /// at random.
    pub epoch: u64,
    /// Which one of the chain, from 1.
    pub number: u64,
    /// The [hash](Self::hash) of the seal before; zero before the first.
    pub previous: Hash,
    /// When it was made, by the gateway's clock; 0 where the gateway did not know the time.
    pub at_us: i64,
    /// The SHA-256 of the certificate whose key has signed it.
    pub certificate: Hash,
    /// How many chunks there are: leaves.
    pub chunks: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Seal {
    /// What is hashed as a leaf of an anchor's tree, and what is signed (FIPS 204, section 5.2, with an
    /// empty context: its first item tells it from all else that the key signs).
    #[must_use]
    pub fn entry(&self) -> Vec<u8> {
        array(|e| {
            e.array(10)?
                .str(TAG)?
                .str(self.tenant.as_str())?
                .str(self.gateway.as_str())?
                .u64(self.epoch)?
                .u64(self.number)?
                .bytes(&self.previous)?
                .i64(self.at_us)?
                .bytes(&self.certificate)?
                .u64(self.chunks)?
                .bytes(&self.root)?
                .ok()
        })
    }

    /// Its leaf, by which the next one names it.
    #[must_use]
    pub fn hash(&self) -> Hash {
        tree::leaf(&self.entry())
    }

    /// Reads the entry of one.
    ///
    /// # Errors
    /// [`Malformed`] also for one that is written otherwise than [`Seal::entry`] does.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let seal = Self::read(bytes).map_err(Malformed::of("seal"))?;
        if seal.entry() != bytes {
            return Err(Malformed::new("seal", "it is not in its shortest form"));
        }
        Ok(seal)
    }

    fn read(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        let mut d = tagged(bytes, TAG, 10)?;
        let wrong = |why: &'static str| minicbor::decode::Error::message(why);
        Ok(Self {
            tenant: TenantId::parse(d.str()?).map_err(|_| wrong("its tenant is no id"))?,
            gateway: GatewayId::parse(d.str()?).map_err(|_| wrong("its gateway is no id"))?,
            epoch: d.u64()?,
            number: d.u64()?,
            previous: hash(&mut d)?,
            at_us: d.i64()?,
            certificate: hash(&mut d)?,
            chunks: d.u64()?,
            root: hash(&mut d)?,
        })
    }
}
