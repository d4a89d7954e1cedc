//! What holds of whatever a gateway sends as a record of seals: the fuzz target `seal` asks the same.

use stencil_proof::{MAX_CHUNKS, MAX_READINGS, MAX_RECORD_BYTES, MAX_RUNS, Record};

/// Of a record.
pub(crate) fn of_a_record(bytes: &[u8]) {
    let record = match Record::decode(bytes) {
        Ok(record) => record,
        Err(error) => {
            assert!(error.to_string().len() <= 1_024, "{error}");
            return;
        }
    };
    let again = record.encode();
    assert!(again.len() <= bytes.len().min(MAX_RECORD_BYTES));
    assert_eq!(Record::decode(&again).as_ref(), Ok(&record));
    let Record::Sealed(sealed) = record else {
        return;
    };
    let _ = sealed.is_whole();
    assert!((1..=MAX_CHUNKS).contains(&sealed.chunks.len()));
    for chunk in &sealed.chunks {
        assert!((1..=MAX_READINGS).contains(&chunk.readings));
        assert!(chunk.runs.len() <= MAX_RUNS);
        assert_eq!(chunk.at(chunk.readings), None);
        assert_eq!(chunk.at(u64::MAX), None);
        for index in [0, chunk.readings / 2, chunk.readings - 1] {
            let (boot, number) = chunk.at(index).expect("it has so many");
            let first = chunk.index(boot, number).expect("it is there");
            assert!(first <= index, "the first of those that are the same");
            assert_eq!(chunk.at(first), Some((boot, number)));
        }
    }
}
