//! Certificates that gateways have renewed: the messages, and the request within.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_crypto::authority::Request;
use stencil_protocol::renewal::{Answer, Renew};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(renew) = Renew::decode(bytes) {
        let again = renew.encode().expect("a request that was read");
        assert_eq!(Renew::decode(&again).as_ref(), Ok(&renew));
        let _ = Request::read(&renew.request);
    }
    if let Ok(answer) = Answer::decode(bytes) {
        let again = answer.encode().expect("an answer that was read");
        assert_eq!(Answer::decode(&again), Ok(answer));
    }
    let _ = Request::read(bytes);
});
