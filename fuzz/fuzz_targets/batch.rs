//! A batch has as many numbers as it says, and each good sample can be sent again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::batch::{Batch, Full, Writer};
use stencil_protocol::sample;

fuzz_target!(|bytes: &[u8]| {
    let Ok(batch) = Batch::decode(bytes) else {
        return;
    };
    assert_eq!(batch.samples().count(), batch.len());
    let mut buffer = vec![0; 128 * 1024];
    let mut writer = Writer::new(&mut buffer, batch.header()).expect("a header that was read");
    let mut again = Vec::new();
    for (_, sample) in batch.samples() {
        let Ok(sample) = sample else { continue };
        match writer.push(&sample) {
            Ok(()) => again.push(sample),
            Err(Full::Sample(sample::Error::Time)) => {}
            Err(full) => panic!("a sample that was read: {full}"),
        }
    }
    let length = writer.finish().expect("room");
    let copy = Batch::decode(&buffer[..length]).expect("a batch that was written");
    assert_eq!(copy.header(), batch.header());
    assert!(copy.samples().map(|(_, s)| s.expect("good")).eq(again));
});
