//! A disk that is full before a backup, or what is restored from it, is whole.

use crate::support::{Hub, SmallDisk, succeed};
use crate::{backup, refused, restore};

#[test]
fn a_full_disk_is_told_and_nothing_half_stays() {
    let mut hub = Hub::start(&[]);
    assert!(hub.stop().success());
    let good = hub.dir.path().join("hub.backup");
    succeed(&mut backup(&hub.data(), &good));
    let whole = good.metadata().unwrap().len() / 1024;
    let store = hub.data().join("hub.sqlite").metadata().unwrap().len() / 1024;
    assert!(
        store * 2 > whole,
        "the archive is hardly more than the store"
    );

    let dir = tempfile::tempdir().unwrap();
    // Room for less than the store's copy, and for that but not for the archive.
    for (kib, words) in [
        (store / 2, &["store: ", "full"]),
        (store.midpoint(whole), &["hub.backup", "No space left"]),
    ] {
        let at = dir.path().join(format!("disk-{kib}"));
        let Some(disk) = SmallDisk::mount(&at, u32::try_from(kib).unwrap()) else {
            return;
        };
        let command = disk.enter(&backup(&hub.data(), &at.join("hub.backup")));
        refused(command, words);
        assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0);

        let command = disk.enter(&restore(&good, &at.join("hub")));
        refused(command, &["No space left"]);
        assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0);
    }
}
