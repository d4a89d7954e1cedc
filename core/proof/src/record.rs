//! What a gateway sends its hub: `[0, epoch, certificate]`, `[1, epoch]` or
//! `[2, seal, signature, [chunk, …], secret]`, behind the data that it is about. Without a secret a seal is
//! one of a gateway that did not know of salts yet.

use minicbor::Decoder;

use crate::{Chunk, Hash, Malformed, Seal, Secret, array, hash, tree};

/// The most bytes of a record, so that it fits into a spool's entry.
pub const MAX_RECORD_BYTES: usize = 60 << 10;
/// The most chunks of a seal.
pub const MAX_CHUNKS: usize = 256;
/// The bytes of an ML-DSA-65 signature (FIPS 204, table 2).
const SIGNATURE_BYTES: usize = 3_309;
/// More than a certificate of a fleet has.
const MAX_CERTIFICATE_BYTES: usize = 16 << 10;

/// A seal with what it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The seal.
    pub seal: Seal,
    /// Its signature by ML-DSA-65.
    pub signature: Vec<u8>,
    /// The chunks, in the order of the leaves.
    pub chunks: Vec<Chunk>,
    /// What the salts of the chunks' leaves are made from. It is not signed: with another one the leaves
    /// lead to other roots. `None`: they have no salts, and no proof is made of them.
    pub secret: Option<Secret>,
}

/// What a gateway says of its seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// What comes behind this is sealed, in this chain, by the key of this certificate.
    Begins {
        /// The chain.
        epoch: u64,
        /// In DER.
        certificate: Vec<u8>,
    },
    /// What comes behind this is not sealed.
    Ends {
        /// The chain.
        epoch: u64,
    },
    /// A seal over what came before.
    Sealed(Box<Sealed>),
}

impl Sealed {
    /// Whether its chunks are those that the seal is over.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let leaves: Vec<Hash> = self.chunks.iter().map(Chunk::leaf).collect();
        self.chunks.len() as u64 == self.seal.chunks && tree::root(&leaves) == self.seal.root
    }
}

impl Record {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        array(|e| match self {
            Self::Begins { epoch, certificate } => {
                e.array(3)?.u8(0)?.u64(*epoch)?.bytes(certificate)?.ok()
            }
            Self::Ends { epoch } => e.array(2)?.u8(1)?.u64(*epoch)?.ok(),
            Self::Sealed(sealed) => {
                e.array(if sealed.secret.is_some() { 5 } else { 4 })?
                    .u8(2)?
                    .bytes(&sealed.seal.entry())?
                    .bytes(&sealed.signature)?
                    .array(sealed.chunks.len() as u64)?;
                for chunk in &sealed.chunks {
                    e.bytes(&chunk.entry())?;
                }
                if let Some(secret) = &sealed.secret {
                    e.bytes(secret.bytes())?;
                }
                Ok(())
            }
        })
    }

    /// Reads one that fills `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong. That the chunks are those of the seal, and whether the signature
    /// is right, is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let cbor = Malformed::of("record of seals");
        let wrong = |why: &str| Malformed::new("record of seals", why);
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(wrong("it is too long"));
        }
        let mut d = Decoder::new(bytes);
        let length = d.array().map_err(&cbor)?;
        let record = match (length, d.u8().map_err(&cbor)?) {
            (Some(3), 0) => {
                let epoch = d.u64().map_err(&cbor)?;
                let certificate = d.bytes().map_err(&cbor)?.to_vec();
                if certificate.len() > MAX_CERTIFICATE_BYTES {
                    return Err(wrong("its certificate is too long"));
                }
                Self::Begins { epoch, certificate }
            }
            (Some(2), 1) => Self::Ends {
                epoch: d.u64().map_err(&cbor)?,
            },
            (Some(4), 2) => Self::Sealed(Box::new(sealed(&mut d, &cbor, &wrong)?)),
            (Some(5), 2) => {
                let mut sealed = sealed(&mut d, &cbor, &wrong)?;
                sealed.secret = Some(Secret::new(hash(&mut d).map_err(&cbor)?));
                Self::Sealed(Box::new(sealed))
            }
            _ => return Err(wrong("it is none of those that are known")),
        };
        if d.position() != bytes.len() {
            return Err(wrong("there is more behind it"));
        }
        Ok(record)
    }
}

