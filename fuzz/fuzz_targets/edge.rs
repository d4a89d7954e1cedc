//! What a gateway's rule stream holds, and what the hub places there: what was read is written and
//! read the same, and no judge panics at it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_edge::{Judge, Judged, Placing, Record, What};
use stencil_protocol::batch::Batch;
use stencil_protocol::id::DeviceId;

fuzz_target!(|bytes: &[u8]| {
    let device = DeviceId::parse("a").expect("an id");
    let mut judge = Judge::new();
    if let Ok(judged) = Judged::decode(bytes) {
        assert_eq!(Judged::decode(&judged.encode()).ok(), Some(judged));
        if let Ok(batch) = Batch::decode(judged.batch) {
            judge.batch(judged.place, &device, judged.received_us, &batch, |_| {});
        }
    }
    if let Ok(record) = Record::decode(bytes) {
        // Numbers that are none compare with nothing: by their bytes.
        let again = record.encode();
        let read = Record::decode(&again).expect("a record that was read");
        assert_eq!(read.encode(), again);
        match &record.what {
            What::Rules(rules) => drop(judge.rules(record.place, record.at_us, rules)),
            What::Mark => judge.mark(record.place, record.at_us, |_| {}),
            What::Here(here) => {
                let _ = Judge::adopt(record.place, record.at_us, &here.head, &here.rows);
            }
            What::Told(_) | What::Verdicts(_) => judge.pass(record.place, record.at_us),
        }
    }
    if let Ok(placing) = Placing::decode(bytes) {
        assert_eq!(Placing::decode(&placing.encode()).ok(), Some(placing.clone()));
        let _ = placing.read();
    }
    let _ = Judge::restore(bytes);
});
