//! A gateway's certificate, renewed over its own session.
//!
//! ```text
//! renew       = { 0: certificate: bytes, 1: request: bytes }   gateway → hub
//! certificate = [0, chain in PEM] | [1, why not]               hub → gateway
//! ```
//!
//! `certificate` is the SHA-256 of the certificate that is to have a successor; `request` asks for one
//! in PKCS #10 (RFC 2986), which the new key has signed. The same request again has the same answer.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::Encoder;

use crate::cbor::{self, Reader, need, once};

/// The longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// The longest chain, in bytes of PEM.
pub const MAX_CHAIN_BYTES: usize = 32 * 1024;
/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 512;

/// Why a message cannot be read or written.
pub type Error = cbor::Error;

/// A gateway asks for the successor of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renew {
    /// The SHA-256 of the certificate's DER.
    pub certificate: [u8; 32],
    /// The request in DER, at most [`MAX_REQUEST_BYTES`].
    pub request: Vec<u8>,
}

/// The hub's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The successor, in PEM, at most [`MAX_CHAIN_BYTES`].
    Renewed(String),
    /// There is none, and why, at most [`MAX_REASON_BYTES`].
    Refused(String),
}

/// Writing into a Vec cannot fail.
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn written(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let written = write(&mut e);
    debug_assert!(written.is_ok(), "a Vec takes all");
    e.into_writer()
}

impl Renew {
    /// The message's bytes. [`Error::TooLong`] with more than [`MAX_REQUEST_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        fits("request", self.request.len(), MAX_REQUEST_BYTES)?;
        Ok(written(|e| {
            let e = e.map(2)?.u8(0)?.bytes(&self.certificate)?;
            e.u8(1)?.bytes(&self.request)?.ok()
        }))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut certificate, mut request) = (None, None);
        for _ in 0..r.map("a certificate to renew: a map")? {
            match r.key()? {
                Some(0) => {
                    let digest = r.bytes("certificate", 32)?;
                    let digest = digest.try_into().map_err(|_| Error::Invalid {
                        field: "certificate",
                        why: "has to be 32 bytes",
                    })?;
                    once(&mut certificate, digest, "certificate")?;
                }
                Some(1) => {
                    let der = r.bytes("request", MAX_REQUEST_BYTES)?.to_vec();
                    once(&mut request, der, "request")?;
                }
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(Self {
            certificate: need(certificate, "certificate")?,
            request: need(request, "request")?,
        })
    }
}

impl Answer {
    /// The message's bytes. [`Error::TooLong`] beyond the bounds.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let (kind, text) = match self {
            Self::Renewed(chain) => {
                fits("chain", chain.len(), MAX_CHAIN_BYTES)?;
                (0, chain)
            }
            Self::Refused(why) => {
                fits("reason", why.len(), MAX_REASON_BYTES)?;
                (1, why)
            }
        };
        Ok(written(|e| e.array(2)?.u8(kind)?.str(text)?.ok()))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let length = r.array("an answer: a list")?;
        let further = length
            .checked_sub(2)
            .ok_or(Error::Missing { field: "answer" })?;
        let answer = match r.u64("the kind of answer")? {
            0 => Self::Renewed(r.str("chain", MAX_CHAIN_BYTES)?.into()),
            1 => Self::Refused(r.str("reason", MAX_REASON_BYTES)?.into()),
            _ => {
                return Err(Error::Invalid {
                    field: "answer",
                    why: "is unknown, known are 0 and 1",
                });
            }
        };
        for _ in 0..further {
            r.skip()?;
        }
        r.end()?;
        Ok(answer)
    }
}

fn fits(field: &'static str, length: usize, max: usize) -> Result<(), Error> {
    if length > max {
        return Err(Error::TooLong { field, max });
    }
    Ok(())
}
