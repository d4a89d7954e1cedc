//! Commands and statuses: what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::command::{Command, MAX_COMMAND_BYTES, MAX_STATUS_BYTES, Status};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = Command::decode(bytes) {
        let mut out = [0; MAX_COMMAND_BYTES];
        let length = command.encode(&mut out).expect("room");
        assert_eq!(Command::decode(&out[..length]), Ok(command));
    }
    if let Ok(status) = Status::decode(bytes) {
        let mut out = [0; MAX_STATUS_BYTES];
        let length = status.encode(&mut out).expect("room");
        assert_eq!(Status::decode(&out[..length]), Ok(status));
    }
});
