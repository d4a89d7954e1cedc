//! Link messages both ways: what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::link::{Down, MAX_MESSAGE_BYTES, Up};

fuzz_target!(|bytes: &[u8]| {
    let mut out = [0; MAX_MESSAGE_BYTES];
    if let Ok(up) = Up::decode(bytes) {
        let length = up.encode(&mut out).expect("room");
        assert_eq!(Up::decode(&out[..length]), Ok(up));
    }
    if let Ok(down) = Down::decode(bytes) {
        let length = down.encode(&mut out).expect("room");
        assert_eq!(Down::decode(&out[..length]), Ok(down));
    }
});
