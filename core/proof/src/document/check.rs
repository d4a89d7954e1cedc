//! Walks a document from the reading up to the seal, and to the anchor's root.

use sha2::{Digest as _, Sha256};
use stencil_crypto::authority::{Description, Subject};
use stencil_crypto::signature;
use stencil_protocol::id::{Boot, Seq};

use super::form::NotSo;
use super::{Document, short};
use crate::{Hash, Reading, Seal, tree};

/// Whose word is taken: SHA-256 of certificates, or of public keys (SubjectPublicKeyInfo) of gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The fingerprints.
    pub gateways: Vec<Hash>,
}

/// What a document proves, up to the root of its anchor.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// The reading.
    pub reading: Reading,
    /// The seal that it is under.
    pub seal: Seal,
    /// The SHA-256 of the gateway's certificate.
    pub certificate: Hash,
    /// The SHA-256 of its public key.
    pub key: Hash,
    /// Whether the key is one that was to be trusted; `false`: none was named, so that whoever made
    /// the document may have made the key, too.
    pub trusted: bool,
}

/// What a document does not prove, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A part of it is none.
    #[error("the {part} in it makes no sense: {why}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why.
        why: String,
    },
    /// The place in the chunk belongs to another reading.
    #[error(
        "it is a proof of another reading: at its place in the chunk is number {held_seq} of boot \
         {held_boot}, and it says number {seq} of boot {boot}"
    )]
    OtherReading {
        /// The boot that the document says.
        boot: Boot,
        /// The number that it says.
        seq: Seq,
        /// The boot at that place.
        held_boot: Boot,
        /// The number at that place.
        held_seq: Seq,
    },
    /// The reading does not lead to the chunk's root.
    #[error(
        "{shown} is not what {device} said as number {seq} of boot {boot}, or the salt is another leaf's: \
         with this value, time, name, unit and salt the path does not lead to the chunk's root"
    )]
    Reading {
        /// The device.
        device: String,
        /// The boot.
        boot: Boot,
        /// The number.
        seq: Seq,
        /// The value as people read it.
        shown: String,
    },
    /// The chunk does not lead to the seal's root.
    #[error("the chunk (its device, its numbers or its root) is none of those of the seal")]
    Chunk,
    /// The signature is wrong.
    #[error("the gateway's signature of the seal is wrong: {0}")]
    Signature(String),
    /// The algorithm is another one.
    #[error("the seal is signed by {0:?}; this verifies ML-DSA-65")]
    Algorithm(String),
    /// The certificate is somebody else's.
    #[error("the certificate is one of {of}, and not of gateway {gateway} of {tenant}")]
    Subject {
        /// Whose it is.
        of: String,
        /// The tenant in the seal.
        tenant: String,
        /// The gateway in the seal.
        gateway: String,
    },
    /// The key is none of those that are trusted.
    #[error(
        "it is signed by another gateway's key than those that you trust: the certificate's SHA-256 is \
         {certificate}, its key's is {key}"
    )]
    Key {
        /// The certificate's fingerprint.
        certificate: String,
        /// The key's.
        key: String,
    },
    /// The seal does not lead to the anchor's root.
    #[error("the seal is none of those that were anchored")]
    Anchor,
}

/// Checks a document up to the root of its anchor. What a chain keeps of that root is not looked at.
///
/// # Errors
/// The first [`Fault`], from the reading upwards.
pub fn check(document: &Document, trusted: &Trusted) -> Result<Sealed, Fault> {
    let part = |part: &'static str| move |NotSo(why): NotSo| Fault::Part { part, why };
    let reading = document.reading.reading().map_err(part("reading"))?;
    let chunk = document
        .chunk
        .chunk(&reading.device)
        .map_err(part("chunk"))?;
    let at = chunk.at(document.chunk.index).ok_or_else(|| Fault::Part {
        part: "chunk",
        why: format!("it has no leaf {}", document.chunk.index),
    })?;
    let (held_boot, held_seq) = at;
    if at != (reading.boot, reading.seq) {
        return Err(Fault::OtherReading {
            boot: reading.boot,
            seq: reading.seq,
            held_boot,
            held_seq,
        });
    }
    let (index, path) = (document.chunk.index, &document.chunk.path);
    let leaf = reading.leaf(&document.reading.salt());
    if !tree::holds(leaf, index, chunk.readings, path, &chunk.root) {
        return Err(Fault::Reading {
            device: reading.device.to_string(),
            boot: reading.boot,
            seq: reading.seq,
            shown: short(&document.reading.value.shown()),
        });
    }
    let form = &document.seal;
    let certificate: Hash = Sha256::digest(&form.certificate).into();
    let seal = form.seal(certificate).map_err(part("seal"))?;
    if !tree::holds(
        chunk.leaf(),
        form.index,
        seal.chunks,
        &form.path,
        &seal.root,
    ) {
        return Err(Fault::Chunk);
    }
    if form.algorithm != signature::ALGORITHM {
        return Err(Fault::Algorithm(short(&form.algorithm)));
    }
    signature::verify(&form.certificate, &seal.entry(), &form.signature)
        .map_err(|error| Fault::Signature(error.to_string()))?;
    let unusable = |error: stencil_crypto::authority::Error| Fault::Part {
        part: "certificate",
        why: error.to_string(),
    };
    let subject = Subject::of(&form.certificate).map_err(unusable)?;
    let expected = Subject::Gateway {
        tenant: form.tenant.clone(),
        gateway: form.gateway.clone(),
    };
    if subject != expected {
        return Err(Fault::Subject {
            of: short(&subject.to_string()),
            tenant: form.tenant.clone(),
            gateway: form.gateway.clone(),
        });
    }
    let key = Description::of(&form.certificate).map_err(unusable)?.key;
    let names = |one: &Hash| *one == certificate || *one == key;
    let is_trusted = trusted.gateways.iter().any(names);
    if !is_trusted && !trusted.gateways.is_empty() {
        return Err(Fault::Key {
            certificate: hex::encode(certificate),
            key: hex::encode(key),
        });
    }
    if let Some(anchor) = &document.anchor
        && !tree::holds(
            seal.hash(),
            anchor.index,
            anchor.seals,
            &anchor.path,
            &anchor.root,
        )
    {
        return Err(Fault::Anchor);
    }
    Ok(Sealed {
        reading,
        seal,
        certificate,
        key,
        trusted: is_trusted,
    })
}
