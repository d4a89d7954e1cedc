//! Devices' keys between hub and gateway: what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::keys::{Holds, Update, Used};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(update) = Update::decode(bytes) {
        let again = update.encode().expect("an update that was read");
        assert_eq!(Update::decode(&again), Ok(update));
    }
    if let Ok(holds) = Holds::decode(bytes) {
        assert_eq!(Holds::decode(&holds.encode()), Ok(holds));
    }
    if let Ok(used) = Used::decode(bytes) {
        assert_eq!(Used::decode(&used.encode()), Ok(used));
    }
});
