//! Proofs on a published page: the figure is marked, the document is inside, and a note says how to check.

use maud::{Markup, PreEscaped, html};
use serde_json::{Map, Value};
use stencil_proof::page;

/// The proof in an entry whose figure this field is, by its name.
pub(super) fn of<'a>(fields: &'a Map<String, Value>, figure: &str) -> Option<&'a str> {
    let mut proofs = fields.iter().filter(|(_, value)| page::is_proof(value));
    let proof = proofs.find(|(name, _)| page::figure_of(name) == Some(figure));
    proof.map(|(name, _)| name.as_str())
}

/// The document, and what it says, for people.
pub(super) fn note(name: &str, document: &Value, url: &str) -> Markup {
    let text = |pointer: &str| {
        let value = document.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let block = document
        .pointer("/anchor/block_number")
        .and_then(Value::as_u64);
    html! {
        script type="application/json" id=(name) data-stencil-proof {
            (PreEscaped(page::script(document)))
        }
        "Sealed by gateway " (text("/seal/gateway")) ", seal " (text("/seal/number"))
        @if let Some(block) = block {
            ", anchored in block " (block) " of chain "
            (document.pointer("/anchor/chain_id").and_then(Value::as_u64).unwrap_or_default())
        }
        ". Check it without this site: "
        // Whatever is to be believed comes from elsewhere: a page vouches for nothing with its own word.
        code {
            "stencil verify " (url) " --gateway-key " i { "FINGERPRINT" }
            @if block.is_some() { " --rpc " i { "NODE" } }
        }
        ". The fingerprint is of the gateway's certificate, from somebody who knows the gateway"
        @if block.is_some() {
            "; the node is one that you trust, or use " code { "--block-hash " i { "HASH" } }
            " with the block's hash from an explorer of your choice"
        }
        ", and not from this page."
    }
}
