//! Links of EIP-681: what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_payments::uri::{self, MAX_LINK_BYTES, MAX_PARAMETERS};

fuzz_target!(|text: &str| {
    match uri::parse(text) {
        Ok(link) => {
            let arguments = link.call.as_ref().map_or(0, |call| call.arguments.len());
            assert!(arguments <= MAX_PARAMETERS);
            let again = link.to_string();
            // Numbers with an exponent are longer when they are written out.
            if again.len() <= MAX_LINK_BYTES {
                assert_eq!(uri::parse(&again).as_ref(), Ok(&link), "{again}");
            }
            if let Some(paid) = link.paid() {
                assert!(paid.amount.is_some() || link.value.is_none());
            }
        }
        Err(error) => assert!(error.to_string().len() < 512),
    }
});
