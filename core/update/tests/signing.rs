//! The signer: a leaf is never used twice, whatever happens to the process, the file or the user.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest as _;
use stencil_update::lms::{LEAVES, SIGNATURE_BYTES, leaf};
use stencil_update::signing::lms_state::{Error, FILE, LmsSigner, recover};
use stencil_update::signing::{self, Keys};
use support::header;

const CHILD: &str = "STENCIL_UPDATE_TEST_CHILD";
const SIGKILL: i32 = 9;

fn keys(folder: &Path) -> PathBuf {
    let keys = folder.join("keys");
    drop(Keys::generate(&keys).unwrap());
    keys
}

/// This very test, in a process of its own: signs twice, and lets each signature leave as soon as
/// it is made.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let mut signer = LmsSigner::open(Path::new(&folder)).unwrap();
    for turn in 0..2 {
        let signature = signer.sign(format!("{turn}").as_bytes()).unwrap();
        let leaf = leaf(&signature);
        let out = Path::new(&folder)
            .join("..")
            .join(format!("left-{leaf}-{}", std::process::id()));
        std::fs::write(out, signature).unwrap();
    }
}

fn run_child(keys: &Path, setting: &str) -> Option<i32> {
    stencil_crashpoint::check(setting).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--quiet"])
        .env(CHILD, keys)
        .env(stencil_crashpoint::VARIABLE, setting)
        .output()
        .unwrap()
        .status
        .signal()
}

#[test]
fn killed_at_each_step_no_leaf_is_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    let points = [
        "before_leaf",
        "state_half_written",
        "state_written",
        "state_synced",
        "state_renamed",
        "leaf_taken",
        "signed",
    ];
    for point in points {
        let killed = run_child(&keys, &format!("update.{point}:2"));
        assert_eq!(killed, Some(SIGKILL), "{point} was not reached");
    }
    assert_eq!(run_child(&keys, ""), None);
    // One signature left before each kill, two left in the end.
    let mut leaves = HashSet::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let signature: [u8; SIGNATURE_BYTES] =
                std::fs::read(&path).unwrap().try_into().unwrap();
            assert!(leaves.insert(leaf(&signature)), "a leaf was used twice");
        }
    }
    assert_eq!(leaves.len(), points.len() + 2);
    // Leaves that were lost: those that were taken when the process died.
    let signer = LmsSigner::open(&keys).unwrap();
    assert_eq!(LEAVES - signer.left(), 9 + 3);
    drop(signer);
    // And what the killed ones left beside the key, with its seed in it, is gone.
    let names: Vec<_> = std::fs::read_dir(&keys)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.ends_with(".new")),
        "{names:?}"
    );
}

#[test]
fn two_processes_do_not_sign_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    let first = LmsSigner::open(&keys).unwrap();
    let error = LmsSigner::open(&keys).err().unwrap();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(first);
    LmsSigner::open(&keys).unwrap();
}

#[test]
fn a_restored_or_copied_state_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    let file = keys.join(FILE);
    let backup = std::fs::read(&file).unwrap();
    let mut signer = LmsSigner::open(&keys).unwrap();
    let first = signer.sign(b"one").unwrap();
    let second = signer.sign(b"two").unwrap();
    assert_eq!((leaf(&first), leaf(&second)), (0, 1));
    // Written over the file in place, under the open signer, and for one that comes later.
    std::fs::write(&file, &backup).unwrap();
    let error = signer.sign(b"three").unwrap_err();
    assert!(matches!(error, Error::Copied { next: 0, .. }), "{error}");
    assert!(error.to_string().contains("recover"), "{error}");
    drop(signer);
    assert!(matches!(
        LmsSigner::open(&keys).err(),
        Some(Error::Copied { .. })
    ));

    // Whoever knows better may go on, never back.
    recover(&keys, 2).unwrap();
    assert!(matches!(
        recover(&keys, 1),
        Err(Error::Back { asked: 1, next: 2 })
    ));
    assert!(recover(&keys, LEAVES + 1).is_err());
    let mut signer = LmsSigner::open(&keys).unwrap();
    assert_eq!(leaf(&signer.sign(b"three").unwrap()), 2);
    drop(signer);

    // A copy of the whole folder.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&keys).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    assert!(matches!(
        LmsSigner::open(&copy).err(),
        Some(Error::Copied { next: 3, .. })
    ));
    // The original goes on.
    assert_eq!(
        leaf(&LmsSigner::open(&keys).unwrap().sign(b"four").unwrap()),
        3
    );
}

#[test]
fn a_used_up_key_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    recover(&keys, LEAVES - 1).unwrap();
    let mut signer = LmsSigner::open(&keys).unwrap();
    assert_eq!(signer.left(), 1);
    assert_eq!(leaf(&signer.sign(b"the last").unwrap()), LEAVES - 1);
    for _ in 0..2 {
        let error = signer.sign(b"one more").unwrap_err();
        assert!(matches!(error, Error::Exhausted { .. }), "{error}");
        assert!(error.to_string().contains("1024"), "{error}");
    }
    assert_eq!(signer.left(), 0);
}

#[test]
fn a_damaged_key_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    let file = keys.join(FILE);
    let text = std::fs::read_to_string(&file).unwrap();
    for other in [
        text.replace("next-leaf 0", "next-leaf 1"),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        std::fs::write(&file, other).unwrap();
        let error = LmsSigner::open(&keys).err().unwrap();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    // Well-formed, but beyond the last leaf.
    let body = text
        .split("check")
        .next()
        .unwrap()
        .replace("next-leaf 0", "next-leaf 2000");
    let check = hex::encode(sha2::Sha256::digest(&body));
    std::fs::write(&file, format!("{body}check {check}\n")).unwrap();
    let error = LmsSigner::open(&keys).err().unwrap().to_string();
    assert!(error.contains("beyond the last"), "{error}");
}

#[test]
fn secret_files_are_their_owners_alone_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    for entry in std::fs::read_dir(&keys).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if entry.file_name() == "trust.keys" {
            0o644
        } else {
            0o600
        };
        assert_eq!(mode, expected, "{:?}", entry.file_name());
    }
    let error = Keys::generate(&keys).err().unwrap();
    assert!(matches!(error, signing::Error::Exists { .. }), "{error}");
    // Opened as they were made, and they sign.
    let mut opened = Keys::open(&keys).unwrap();
    let envelope = opened.sign(&header()).unwrap();
    envelope.verify(opened.trust()).unwrap();
    assert_eq!(opened.signatures_left(), LEAVES - 1);
    drop(opened);
    std::fs::set_permissions(
        keys.join("ed25519.key"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    let error = Keys::open(&keys).err().unwrap().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn a_key_of_another_folder_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let own = keys(folder.path());
    let other = folder.path().join("other");
    drop(Keys::generate(&other).unwrap());
    for file in ["ed25519.key", "ml-dsa-65.key"] {
        let mine = std::fs::read(own.join(file)).unwrap();
        std::fs::copy(other.join(file), own.join(file)).unwrap();
        let error = Keys::open(&own).err().unwrap();
        assert!(matches!(error, signing::Error::Mismatch { .. }), "{error}");
        std::fs::write(own.join(file), mine).unwrap();
    }
    Keys::open(&own).unwrap();
}
