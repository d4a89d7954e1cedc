//! Loss reports and link events: what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::report::{LinkEvent, LossReport};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = LossReport::decode(bytes) {
        let again = report.encode().expect("a report that was read");
        assert_eq!(LossReport::decode(&again), Ok(report));
    }
    if let Ok(event) = LinkEvent::decode(bytes) {
        assert_eq!(LinkEvent::decode(&event.encode()), Ok(event));
    }
});
