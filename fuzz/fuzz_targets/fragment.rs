//! Fragments on a hostile line: what a receiver puts together is what was sent, whatever the line
//! does to frames whose checksum holds, and strangers' fragments never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::fragment::{
    Assembly, Fragment, MAX_MESSAGE_BYTES, Progress, Received, Sender,
};

fuzz_target!(|bytes: &[u8]| {
    // As strangers' payloads.
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut assembly = Assembly::new();
    for payload in bytes.chunks(24) {
        if let Ok(fragment) = Fragment::parse(payload) {
            if let Ok(Progress::Whole(length)) = assembly.take(&fragment, 0, &mut buffer) {
                assert!((1..=MAX_MESSAGE_BYTES).contains(&length));
            }
        }
        let _ = Received::parse(payload);
    }

    // As the script of what a line does to a message.
    let Some((&[high, low, part], script)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let length = usize::from(u16::from_be_bytes([high, low])) % MAX_MESSAGE_BYTES + 1;
    let message: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
    let mut sender = Sender::new(9, length, u16::from(part), 10).expect("a length that is allowed");
    let mut assembly = Assembly::new();
    let (mut now_us, mut sent, mut whole) = (0, 0, false);
    let mut late: Option<Vec<u8>> = None;
    for fate in script {
        let mut out = [0; MAX_MESSAGE_BYTES + 8];
        now_us += 100;
        let Some(used) = sender.next(&message, now_us, &mut out).expect("room") else {
            break;
        };
        sent += 1;
        let mut arrive = |payload: &[u8], sender: &mut Sender| {
            let fragment = Fragment::parse(payload).expect("a fragment of ours");
            if let Progress::Whole(got) =
                assembly.take(&fragment, now_us, &mut buffer).expect("fits")
            {
                assert!(!whole && got == length);
                assert_eq!(buffer[..got], message);
                whole = true;
            }
            if fragment.asks() && fate & 8 == 0 {
                sender.received(&assembly.received().expect("something has come"));
            }
        };
        match fate & 7 {
            0 => {}
            1 => {
                arrive(&out[..used], &mut sender);
                arrive(&out[..used], &mut sender);
            }
            2 => late = Some(out[..used].to_vec()),
            _ => arrive(&out[..used], &mut sender),
        }
        if let Some(payload) = late.take().filter(|_| fate & 16 != 0) {
            arrive(&payload, &mut sender);
        }
        assert!(whole || !sender.is_done());
    }
    assert!(sent <= 8 * 32);
});
