//! A backup: whatever its bytes, it is an archive or an error, and a manifest or an error.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;

// The readers themselves, so that not all of a hub is built with a fuzzer's instruments.
#[allow(dead_code, reason = "what writes is not looked at")]
#[path = "../../hub/server/src/backup/archive.rs"]
mod archive;
#[allow(dead_code, reason = "read by others")]
#[path = "../../hub/server/src/backup/manifest.rs"]
mod manifest;

use manifest::Manifest;

fuzz_target!(|bytes: &[u8]| {
    let mut entries = archive::Entries::new(bytes);
    let mut sum = 0_u64;
    while let Ok(Some(head)) = entries.next() {
        let mut content = Vec::new();
        if entries.read_to_end(&mut content).is_err() {
            break;
        }
        assert_eq!(content.len() as u64, head.bytes);
        sum += head.bytes;
        assert!(sum <= bytes.len() as u64, "what was not there was read");
        read_manifest(&content);
    }
    // What is no archive may be a manifest.
    read_manifest(bytes);
});

fn read_manifest(bytes: &[u8]) {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        let text = serde_json::to_vec(&manifest).expect("it is JSON");
        let again: Manifest = serde_json::from_slice(&text).expect("its own form");
        assert_eq!(again, manifest);
    }
}
