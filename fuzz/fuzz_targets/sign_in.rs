//! A message of EIP-4361, as whoever signs in sends it: it is read or refused, and says the same when it is
//! written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_wallet::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(message) = Message::parse(text) {
        let written = message.text().expect("what was read can be written");
        assert_eq!(Message::parse(&written).expect("and read again"), message);
    }
});
