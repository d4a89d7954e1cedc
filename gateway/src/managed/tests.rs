use stencil_crypto::seal::{PublicKey, Sealer};
use stencil_protocol::keys::{Entry, SealedKey};

use super::*;

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn psk(fill: u8) -> Psk {
    Psk::from_bytes([fill; 32]).unwrap()
}

fn open(folder: &Path) -> Managed {
    let tenant = TenantId::parse("acme").unwrap();
    Managed::open(folder, tenant, GatewayId::parse("gw-1").unwrap()).unwrap()
}

/// What a hub sends: device, identity, keys by their fill.
fn update(to: &Managed, epoch: u64, span: (u64, u64), entries: &[(&str, &str, &[u8])]) -> Vec<u8> {
    piece(to, epoch, span, span.1, entries)
}

/// The same, where more may follow: up to revision `last`.
fn piece(
    to: &Managed,
    epoch: u64,
    span: (u64, u64),
    last: u64,
    entries: &[(&str, &str, &[u8])],
) -> Vec<u8> {
    let key = to.holds(true).public_key.unwrap();
    let key = PublicKey::from_slice(&key).unwrap();
    let mut sealer = Sealer::new(&key, Purpose::Delivery, &mut rng::Os).unwrap();
    let entries = entries.iter().map(|(device, identity, fills)| Entry {
        device: id(device),
        identity: id(identity),
        keys: fills
            .iter()
            .map(|fill| SealedKey {
                generation: u64::from(*fill),
                sealed: sealer
                    .seal(
                        Place {
                            tenant: "acme",
                            gateway: "gw-1",
                            device,
                            generation: u64::from(*fill),
                        },
                        &psk(*fill),
                    )
                    .unwrap(),
            })
            .collect(),
    });
    let entries = entries.collect();
    let update = Update {
        epoch,
        after: span.0,
        through: span.1,
        encapsulated: sealer.encapsulated().to_vec(),
        entries,
        last,
    };
    update.encode().unwrap()
}

fn keys(managed: &Managed, identity: &str) -> Option<(String, Vec<u64>)> {
    match managed.said(&id(identity)) {
        Said::Known { device, keys } => {
            for (generation, key) in &keys {
                assert_eq!(*key, psk(u8::try_from(*generation).unwrap()));
            }
            let generations = keys.iter().map(|(generation, _)| *generation);
            Some((device.to_string(), generations.collect()))
        }
        Said::Gone | Said::Mapped | Said::Nothing => None,
    }
}

#[test]
fn what_the_hub_gives_is_there_after_a_restart_and_what_it_takes_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let managed = open(folder.path());
    let first = update(
        &managed,
        7,
        (0, 2),
        &[("a", "a", &[1]), ("b", "sn-2", &[1, 2])],
    );
    let mut changed = managed.apply(&first).unwrap();
    changed.sort();
    assert_eq!(changed, [id("a"), id("b")]);
    assert!(managed.apply(&first).unwrap().is_empty(), "known already");

    let managed = open(folder.path());
    assert_eq!(managed.holds(false).revision, 2);
    assert_eq!(keys(&managed, "a"), Some(("a".into(), vec![1])));
    assert_eq!(keys(&managed, "sn-2"), Some(("b".into(), vec![1, 2])));
    // The name itself opens nothing: other hardware has it.
    assert!(matches!(managed.said(&id("b")), Said::Gone));
    assert!(matches!(managed.said(&id("c")), Said::Nothing));

    let gap = update(&managed, 7, (5, 6), &[("a", "a", &[])]);
    assert!(
        managed.apply(&gap).unwrap().is_empty(),
        "something is missing"
    );
    let taken = update(&managed, 7, (2, 3), &[("a", "a", &[])]);
    assert_eq!(managed.apply(&taken).unwrap(), [id("a")]);
    let managed = open(folder.path());
    assert!(matches!(managed.said(&id("a")), Said::Gone));
    assert_eq!(managed.len(), 1);
    assert_eq!(managed.holds(false).revision, 3);
}

#[test]
fn an_older_key_is_let_go_when_the_newer_one_was_used() {
    let folder = tempfile::tempdir().unwrap();
    let managed = open(folder.path());
    let both = update(&managed, 7, (0, 1), &[("a", "a", &[1, 2])]);
    managed.apply(&both).unwrap();
    assert_eq!(managed.newer(&id("a"), 1).unwrap().0, 2);
    assert!(managed.newer(&id("a"), 2).is_none());
    assert!(!managed.used(&id("a"), 1).unwrap());
    assert!(managed.used(&id("a"), 2).unwrap());
    assert!(!managed.used(&id("a"), 2).unwrap(), "said once");
    assert_eq!(keys(&open(folder.path()), "a"), Some(("a".into(), vec![2])));
}

#[test]
fn another_list_takes_the_place_of_the_one_before_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let managed = open(folder.path());
    let first = update(&managed, 7, (0, 5), &[("a", "a", &[1])]);
    managed.apply(&first).unwrap();
    let middle = update(&managed, 8, (1, 2), &[("b", "b", &[1])]);
    assert!(managed.apply(&middle).unwrap().is_empty());
    let begins = update(&managed, 8, (0, 1), &[("b", "b", &[1])]);
    assert_eq!(managed.apply(&begins).unwrap().len(), 2);
    assert!(matches!(managed.said(&id("a")), Said::Nothing));
    assert_eq!(keys(&managed, "b"), Some(("b".into(), vec![1])));
}

