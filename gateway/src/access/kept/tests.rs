#[path = "../../../../core/access/tests/fixture/mod.rs"]
mod fixture;

use fixture::{BIT, HOUR_US, ISSUER, Issuer, NOW_US, REVOKED, SUSPENDED, acme};
use stencil_access::trust::Policy;
use stencil_identity::status::Purpose;

use super::*;

const SECOND_US: i64 = 1_000_000;

fn revoking(issuer: &Issuer, bits: &[usize], made_us: i64) -> Told {
    Told::List(issuer.list(REVOKED, Purpose::Revocation, bits, made_us))
}

fn suspending(issuer: &Issuer, made_us: i64) -> Told {
    Told::List(issuer.list(SUSPENDED, Purpose::Suspension, &[], made_us))
}

fn terms(issuer: &Issuer) -> Told {
    Told::Terms(issuer.terms(Policy::default()))
}

/// When the list of what is revoked was made that is gone by, now and after a start.
fn made_us(kept: &Kept, folder: &Path) -> Option<i64> {
    let of = |kept: &Kept| kept.trust().and_then(|trust| trust.made_us(REVOKED));
    let again = Kept::read(folder);
    assert_eq!(of(kept), of(&again));
    assert_eq!(kept.lists, again.lists);
    of(kept)
}

#[test]
fn a_list_never_goes_back_also_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kept, acme) = (Kept::default(), acme());
    let early = kept.take(dir.path(), revoking(&acme, &[], NOW_US), Some(NOW_US));
    assert!(matches!(early, Err(Error::Early)));
    let newer = revoking(&acme, &[BIT], NOW_US);
    for told in [terms(&acme), newer.clone(), terms(&acme), newer] {
        kept.take(dir.path(), told, Some(NOW_US)).unwrap();
    }
    let older = revoking(&acme, &[], NOW_US - HOUR_US);
    for mut kept in [kept, Kept::read(dir.path())] {
        // Nor where nobody knows what time it is.
        for now_us in [Some(NOW_US), None] {
            let back = kept.take(dir.path(), older.clone(), now_us);
            let is_older =
                matches!(&back, Err(Error::Trust(trust::Error::Older(url))) if url == REVOKED);
            assert!(is_older, "{back:?}");
            assert_eq!(made_us(&kept, dir.path()), Some(NOW_US));
        }
    }
}

#[test]
fn a_list_of_a_time_that_is_yet_to_come_holds_none_off() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kept, acme) = (Kept::default(), acme());
    let ahead_us = NOW_US + 8_760 * HOUR_US;
    for told in [terms(&acme), revoking(&acme, &[], ahead_us)] {
        kept.take(dir.path(), told, Some(ahead_us)).unwrap();
    }
    let right = revoking(&acme, &[BIT], NOW_US);
    kept.take(dir.path(), right, Some(NOW_US)).unwrap();
    assert_eq!(made_us(&kept, dir.path()), Some(NOW_US));
    // Within the tolerance its clock may be the one that is wrong.
    let near = revoking(&acme, &[BIT], NOW_US + 120 * SECOND_US);
    kept.take(dir.path(), near, Some(NOW_US)).unwrap();
    let back = kept.take(dir.path(), revoking(&acme, &[], NOW_US), Some(NOW_US));
    assert!(back.is_err());
    // What nobody has signed lets go of none.
    let forged = revoking(&Issuer::new(ISSUER, 8), &[], NOW_US);
    assert!(kept.take(dir.path(), forged, Some(0)).is_err());
    assert_eq!(made_us(&kept, dir.path()), Some(NOW_US + 120 * SECOND_US));
}

#[test]
fn new_keys_of_the_same_issuer_are_taken_though_they_have_not_signed_the_lists_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kept, acme) = (Kept::default(), acme());
    for told in [
        terms(&acme),
        revoking(&acme, &[BIT], NOW_US),
        suspending(&acme, NOW_US),
    ] {
        kept.take(dir.path(), told, Some(NOW_US)).unwrap();
    }
    // Its hub was restored from before its tenant's first credential: another seed under the same name.
    let anew = Issuer::new(ISSUER, 8);
    kept.take(dir.path(), terms(&anew), Some(NOW_US)).unwrap();
    assert_eq!(made_us(&kept, dir.path()), None);
    assert!(kept.lists.is_empty());
    let old = kept.take(dir.path(), revoking(&acme, &[], NOW_US), Some(NOW_US));
    assert!(matches!(old, Err(Error::Trust(trust::Error::List { .. }))));
    // Also where it was made before the one that was there.
    let first_us = NOW_US - HOUR_US;
    for told in [revoking(&anew, &[], first_us), suspending(&anew, first_us)] {
        kept.take(dir.path(), told, Some(NOW_US)).unwrap();
    }
    assert_eq!(made_us(&kept, dir.path()), Some(first_us));
    let trust = kept.trust().unwrap();
    assert!(trust.admits_until_us().is_some());
    assert_eq!(trust.terms(), &anew.terms(Policy::default()));
}
