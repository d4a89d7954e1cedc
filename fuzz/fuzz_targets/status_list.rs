//! Status lists and what names a bit of one: nothing unpacks beyond its bound, and what was read is written and read the
//! same. The first byte says which of the two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_identity::status::{Bits, Entry};

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    if which % 2 == 0 {
        let Ok(mut bits) = Bits::decode(text) else {
            return;
        };
        let last = bits.len() - 1;
        let was = bits.get(last).expect("the last one is there");
        assert!(bits.get(last + 1).is_err());
        bits.set(last, !was).expect("it can be set");
        let again = Bits::decode(&bits.encode().expect("it can be packed"));
        assert_eq!(again.expect("and unpacked").get(last).ok(), Some(!was));
    } else if let Ok(value) = serde_json::from_str(text)
        && let Ok(entry) = Entry::read(&value)
    {
        assert_eq!(Entry::read(&entry.to_value()).as_ref(), Ok(&entry));
    }
});
