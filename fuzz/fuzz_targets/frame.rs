//! A stream of frames: a frame that was read can be sent, and after any stream
//! the next frame is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::frame::{Decoder, Kind, MAX_FRAME, MAX_PAYLOAD, encode};

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new();
    let mut input = bytes;
    let mut out = [0; MAX_FRAME];
    while !input.is_empty() {
        if let Some(Ok((kind, payload))) = decoder.feed(&mut input) {
            encode(kind, payload, &mut out).expect("a frame that was read");
        }
    }
    let payload = &bytes[..bytes.len().min(MAX_PAYLOAD)];
    let length = encode(Kind::Record, payload, &mut out).expect("room");
    let mut input = &out[..length];
    // The zero in front may end what the stream left open.
    let mut found = false;
    while !input.is_empty() {
        found |= decoder.feed(&mut input) == Some(Ok((Kind::Record, payload)));
    }
    assert!(found);
});
