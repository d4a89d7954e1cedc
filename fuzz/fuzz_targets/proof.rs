//! What a stranger hands to `stencil verify`: a proof, or a page or an entry with proofs inside.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../chain/anchor/tests/strangers/holds.rs"]
mod holds;

fuzz_target!(|bytes: &[u8]| holds::of_a_page(bytes));
