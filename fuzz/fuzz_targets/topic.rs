//! Topics have one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::topic::Topic;

fuzz_target!(|text: &str| {
    if let Ok(topic) = Topic::parse(text) {
        assert_eq!(topic.to_string(), text);
    }
});
