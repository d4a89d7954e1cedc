//! Keys that follow others: taken only when those before have signed them, never back, and moved
//! without a moment in which two folders could sign with one LMS key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use stencil_update::signing::{self, Keys};
use stencil_update::succession::{Chain, Error, Succession};
use stencil_update::trust::Trust;
use support::header;

const CHILD: &str = "STENCIL_SUCCESSION_TEST_CHILD";
const SIGKILL: i32 = 9;

struct Folders(tempfile::TempDir);

impl Folders {
    fn with_first() -> Self {
        let folders = Self(tempfile::tempdir().unwrap());
        drop(Keys::generate(&folders.of("a")).unwrap());
        folders
    }

    fn of(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn trust(&self, name: &str) -> Trust {
        signing::read_trust(&self.of(name).join("trust.keys")).unwrap()
    }

    /// The keys of `new` follow those of `old`.
    fn succeed(&self, old: &str, new: &str) -> Succession {
        let (keys, succession) = signing::succeed(&self.of(old), &self.of(new), true).unwrap();
        assert_eq!(keys.trust(), succession.claims());
        let text = std::fs::read_to_string(self.of(new).join("succession")).unwrap();
        assert_eq!(Succession::from_text(&text).unwrap(), succession);
        succession
    }
}

#[test]
fn keys_follow_one_another_and_none_comes_back() {
    let folders = Folders::with_first();
    let (a, first) = (folders.trust("a"), folders.succeed("a", "b"));
    let (b, second) = (folders.trust("b"), folders.succeed("b", "c"));
    let c = folders.trust("c");
    assert_eq!((a.lms(), a.lms()), (b.lms(), c.lms()), "devices know it");
    assert_ne!(a.key_ids(), b.key_ids());

    let mut chain = Chain::new(a.clone());
    let skipped = chain.take(second.clone()).unwrap_err();
    assert!(matches!(skipped, Error::Before { .. }), "{skipped}");
    chain.take(first.clone()).unwrap();
    let again = chain.take(first.clone()).unwrap_err();
    assert!(matches!(again, Error::Before { .. }), "{again}");
    chain.take(second).unwrap();
    assert_eq!((chain.now(), chain.len()), (&c, 2));

    // What it writes leads there again; from keys that were set by hand it goes on, not back.
    let text = chain.to_text();
    for (root, length) in [(&a, 2), (&b, 1), (&c, 0)] {
        let followed = Chain::follow(root.clone(), &text).unwrap();
        assert_eq!((followed.now(), followed.len()), (&c, length));
    }
    let other = Folders::with_first().trust("a");
    let followed = Chain::follow(other.clone(), &text).unwrap();
    assert_eq!(followed.now(), &other);
    assert!(Chain::follow(a.clone(), &text[..text.len() - 9]).is_err());
    assert!(Chain::follow(a.clone(), "nonsense").is_err());
    assert_eq!(Chain::follow(a.clone(), "").unwrap().now(), &a);

    // Who held `c` cannot lead back to keys that were left.
    let text = std::fs::read_to_string(folders.of("c/succession")).unwrap();
    let forged = text.replace(&hex::encode(b.digest()), &hex::encode(c.digest()));
    let forged = Succession::from_text(&forged).unwrap();
    let refused = chain.take(forged).unwrap_err();
    assert!(matches!(refused, Error::Back | Error::Signature { .. }));
    assert_eq!(chain.now(), &c);
}

#[test]
fn a_cycle_is_noticed_although_it_is_signed() {
    let folders = Folders::with_first();
    let first = folders.succeed("a", "b");
    // By hand, with the keys that are there: b signs a.
    std::fs::create_dir(folders.of("back")).unwrap();
    for file in ["ed25519.key", "ml-dsa-65.key", "trust.keys"] {
        std::fs::copy(folders.of("a").join(file), folders.of("back").join(file)).unwrap();
    }
    let (_, back) = signing::succeed(&folders.of("b"), &folders.of("back"), true).unwrap();
    back.verify(&folders.trust("b")).unwrap();
    let mut chain = Chain::new(folders.trust("a"));
    chain.take(first).unwrap();
    assert_eq!(chain.take(back), Err(Error::Back));
    assert_eq!(chain.now(), &folders.trust("b"));
}

#[test]
fn whatever_is_altered_or_signed_by_others_is_refused() {
    let folders = Folders::with_first();
    let a = folders.trust("a");
    let succession = folders.succeed("a", "b");
    let text = succession.to_text();
    let digits: Vec<usize> = text
        .char_indices()
        .filter(|(at, it)| it.is_ascii_hexdigit() && text[..*at].contains('\n'))
        .map(|(at, _)| at)
        .collect();
    for at in digits.into_iter().step_by(37) {
        let mut altered = text.clone().into_bytes();
        altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
        let altered = String::from_utf8(altered).unwrap();
        let taken = Succession::from_text(&altered).and_then(|it| it.verify(&a).map(|_| ()));
        assert!(taken.is_err(), "byte {at}");
    }
    // Each signature by itself is not enough, and no line may be missing or there twice.
    let others = Folders::with_first();
    let strange = others.succeed("a", "b").to_text();
    for line in ["signed-ed25519 ", "signed-ml-dsa-65 "] {
        let of = |text: &str| {
            let found = text.lines().find(|it| it.starts_with(line));
            found.unwrap().to_owned()
        };
        let mixed = text.replace(&of(&text), &of(&strange));
        let refused = Succession::from_text(&mixed).unwrap();
        let refused = refused.verify(&a).unwrap_err();
        assert!(matches!(refused, Error::Signature { .. }), "{refused}");
        let without = text.replace(&of(&text), "");
        assert!(matches!(
            Succession::from_text(&without),
            Err(Error::Line { .. })
        ));
        let twice = format!("{text}{}\n", of(&text));
        assert!(matches!(
            Succession::from_text(&twice),
            Err(Error::Line { .. } | Error::TooLong)
        ));
    }
    let strange = Succession::from_text(&strange).unwrap();
    assert!(matches!(strange.verify(&a), Err(Error::Before { .. })));
    assert_eq!(
        Succession::from_text(&"x".repeat(20_000)),
        Err(Error::TooLong)
    );
}

#[test]
fn the_lms_key_goes_over_and_the_old_folder_signs_no_more() {
    let folders = Folders::with_first();
    let before = folders.trust("a");
    let mut keys = Keys::open(&folders.of("a")).unwrap();
    assert_eq!(keys.sign(&header()).unwrap().lms_leaf(), 0);
    let locked = signing::succeed(&folders.of("a"), &folders.of("b"), true);
    assert!(locked.is_err(), "two processes may not have it at once");
    drop(keys);
    std::fs::remove_dir_all(folders.of("b")).ok();
    let (mut keys, succession) =
        signing::succeed(&folders.of("a"), &folders.of("b"), true).unwrap();
    let signed = keys.sign(&header()).unwrap();
    assert_eq!(signed.lms_leaf(), 1, "no leaf is used twice");
    assert!(signed.clone().verify(&before).is_err());
    signed.verify(succession.claims()).unwrap();
    assert!(Keys::open(&folders.of("a")).is_err());
    // Not over keys that are there.
    drop(keys);
    let exists = signing::succeed(&folders.of("b"), &folders.of("b"), true);
    assert!(exists.is_err());
    // With a new LMS key the old one stays.
    let (keys, _) = signing::succeed(&folders.of("b"), &folders.of("c"), false).unwrap();
    assert_ne!(keys.trust().lms(), before.lms());
    drop(Keys::open(&folders.of("b")).unwrap());
    // Keys that are there may follow, too; none follow themselves.
    drop(keys);
    let (_, there) = signing::succeed(&folders.of("b"), &folders.of("c"), false).unwrap();
    there.verify(&folders.trust("b")).unwrap();
    assert!(signing::succeed(&folders.of("b"), &folders.of("b"), false).is_err());
}

/// This very test, in a process of its own: lets keys follow.
#[test]
fn child() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = Path::new(&folder);
        signing::succeed(&folder.join("a"), &folder.join("b"), true).unwrap();
    }
}

#[test]
fn killed_before_or_after_the_move_it_goes_on_and_one_folder_signs() {
    for (point, in_old) in [("before_move", true), ("moved", false)] {
        let folders = Folders::with_first();
        let before = folders.trust("a");
        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--quiet"])
            .env(CHILD, folders.0.path())
            .env(stencil_crashpoint::VARIABLE, format!("update.{point}:1"))
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(SIGKILL), "{killed:?}");
        let whole = |name: &str| Keys::open(&folders.of(name)).is_ok();
        assert_eq!((whole("a"), whole("b")), (in_old, !in_old), "{point}");
        if in_old {
            folders.succeed("a", "b");
        }
        let text = std::fs::read_to_string(folders.of("b/succession")).unwrap();
        let succession = Succession::from_text(&text).unwrap();
        assert_eq!(succession.verify(&before).unwrap(), &folders.trust("b"));
        let mut keys = Keys::open(&folders.of("b")).unwrap();
        keys.sign(&header()).unwrap();
        assert!(!whole("a"), "{point}");
    }
}
