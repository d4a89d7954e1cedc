//! A mapping of field devices, which an operator writes and a hub may hand on. What is understood keeps
//! to the bounds, and is told in the order of its lines when it is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_field::mapping::{self, MAX_CONNECTIONS, MAX_DEVICES, MAX_POINTS};

fuzz_target!(|yaml: &str| {
    match mapping::parse(yaml) {
        Ok(mapping) => {
            assert!(mapping.connections.len() <= MAX_CONNECTIONS);
            assert!(mapping.devices().count() <= MAX_DEVICES);
            assert!(mapping.points() <= MAX_POINTS);
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            assert!(errors.0.is_sorted_by_key(|error| (error.at.line, error.at.column)));
            assert!(!errors.to_string().is_empty());
        }
    }
});
