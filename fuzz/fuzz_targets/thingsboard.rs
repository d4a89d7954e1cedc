//! ThingsBoard JSON: what is taken keeps to the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::foreign::{MAX_REJECTED, MAX_SAMPLES, thingsboard};

fuzz_target!(|bytes: &[u8]| {
    let Ok(parsed) = thingsboard::parse(bytes, 1_700_000_000_000_000) else {
        return;
    };
    assert!(parsed.samples.len() <= MAX_SAMPLES);
    assert!(parsed.rejected.len() <= MAX_REJECTED + 2);
    for sample in &parsed.samples {
        sample.as_ref().check().expect("within the limits");
    }
});
