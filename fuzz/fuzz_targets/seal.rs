//! Records of seals, as a gateway sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/proof/tests/records/holds.rs"]
mod holds;

fuzz_target!(|bytes: &[u8]| holds::of_a_record(bytes));
