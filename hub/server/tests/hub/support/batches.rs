//! Batches as a device writes them.

use stencil_protocol::batch::{Header, MAX_BATCH_BYTES, PreviousBoot, Writer};
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::{Sample, Value};

/// One sample: name, value, time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampled(pub(crate) &'static str, pub(crate) f64, pub(crate) i64);

/// A batch of boot `boot` whose numbers begin with `first` and end with the last one given.
pub(crate) fn batch(boot: u32, first: u64, samples: &[Sampled]) -> Vec<u8> {
    let last = first + samples.len() as u64 - 1;
    batch_bytes(boot, first, last, None, samples)
}

pub(crate) fn batch_bytes(
    boot: u32,
    first: u64,
    last_given: u64,
    previous: Option<PreviousBoot>,
    samples: &[Sampled],
) -> Vec<u8> {
    let header = Header {
        boot: Boot(boot),
        first: Seq(first),
        last_given: Seq(last_given),
        previous,
        dropped: Default::default(),
    };
    let mut bytes = vec![0; MAX_BATCH_BYTES];
    let mut writer = Writer::new(&mut bytes, &header).unwrap();
    for Sampled(name, value, time_us) in samples {
        let value = Value::Number(*value);
        let sample = Sample {
            name,
            value,
            unit: Some("degC"),
            time_us: *time_us,
        };
        writer.push(&sample).unwrap();
    }
    let length = writer.finish().unwrap();
    bytes.truncate(length);
    bytes
}
