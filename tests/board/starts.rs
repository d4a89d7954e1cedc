//! A board that has no sound randomness, name or flash does not start, and says what is wrong.

use std::path::Path;

use stencil_boot::identity::IDENTITY_BYTES;

use crate::image::Maker;
use crate::{layout, machine};

fn refusal(home: &Path, noise: &Path) -> String {
    let output = machine::until_it_ends(home, noise);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let good = Path::new("/dev/urandom");
    assert!(refusal(home, good).contains("flash: the host cannot open the file"));

    let flash = home.join("flash.bin");
    std::fs::write(&flash, vec![0xff; 8_192 * 52]).unwrap();
    assert!(refusal(home, good).contains("it takes blocks of 8192 bytes, 53 or more"));

    std::fs::write(&flash, vec![0xff; 8_192 * 53]).unwrap();
    assert!(refusal(home, good).contains("does not say whose images the board starts"));

    let mut maker = Maker::new();
    machine::install(&flash, &mut maker, 1, 60);
    assert!(refusal(home, good).contains("the device has not been given its name and key"));

    // A byte of the image.
    let whole = std::fs::read(&flash).unwrap();
    let mut bytes = whole.clone();
    bytes[layout::LAYOUT.slots[0] as usize + 2_048 + 70_000] ^= 1;
    std::fs::write(&flash, bytes).unwrap();
    assert!(refusal(home, good).contains("no slot holds an image that may be started"));

    // Another maker's key.
    let mut bytes = whole;
    bytes[layout::IDENTITY_FROM as usize..][..IDENTITY_BYTES]
        .copy_from_slice(&Maker::new().identity(60).encode());
    std::fs::write(&flash, bytes).unwrap();
    assert!(refusal(home, good).contains("no slot holds an image that may be started"));

    let key = home.join("m4.psk");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    machine::provision(&flash, "m4-01", &key, 100);
    machine::install(&flash, &mut maker, 1, 60);
    let mut bytes = std::fs::read(&flash).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&flash, bytes).unwrap();
    assert!(refusal(home, good).contains("provision: the provision has a wrong checksum"));

    machine::provision(&flash, "m4-01", &key, 100);
    machine::install(&flash, &mut maker, 1, 60);
    let stuck = refusal(home, Path::new("/dev/zero"));
    assert!(
        stuck.contains("noise: the noise source is stuck"),
        "{stuck}"
    );
    let silent = refusal(home, Path::new("/dev/null"));
    assert!(
        silent.contains("noise: the noise source gives no samples"),
        "{silent}"
    );

    let noise = home.join("biased");
    // Every third sample is the same one.
    let biased: Vec<u8> = (0..4_096_u32)
        .map(|at| {
            if at.is_multiple_of(3) {
                7
            } else {
                (at % 251).to_le_bytes()[0]
            }
        })
        .collect();
    std::fs::write(&noise, biased).unwrap();
    let biased = refusal(home, &noise);
    assert!(biased.contains("gives a sample too often"), "{biased}");
}
