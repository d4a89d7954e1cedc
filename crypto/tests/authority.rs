//! The fleet authority: what it issues, and what it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use stencil_crypto::authority::{Algorithm, Authority, Error, LEAF_DAYS, Subject, Validity};
use x509_parser::prelude::{FromDer, X509Certificate};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_opened_again_and_goes_on_issuing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("authority");
    let created = Authority::create(&dir, "Acme fleet").unwrap();
    let opened = Authority::open(&dir).unwrap();
    assert_eq!(opened.root_pem(), created.root_pem());
    assert_eq!(opened.classical_root_pem(), created.classical_root_pem());

    // What the opened one issues verifies under the root that the first one made.
    let issued = opened.issue_device("acme", "freezer-07").unwrap();
    let roots = stencil_crypto::tls::Roots::from_pem(created.root_pem()).unwrap();
    let identity =
        stencil_crypto::tls::Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap();
    stencil_crypto::tls::client(stencil_crypto::tls::Policy::Strict, &roots, Some(&identity))
        .unwrap();
    let subject = Subject::Device {
        tenant: "acme".to_owned(),
        device: "freezer-07".to_owned(),
    };
    assert_eq!(Subject::of(&issued.certificate_der).unwrap(), subject);
}

#[test]
fn keys_are_readable_by_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("authority");
    let authority = Authority::create(&dir, "Acme fleet").unwrap();
    assert_eq!(mode(&dir), 0o700);
    let issued = authority.issue_gateway("acme", "gw-1").unwrap();
    issued
        .write(dir.join("gw.pem"), dir.join("gw.key"))
        .unwrap();
    for secret in ["root.key", "classical-root.key", "gw.key", "issued.log"] {
        assert_eq!(mode(&dir.join(secret)), 0o600, "{secret}");
    }
    for public in ["root.pem", "classical-root.pem", "gw.pem"] {
        assert_eq!(mode(&dir.join(public)), 0o644, "{public}");
    }
}

#[test]
fn an_exposed_root_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Authority::create(dir.path(), "Acme fleet").unwrap();
    let key = dir.path().join("root.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Authority::open(dir.path()).err().unwrap().to_string();
    assert!(
        refused.contains("root.key") && refused.contains("chmod 600"),
        "{refused}"
    );
}

#[test]
fn an_authority_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    Authority::create(dir.path(), "Acme fleet").unwrap();
    let before = std::fs::read(dir.path().join("root.key")).unwrap();
    assert!(matches!(
        Authority::create(dir.path(), "Other"),
        Err(Error::Exists(_))
    ));
    assert_eq!(std::fs::read(dir.path().join("root.key")).unwrap(), before);
    // Half of one counts too: its key may be the only copy.
    std::fs::remove_file(dir.path().join("root.pem")).unwrap();
    assert!(matches!(
        Authority::create(dir.path(), "Other"),
        Err(Error::Exists(_))
    ));
}

#[test]
fn a_root_with_the_key_of_another_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Authority::create(one.path(), "One").unwrap();
    Authority::create(other.path(), "Other").unwrap();
    std::fs::copy(other.path().join("root.key"), one.path().join("root.key")).unwrap();
    let refused = Authority::open(one.path()).err().unwrap().to_string();
    assert!(
        refused.contains("its key belongs to another certificate"),
        "{refused}"
    );
    std::fs::copy(
        one.path().join("classical-root.key"),
        one.path().join("root.key"),
    )
    .unwrap();
    let refused = Authority::open(one.path()).err().unwrap().to_string();
    assert!(refused.contains("its key is no ML-DSA-65 key"), "{refused}");
}

#[test]
fn serial_numbers_differ_and_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path(), "Acme fleet").unwrap();
    let mut serials = BTreeSet::new();
    for n in 0..5 {
        let issued = authority.issue_gateway("acme", &format!("gw-{n}")).unwrap();
        let (_, certificate) = X509Certificate::from_der(&issued.certificate_der).unwrap();
        assert_eq!(hex::encode(certificate.raw_serial()), issued.serial);
        assert_eq!(issued.serial.len(), 32);
        serials.insert(issued.serial);
    }
    assert_eq!(serials.len(), 5);
    authority.issue_server(&["hub.example"]).unwrap();

    let log = std::fs::read_to_string(dir.path().join("issued.log")).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 6);
    assert!(
        lines[4].ends_with(" stencil:tenant/acme/gateway/gw-4"),
        "{log}"
    );
    assert!(lines[5].ends_with(" server:hub.example"), "{log}");
    assert!(serials.iter().all(|serial| log.contains(serial.as_str())));
}