fn sealed(
    d: &mut Decoder<'_>,
    cbor: &impl Fn(minicbor::decode::Error) -> Malformed,
    wrong: &impl Fn(&str) -> Malformed,
) -> Result<Sealed, Malformed> {
    let seal = Seal::decode(d.bytes().map_err(cbor)?)?;
    let signature = d.bytes().map_err(cbor)?.to_vec();
    if signature.len() != SIGNATURE_BYTES {
        return Err(wrong("its signature is none of ML-DSA-65"));
    }
    let length = d.array().map_err(cbor)?.unwrap_or(u64::MAX);
    if length == 0 || length > MAX_CHUNKS as u64 {
        return Err(wrong("it has no chunk, or too many"));
    }
    let mut chunks = Vec::new();
    for _ in 0..length {
        chunks.push(Chunk::decode(d.bytes().map_err(cbor)?)?);
    }
    Ok(Sealed {
        seal,
        signature,
        chunks,
        secret: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stencil_protocol::id::{GatewayId, TenantId};

    use super::*;
    use crate::chunk::tests::chunk;

    fn sealed() -> Sealed {
        let chunks = vec![chunk("a", &[(1, 1), (1, 2)]), chunk("b", &[(3, 9)])];
        let leaves: Vec<Hash> = chunks.iter().map(Chunk::leaf).collect();
        Sealed {
            seal: Seal {
                tenant: TenantId::parse("acme").unwrap(),
                gateway: GatewayId::parse("gw-1").unwrap(),
                epoch: u64::MAX,
                number: 1,
                previous: [0; 32],
                at_us: -1,
                certificate: [4; 32],
                chunks: 2,
                root: tree::root(&leaves),
            },
            signature: vec![5; SIGNATURE_BYTES],
            chunks,
            secret: Some(Secret::new([3; 32])),
        }
    }

    /// As a gateway sent it that did not know of salts.
    fn without_salts() -> Sealed {
        Sealed {
            secret: None,
            ..sealed()
        }
    }

    #[test]
    fn records_survive_the_round_trip_and_are_cut_nowhere() {
        for record in [
            Record::Begins {
                epoch: 7,
                certificate: vec![1; 5_000],
            },
            Record::Ends { epoch: 7 },
            Record::Sealed(Box::new(sealed())),
            Record::Sealed(Box::new(without_salts())),
        ] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            for length in 0..bytes.len() {
                assert!(Record::decode(&bytes[..length]).is_err(), "{length}");
            }
            assert!(Record::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        }
    }

    #[test]
    fn the_secret_is_sent_and_neither_signed_nor_shown() {
        let sealed = sealed();
        let secret = "03".repeat(32);
        let sent = hex::encode(Record::Sealed(Box::new(sealed.clone())).encode());
        assert!(sent.ends_with(&format!("5820{secret}")));
        let mut signed = vec![sealed.seal.entry()];
        signed.extend(sealed.chunks.iter().map(Chunk::entry));
        assert!(!hex::encode(signed.concat()).contains(&secret));
        let shown = format!("{sealed:?}");
        assert!(shown.contains("secret: Some(Secret(…))"), "{shown}");
        let before = Record::Sealed(Box::new(without_salts())).encode();
        assert_eq!((before[0], before[1]), (0x84, 2));
    }

    #[test]
    fn a_seal_is_over_its_chunks_alone() {
        let good = sealed();
        assert!(good.is_whole());
        let mut other = good.clone();
        other.chunks.swap(0, 1);
        assert!(!other.is_whole());
        let mut fewer = good.clone();
        fewer.chunks.pop();
        assert!(!fewer.is_whole());
        let mut changed = good;
        changed.chunks[1].root[0] ^= 1;
        assert!(!changed.is_whole());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
            let _ = Chunk::decode(&bytes);
            let _ = Seal::decode(&bytes);
        }

        #[test]
        fn a_byte_that_is_changed_gives_another_record_or_none(
            at in any::<prop::sample::Index>(), bits in 1_u8..,
        ) {
            let mut bytes = Record::Sealed(Box::new(sealed())).encode();
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_ne!(record, Record::Sealed(Box::new(sealed())));
            }
        }
    }
}
