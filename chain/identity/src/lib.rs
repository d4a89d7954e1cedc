//! Decentralized identifiers and Verifiable Credentials, without I/O and without a clock.
//!
//! Whoever uses this package fetches what is to be fetched, says what time it is, and keeps what is
//! to be kept. What comes from strangers is bounded, never panics, and is refused with what was
//! wrong, where, and what would be right.
//!
//! | module | what it is | specification |
//! |---|---|---|
//! | [`did`] | `did:key`, `did:web`, `did:pkh` | DID Core 1.0, the methods' own |
//! | [`document`] | what a DID leads to: keys, and what each may be used for | Controlled Identifiers 1.0 |
//! | [`multikey`] | public keys as text, and checking by them | Multikey, multicodec |
//! | [`secret`] | private keys that sign | FIPS 204, RFC 8032 |
//! | [`json`] | JSON that means one thing only, and its canonical form | RFC 8259, 7493, 8785 |
//! | [`proof`] | proofs inside of documents, and sets of them | VC Data Integrity 1.0 and its suites |
//! | [`jose`] | credentials in a token, `vc+jwt` | VC-JOSE-COSE, RFC 9964 |
//! | [`credential`] | what an issuer says of a subject: making and checking it | VC Data Model 2.0 |
//! | [`presentation`] | how a holder shows credentials to somebody | VC Data Model 2.0 |
//! | [`schema`] | what a subject has to be like | a part of JSON Schema |
//! | [`status`] | revocation and suspension | Bitstring Status List 1.0 |
//! | [`moment`] | points in time as text | XML Schema's `dateTimeStamp` |
//!
//! A credential may carry a *set* of proofs. Whoever checks one says which suites must be there; each
//! proof that is there has to be right, so that a set of Ed25519 and ML-DSA-44 holds as long as
//! either of the two does, and one that is wrong is told by its place and reason.

pub mod credential;
pub mod did;
pub mod document;
pub mod jose;
pub mod json;
pub mod moment;
pub mod multikey;
pub mod presentation;
pub mod proof;
pub mod schema;
pub mod secret;
pub mod status;
mod text;
