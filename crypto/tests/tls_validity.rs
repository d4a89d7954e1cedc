//! Certificates out of date are refused, on either side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fleet;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet::{Fleet, HUB, Refused, connect, identity};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, Error};
use stencil_crypto::authority::{Algorithm, Subject, Validity};
use stencil_crypto::tls::{self, Policy, ServerIdentity};

#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A connection at `at_s`, between a gateway and a hub with certificates for these times.
fn connect_at(at_s: u64, gateway: Validity, hub: Validity) -> Result<(), Refused> {
    let fleet = Fleet::new();
    let subject = Subject::parse("stencil:tenant/acme/gateway/gw-1").unwrap();
    let gateway = identity(&fleet.authority.issue(&subject, gateway).unwrap());
    let hub = fleet
        .authority
        .issue_server_with(&[HUB], Algorithm::MlDsa65, hub)
        .unwrap();
    let hub = ServerIdentity {
        post_quantum: identity(&hub),
        classical: None,
    };
    let clock = Arc::new(At(at_s));
    let server = tls::server_at(Policy::Strict, &hub, &fleet.roots(), clock.clone()).unwrap();
    let client = tls::client_at(Policy::Strict, &fleet.roots(), Some(&gateway), clock).unwrap();
    connect(&client, &server).map(|_| ())
}

fn days(days: u32) -> Validity {
    Validity::days_from(SystemTime::now(), days)
}

#[test]
fn in_date_on_both_sides() {
    connect_at(now_s(), days(2), days(2)).unwrap();
}

#[test]
fn an_expired_gateway() {
    let refused = connect_at(now_s() + 3 * 86_400, days(2), days(30)).unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Server(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. }
            ))
        ),
        "{refused:?}"
    );
}

#[test]
fn an_expired_hub() {
    let refused = connect_at(now_s() + 3 * 86_400, days(30), days(2)).unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Client(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. }
            ))
        ),
        "{refused:?}"
    );
}

#[test]
fn a_gateway_that_is_not_valid_yet() {
    let later = Validity::between(now_s() + 86_400, now_s() + 2 * 86_400).unwrap();
    let refused = connect_at(now_s(), later, days(2)).unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Server(Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
            ))
        ),
        "{refused:?}"
    );
}
