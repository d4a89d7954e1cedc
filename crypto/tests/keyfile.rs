//! Key files: for their owner only, whole or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use stencil_crypto::keyfile::{self, Error, MAX_BYTES};
use stencil_crypto::{Psk, rng};

#[test]
fn a_secret_is_written_for_its_owner_only_even_over_an_open_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    fs::write(&path, "open to all").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    keyfile::write(&path, b"secret").unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(keyfile::read(&path).unwrap().as_slice(), b"secret");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no other file is left"
    );
}

#[test]
fn a_secret_that_others_can_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    keyfile::write(&path, b"secret").unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let refused = keyfile::read(&path).err().unwrap();
        assert!(matches!(refused, Error::Exposed { .. }), "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains(&format!("{mode:03o}")) && text.contains("chmod 600"),
            "{text}"
        );
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        keyfile::read(&path).unwrap();
    }
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing").join("a.key");
    assert!(matches!(
        keyfile::write(&missing, b"x"),
        Err(Error::Io { .. })
    ));
    // A folder cannot be replaced by a file: the rename fails, after the writing.
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    assert!(matches!(
        keyfile::write(&folder, b"x"),
        Err(Error::Io { .. })
    ));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(folder.is_dir());
}

#[test]
fn what_is_no_key_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        keyfile::read(dir.path()),
        Err(Error::NoKeyFile { .. })
    ));
    let path = dir.path().join("big.key");
    keyfile::write(&path, &vec![b'x'; usize::try_from(MAX_BYTES).unwrap() + 1]).unwrap();
    assert!(matches!(keyfile::read(&path), Err(Error::NoKeyFile { .. })));
    keyfile::write(&path, &[0xff, 0xfe]).unwrap();
    assert!(matches!(
        keyfile::read_text(&path),
        Err(Error::NotText { .. })
    ));
    let refused = keyfile::read(dir.path().join("none.key"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("none.key") && refused.contains("No such file"),
        "{refused}"
    );
}

#[test]
fn a_pre_shared_key_is_64_digits_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("freezer-07.psk");
    let psk = Psk::generate(&mut rng::Os);
    psk.save(&path).unwrap();
    assert_eq!(Psk::load(&path).unwrap(), psk);
    assert_eq!(fs::metadata(&path).unwrap().len(), 65);
    assert_ne!(Psk::generate(&mut rng::Os), psk);

    for (text, why) in [
        ("1234", "64 hexadecimal digits), this one has 2"),
        ("", "this one has 0"),
        (&"z".repeat(64), "something else is at 0"),
        (&"0".repeat(64), "never provisioned"),
    ] {
        keyfile::write(&path, text.as_bytes()).unwrap();
        let refused = Psk::load(&path).err().unwrap().to_string();
        assert!(
            refused.contains("freezer-07.psk") && refused.contains(why),
            "{refused}"
        );
    }
}

#[test]
fn a_folder_for_secrets_is_its_owners_and_one_that_is_there_is_only_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = dir.path().join("above/psk");
    assert_eq!(keyfile::folder(&folder).unwrap(), None);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(keyfile::folder(&folder).unwrap(), None);
    fs::set_permissions(&folder, Permissions::from_mode(0o750)).unwrap();
    assert_eq!(keyfile::folder(&folder).unwrap(), Some(0o750));
    assert_eq!(mode(&folder), 0o750);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(keyfile::folder(&file).is_err());
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for (path, is) in [
        (pipe.as_path(), "a pipe"),
        (dir.path(), "a folder"),
        (std::path::Path::new("/dev/zero"), "a device"),
    ] {
        let refused = keyfile::open(path).unwrap_err().to_string();
        assert!(
            refused.contains(is) && refused.contains("regular file"),
            "{refused}"
        );
        let refused = keyfile::read(path).err().unwrap();
        assert!(matches!(refused, Error::NoKeyFile { .. }), "{refused}");
    }
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    assert_eq!(
        std::io::read_to_string(keyfile::open(&file).unwrap()).unwrap(),
        "text"
    );
}
