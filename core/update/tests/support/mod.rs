//! Keys and an image for tests.
#![allow(dead_code)]

use std::sync::{Mutex, MutexGuard, OnceLock};

use stencil_update::Header;
use stencil_update::device::digest;
use stencil_update::header::Version;
use stencil_update::id::Id;
use stencil_update::signing::Keys;

pub(crate) const IMAGE: &[u8] = b"an image, as far as anybody here can tell";

/// One set of keys for all tests of a process: its tree takes a second.
pub(crate) fn keys() -> MutexGuard<'static, Keys> {
    static KEYS: OnceLock<(tempfile::TempDir, Mutex<Keys>)> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::generate(&folder.path().join("keys")).unwrap();
        (folder, Mutex::new(keys))
    })
    .1
    .lock()
    .unwrap()
}

pub(crate) fn header() -> Header {
    Header {
        vendor: Id::of_vendor("acme.example"),
        class: Id::of_class(Id::of_vendor("acme.example"), "freezer-node"),
        sequence: 17,
        size: IMAGE.len().try_into().unwrap(),
        digest: digest(IMAGE),
        version: Version::new("1.4.0-rc.1").unwrap(),
    }
}
