//! The successor of a hub's certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, SystemTime};

use stencil_crypto::authority::{Algorithm, Authority, Issued, LEAF_DAYS, Validity};
use stencil_crypto::tls::{Identity, Policy, Roots, ServerIdentity, server};
use x509_parser::prelude::{FromDer, X509Certificate};

const NAMES: [&str; 4] = ["hub.example", "localhost", "127.0.0.1", "::1"];

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn issue(authority: &Authority, algorithm: Algorithm, validity: Validity) -> Issued {
    authority
        .issue_server_with(&NAMES, algorithm, validity)
        .unwrap()
}

#[test]
fn it_is_for_the_same_names_and_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path().join("authority"), "Acme fleet").unwrap();
    let now = SystemTime::now();
    for algorithm in [Algorithm::MlDsa65, Algorithm::EcdsaP256] {
        let old = issue(&authority, algorithm, Validity::days_from(now, 30));
        let renewed = authority
            .renew_server(&old.certificate_der, now)
            .unwrap()
            .unwrap();
        assert_eq!(renewed.validity.days_left(now), u64::from(LEAF_DAYS));
        assert_ne!(renewed.serial, old.serial);
        let noted = std::fs::read_to_string(dir.path().join("authority/issued.log")).unwrap();
        assert!(noted.contains(&renewed.serial), "{noted}");

        let identity = Identity::from_pem(&renewed.chain_pem, &old.key_pem).unwrap();
        let der = identity.chain()[0].clone();
        let (_, new) = X509Certificate::from_der(&der).unwrap();
        let (_, old) = X509Certificate::from_der(&old.certificate_der).unwrap();
        assert_eq!(new.public_key().raw, old.public_key().raw);
        assert_eq!(new.issuer(), old.issuer());
        assert_eq!(new.subject(), old.subject());
        assert_eq!(
            new.subject_alternative_name().unwrap().unwrap().value,
            old.subject_alternative_name().unwrap().unwrap().value
        );
        assert_eq!(
            Validity::of(&der).unwrap().not_after_s(),
            renewed.validity.not_after_s()
        );
        // Certificate and key are still one identity: a listener takes them.
        let roots = Roots::from_pem(authority.root_pem()).unwrap();
        let issued = authority.issue_server(&NAMES).unwrap();
        let (post_quantum, classical) = match algorithm {
            Algorithm::MlDsa65 => (identity, None),
            Algorithm::EcdsaP256 => {
                let other = Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap();
                (other, Some(identity))
            }
        };
        let identity = ServerIdentity {
            post_quantum,
            classical,
        };
        server(Policy::Prefer, &identity, &roots).unwrap();
    }
}

#[test]
fn there_is_none_where_it_would_be_no_gain() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let root = Validity::days_from(now, 40);
    let authority = Authority::create_with(dir.path().join("a"), "Acme fleet", root).unwrap();
    let other = Authority::create(dir.path().join("b"), "Acme fleet").unwrap();
    // It ends with its root already.
    let ours = issue(&authority, Algorithm::MlDsa65, Validity::days_from(now, 50));
    let none = authority.renew_server(&ours.certificate_der, now).unwrap();
    assert!(none.is_none(), "{none:?}");
    // Another authority's, though of the same name.
    let theirs = issue(&other, Algorithm::MlDsa65, Validity::days_from(now, 5));
    let none = authority
        .renew_server(&theirs.certificate_der, now)
        .unwrap();
    assert!(none.is_none(), "{none:?}");
    assert!(authority.renew_server(b"no certificate", now).is_err());
    let after_the_root = now + days(41);
    let error = authority.renew_server(&ours.certificate_der, after_the_root);
    assert!(error.is_err(), "{error:?}");
}