#[test]
fn certificates_say_what_they_are_for() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path(), "Acme fleet").unwrap();
    let gateway = authority.issue_gateway("acme", "gw-1").unwrap();
    let (_, gateway) = X509Certificate::from_der(&gateway.certificate_der).unwrap();
    assert!(!gateway.is_ca());
    assert!(
        gateway
            .key_usage()
            .unwrap()
            .unwrap()
            .value
            .digital_signature()
    );
    let usage = gateway.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);

    let hub = authority
        .issue_server(&["hub.example", "127.0.0.1", "::1"])
        .unwrap();
    let (_, hub) = X509Certificate::from_der(&hub.certificate_der).unwrap();
    let usage = hub.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    assert_eq!(
        hub.subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .len(),
        3
    );

    // A hub's certificate names no gateway or device.
    let hub = authority.issue_server(&["hub.example"]).unwrap();
    assert!(matches!(
        Subject::of(&hub.certificate_der),
        Err(Error::NoSubject(_))
    ));
}

#[test]
fn a_certificate_ends_with_its_root_at_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let short = Validity::days_from(SystemTime::now(), 10);
    let authority = Authority::create_with(dir.path(), "Acme fleet", short).unwrap();
    let issued = authority.issue_gateway("acme", "gw-1").unwrap();
    assert_eq!(issued.validity.not_after_s(), short.not_after_s());
    const { assert!(LEAF_DAYS > 10) };
    // Also when it was opened anew, from the certificate itself.
    let issued = Authority::open(dir.path())
        .unwrap()
        .issue_gateway("acme", "gw-1")
        .unwrap();
    assert_eq!(issued.validity.not_after_s(), short.not_after_s());

    let (_, certificate) = X509Certificate::from_der(&issued.certificate_der).unwrap();
    let not_after = u64::try_from(certificate.validity().not_after.timestamp()).unwrap();
    assert_eq!(not_after, short.not_after_s());

    let later = Validity::between(short.not_after_s() + 1, short.not_after_s() + 2).unwrap();
    let subject = Subject::parse("stencil:tenant/acme/gateway/gw-1").unwrap();
    let refused = authority.issue(&subject, later).err().unwrap();
    assert!(
        refused
            .to_string()
            .contains("the authority must be renewed"),
        "{refused}"
    );
}

#[test]
fn names_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", "line\nbreak", &"x".repeat(65), "é"] {
        assert!(matches!(
            Authority::create(dir.path().join("a"), name),
            Err(Error::Name(_))
        ));
    }
    let authority = Authority::create(dir.path(), "Acme fleet").unwrap();
    for (tenant, gateway) in [
        ("acme/gateway/x", "gw"),
        ("acme", "a/b"),
        ("", "gw"),
        ("a", " "),
    ] {
        assert!(matches!(
            authority.issue_gateway(tenant, gateway),
            Err(Error::Id(_))
        ));
    }
    for name in ["", "not a name", "-x-.example", "https://hub.example"] {
        let refused = authority.issue_server_with(
            &["hub.example", name],
            Algorithm::MlDsa65,
            Validity::days_from(SystemTime::now(), 1),
        );
        assert!(matches!(refused, Err(Error::ServerName(_))), "{name}");
    }
    assert!(matches!(
        authority.issue_server::<&str>(&[]),
        Err(Error::NoServerName)
    ));
    // Nothing was issued, so nothing is noted.
    assert!(!dir.path().join("issued.log").exists());
}

#[test]
fn a_file_in_the_place_of_its_folder_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authority");
    std::fs::write(&file, "notes").unwrap();
    for tried in [
        Authority::create(&file, "Acme fleet"),
        Authority::open(&file),
    ] {
        let error = tried.err().unwrap().to_string();
        assert!(error.contains("authority is no folder"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"notes");
}
