//! What holds of whatever a stranger hands to `stencil verify`: the fuzz target `proof` asks the same.

use stencil_anchor::{Anchored, Fault};
use stencil_proof::document::{AnchorForm, Document, Trusted, Unreadable, check};
use stencil_proof::page::{self, MAX_FIGURES, MAX_PROOFS};

/// The most bytes of a message: it stands on a terminal.
const MAX_MESSAGE: usize = 2_048;

/// Of a document, a page or an entry.
pub(crate) fn of_a_page(bytes: &[u8]) {
    let found = match page::find(bytes) {
        Ok(found) => found,
        Err(error) => return is_short(&error),
    };
    assert!((1..=MAX_PROOFS).contains(&found.len()));
    assert!(found.iter().all(|one| one.figures.len() <= MAX_FIGURES));
    for one in &found {
        if let Err(mismatch) = one.figures_match() {
            is_short(&mismatch);
        }
        of_a_document(&one.document);
    }
}

fn of_a_document(document: &Document) {
    let json = document.to_json();
    assert!(!page::script(&json).contains('<'), "it ends its script");
    match Document::parse(json.to_string().as_bytes()) {
        Ok(again) => assert_eq!(&again, document),
        Err(error) => assert!(matches!(error, Unreadable::TooLong(_)), "{error}"),
    }
    match check(document, &Trusted::default()) {
        Ok(sealed) => assert!(!sealed.trusted, "by nobody"),
        Err(fault) => is_short(&fault),
    }
    // No certificate and no key has this SHA-256.
    let nobody = Trusted {
        gateways: vec![[0; 32]],
    };
    assert!(check(document, &nobody).is_err());
    if let Some(anchor) = &document.anchor {
        of_an_anchor(anchor);
    }
}

fn of_an_anchor(anchor: &AnchorForm) {
    match stencil_anchor::check(anchor) {
        Ok(Anchored {
            chain_id,
            block_number,
            block_hash,
            ..
        }) => {
            let said = (anchor.chain_id, anchor.block_number, anchor.block_hash);
            assert_eq!((chain_id, block_number, block_hash.0), said);
            assert_eq!(block_hash, alloy_primitives::keccak256(&anchor.header));
            // What is anchored is this root and no other.
            let mut other = anchor.clone();
            other.root[0] ^= 1;
            assert_eq!(stencil_anchor::check(&other), Err(Fault::Event));
        }
        Err(fault) => is_short(&fault),
    }
}

fn is_short(message: &impl std::fmt::Display) {
    let message = message.to_string();
    assert!(message.len() <= MAX_MESSAGE, "{} bytes", message.len());
}
