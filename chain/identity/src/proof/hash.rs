//! What is signed.

use aws_lc_rs::digest::{self, SHA256, SHA384};
use serde_json::{Map, Value};

use super::{Error, Suite};
use crate::json;
use crate::multikey::Algorithm;

/// The hash of the proof's options, then that of the document.
///
/// `document` is without its proofs, `options` is the proof without its value. The context of the
/// document goes into `mldsa44-jcs-2024`'s options whether the proof has one or not (Quantum-Resistant
/// Cryptosuites, “Proof Configuration”); the other suites sign the options as they are.
pub(super) fn data(
    document: &Map<String, Value>,
    mut options: Map<String, Value>,
    suite: Suite,
    algorithm: Algorithm,
) -> Result<Vec<u8>, Error> {
    if suite == Suite::MlDsa44Jcs2024 {
        match document.get("@context") {
            Some(context) => options.insert("@context".to_owned(), context.clone()),
            None => options.remove("@context"),
        };
    }
    let hash = match algorithm {
        Algorithm::P384 => &SHA384,
        _ => &SHA256,
    };
    let of = |map: &Map<String, Value>| -> Result<digest::Digest, Error> {
        Ok(digest::digest(hash, &json::canonical(map)?))
    };
    Ok([of(&options)?.as_ref(), of(document)?.as_ref()].concat())
}

/// A document without its proofs.
pub(super) fn unsecured(document: &Map<String, Value>) -> Map<String, Value> {
    let mut unsecured = document.clone();
    unsecured.remove("proof");
    unsecured
}
