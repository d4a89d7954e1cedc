//! What gateways shall be like and say that they are like: what was read is written and read the same,
//! and settings that are taken keep to their bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_desired::{Kind, LEVELS, MAX_FLAWS, SETTINGS, Section, Settings, Value, check};
use stencil_protocol::desired::{Desired, MAX_FLAW_BYTES, Said};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(desired) = Desired::decode(bytes) {
        let again = desired.encode().expect("what was read");
        assert_eq!(Desired::decode(&again), Ok(desired));
    }
    if let Ok(said) = Said::decode(bytes) {
        let again = said.encode().expect("what was read");
        assert_eq!(Said::decode(&again), Ok(said));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Settings::parse(text) {
        Ok(settings) => {
            assert_eq!(check(Section::Settings, text), []);
            for (key, value) in settings.iter() {
                let setting = SETTINGS.iter().find(|it| it.key == key).expect("one of the table");
                match (setting.kind, value) {
                    (Kind::Number(min, max), Value::Number(is)) => {
                        assert!((min..=max).contains(is));
                    }
                    (Kind::Level, Value::Text(is)) => assert!(LEVELS.contains(&is.as_str())),
                    (Kind::Address | Kind::Name, Value::Text(is)) => {
                        assert!(is.bytes().all(|byte| byte.is_ascii_graphic()));
                    }
                    (kind, value) => panic!("{key} is {value:?}, no {kind:?}"),
                }
            }
        }
        Err(flaws) => {
            assert!((1..=MAX_FLAWS).contains(&flaws.len()));
            for flaw in &flaws {
                assert!(flaw.what.len() <= MAX_FLAW_BYTES && !flaw.what.is_empty());
            }
        }
    }
    let _ = check(Section::Mapping, text);
});