/// A hub that was restored gives the list another name and sends all of it, in pieces.
#[test]
fn another_list_shuts_nobody_out_while_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let managed = open(folder.path());
    let all: [(&str, &str, &[u8]); 3] = [("a", "a", &[1]), ("b", "b", &[2, 3]), ("c", "c", &[4])];
    managed.apply(&update(&managed, 7, (0, 5), &all)).unwrap();

    let first = piece(&managed, 8, (0, 1), 3, &all[..1]);
    assert!(managed.apply(&first).unwrap().is_empty());
    assert_eq!(
        (managed.holds(false).epoch, managed.holds(false).revision),
        (8, 1)
    );
    assert!(managed.apply(&first).unwrap().is_empty(), "known already");
    let gap = piece(&managed, 8, (2, 3), 3, &all[2..]);
    assert!(
        managed.apply(&gap).unwrap().is_empty(),
        "a piece is missing"
    );
    assert_eq!(keys(&managed, "b"), Some(("b".into(), vec![2, 3])));
    assert_eq!(keys(&managed, "c"), Some(("c".into(), vec![4])));
    // Killed meanwhile: what is on disk is the list before, and its name says so.
    let restarted = open(folder.path());
    assert_eq!(restarted.holds(false).epoch, 7);
    assert_eq!(keys(&restarted, "c"), Some(("c".into(), vec![4])));
    // A key that is used meanwhile is used in both.
    assert!(managed.used(&id("b"), 3).unwrap());

    let second = piece(&managed, 8, (1, 2), 3, &all[1..2]);
    assert!(managed.apply(&second).unwrap().is_empty());
    let third = piece(&managed, 8, (2, 3), 3, &[("d", "d", &[5])]);
    let mut changed = managed.apply(&third).unwrap();
    changed.sort();
    // Nothing is new for `a`: its link goes on.
    assert_eq!(changed, [id("b"), id("c"), id("d")]);
    for managed in [managed, open(folder.path())] {
        assert_eq!(keys(&managed, "a"), Some(("a".into(), vec![1])));
        assert!(matches!(managed.said(&id("c")), Said::Nothing));
        assert_eq!(keys(&managed, "d"), Some(("d".into(), vec![5])));
        assert_eq!(managed.holds(false).revision, 3);
    }
}

#[test]
fn keys_for_others_and_altered_files_are_refused_and_change_nothing() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (managed, other) = (open(folders[0].path()), open(folders[1].path()));
    let foreign = update(&other, 7, (0, 1), &[("a", "a", &[1])]);
    let error = managed.apply(&foreign).unwrap_err();
    assert!(matches!(error, Error::Sealed(_)), "{error}");
    assert_eq!(managed.holds(false).revision, 0);
    assert!(managed.apply(b"nonsense").is_err());

    let right = update(&managed, 7, (0, 1), &[("a", "a", &[1])]);
    managed.apply(&right).unwrap();
    let path = folders[0].path().join(LIST);
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let tenant = TenantId::parse("acme").unwrap();
    let gateway = GatewayId::parse("gw-1").unwrap();
    let error = Managed::open(folders[0].path(), tenant, gateway)
        .err()
        .unwrap();
    assert!(error.to_string().contains("sends the keys anew"), "{error}");
}

/// The ids that a mapping reads.
fn maps(managed: &Managed, ids: &[&str]) {
    let mapped = ids.iter().map(|name| id(name)).collect();
    managed.read_by_mapping(mapped, &managed.turn()).unwrap();
}

#[test]
fn a_key_that_comes_for_a_device_of_the_mapping_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let managed = open(folder.path());
    maps(&managed, &["a"]);
    let both = update(
        &managed,
        7,
        (0, 2),
        &[("a", "sn-1", &[1]), ("b", "b", &[2])],
    );
    managed.apply(&both).unwrap();
    assert!(matches!(managed.said(&id("sn-1")), Said::Mapped));
    assert_eq!(keys(&managed, "b"), Some(("b".into(), vec![2])));
    assert_eq!(managed.unused(), [id("a")]);
    assert!(!managed.has(&id("a")) && managed.has(&id("b")));
    assert_eq!(managed.devices(), [id("b")]);
    // The hub's list is held all the same: it is not sent again and again.
    assert_eq!(managed.holds(false).revision, 2);

    // Who came first is known after a restart, before the mapping was read.
    let look = Managed::look(folder.path()).unwrap();
    assert_eq!(look, HashSet::from([id("b")]));
    let managed = open(folder.path());
    assert!(!managed.has(&id("a")));
    maps(&managed, &["a"]);
    assert!(matches!(managed.said(&id("sn-1")), Said::Mapped));
    // With another mapping the device is let in.
    maps(&managed, &["c"]);
    assert_eq!(keys(&managed, "sn-1"), Some(("a".into(), vec![1])));
    assert!(managed.unused().is_empty());
    assert!(open(folder.path()).has(&id("a")));
}

#[test]
fn no_key_lies_on_the_disk_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let managed = open(folder.path());
    managed
        .apply(&update(&managed, 7, (0, 1), &[("a", "a", &[9])]))
        .unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(16).any(|part| part == [9; 16]));
    }
}
