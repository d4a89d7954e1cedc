//! What is no backup any more, or was never one; and targets that hold something.

use std::path::Path;
use std::process::Command;

use crate::support::{Hub, succeed};
use crate::{backup, refused, restore};

/// A backup in a folder, and what its hub's data holds.
fn taken() -> (Hub, std::path::PathBuf) {
    let mut hub = Hub::start(&[]);
    assert!(hub.stop().success());
    let out = hub.dir.path().join("hub.backup");
    succeed(&mut backup(&hub.data(), &out));
    (hub, out)
}

/// Where an entry's content begins in the archive.
fn place(archive: &[u8], entry: &str) -> usize {
    let mut blocks = archive.chunks(512);
    let head = blocks.position(|block| {
        block.starts_with(entry.as_bytes()) && block.get(257..262) == Some(b"ustar")
    });
    (head.expect("the entry") + 1) * 512
}

/// Makes an archive of files in a folder, with the system's own tar.
fn packed(folder: &Path, names: &[&str], archive: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--format=ustar", "--blocking-factor=1", "-C"]);
    succeed(tar.arg(folder).arg("-cf").arg(archive).args(names));
}

/// Nothing is in the folder but the files that were put there.
fn holds_only(folder: &Path, names: &[&str]) {
    let mut is: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    is.sort();
    assert_eq!(is, names);
}

#[test]
fn a_changed_or_cut_backup_leaves_nothing() {
    let (_hub, out) = taken();
    let good = std::fs::read(&out).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (bad, data) = (dir.path().join("bad"), dir.path().join("hub"));
    let manifest = place(&good, "backup/manifest.json");
    let digest = place(&good, "backup/manifest.sha256");
    let places = [
        (0, "checksum"),
        (place(&good, "hub.sqlite") + 100, "hub.sqlite"),
        (place(&good, "log/"), "log/"),
        (manifest + 3, "manifest"),
        (digest + 3, "manifest"),
        (digest + 400, "between two entries"),
        (good.len() - 1, "behind its end"),
    ];
    for (at, words) in places {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&bad, bytes).unwrap();
        let words = ["can't be restored", words, "nothing was restored"];
        refused(restore(&bad, &data), &words);
        holds_only(dir.path(), &["bad"]);
    }
    for length in [1, 512, place(&good, "log/") + 5, manifest, good.len() - 512] {
        std::fs::write(&bad, &good[..length]).unwrap();
        refused(restore(&bad, &data), &["cut off", "nothing was restored"]);
        holds_only(dir.path(), &["bad"]);
    }
    std::fs::write(&bad, [&good[..], &[0; 512]].concat()).unwrap();
    refused(restore(&bad, &data), &["behind its end"]);
    holds_only(dir.path(), &["bad"]);
}

#[test]
fn what_was_never_a_backup_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("file"), dir.path().join("hub"));
    for (content, words) in [
        (Vec::new(), "cut off"),
        (b"SQLite format 3\0".repeat(100), "no entry's head"),
        (vec![0; 1024], "is it a backup?"),
    ] {
        std::fs::write(&file, content).unwrap();
        refused(restore(&file, &data), &["can't be restored", words]);
    }
    // A good archive, but of something else.
    std::fs::write(dir.path().join("hub.sqlite"), "x").unwrap();
    packed(dir.path(), &["hub.sqlite"], &file);
    refused(restore(&file, &data), &["is it a backup?"]);
    refused(restore(&dir.path().join("nowhere"), &data), &["nowhere"]);
    holds_only(dir.path(), &["file", "hub.sqlite"]);
}

#[test]
fn a_backup_of_a_later_format_says_which_version_reads_it() {
    let (_hub, out) = taken();
    let dir = tempfile::tempdir().unwrap();
    let unpacked = dir.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let mut tar = Command::new("tar");
    succeed(tar.arg("-C").arg(&unpacked).arg("-xf").arg(&out));
    // What an operator's own tar reads is the data folder.
    assert!(unpacked.join("hub.sqlite").is_file());
    let manifest = unpacked.join("backup/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let later = text.replace("\"format\": 1", "\"format\": 2");
    assert_ne!(later, text);
    std::fs::write(&manifest, later).unwrap();
    let digest = succeed(Command::new("sha256sum").arg(&manifest));
    std::fs::write(unpacked.join("backup/manifest.sha256"), &digest[..64]).unwrap();
    let file = dir.path().join("later.backup");
    packed(
        &unpacked,
        &["backup/manifest.json", "backup/manifest.sha256"],
        &file,
    );
    let data = dir.path().join("hub");
    refused(restore(&file, &data), &["format 2", "nothing was restored"]);
    assert!(!data.exists());
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let (hub, out) = taken();
    let good = std::fs::read(&out).unwrap();
    let again = ["exists", "never written over"];
    refused(backup(&hub.data(), &out), &again);
    assert_eq!(std::fs::read(&out).unwrap(), good);

    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("hub");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("somebody's"), "work").unwrap();
    refused(restore(&out, &data), &["is not empty"]);
    holds_only(&data, &["somebody's"]);
    // Also not the data of the hub itself.
    refused(restore(&out, &hub.data()), &["is not empty"]);
    holds_only(dir.path(), &["hub"]);

    // Nor is a folder taken for a hub that is none.
    let none = dir.path().join("none");
    std::fs::create_dir(&none).unwrap();
    let file = dir.path().join("none.backup");
    refused(backup(&none, &file), &["no hub's data directory"]);
    refused(backup(&dir.path().join("nowhere"), &file), &["nowhere"]);
    let nowhere = dir.path().join("no/such/folder/hub.backup");
    refused(backup(&hub.data(), &nowhere), &["no/such/folder"]);
    holds_only(dir.path(), &["hub", "none"]);
}
