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
use stencil_crypto::tls::{self, Judged, Policy, ServerIdentity};

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

/// A gateway whose certificate ended `ago_s` ago, at a hub that takes such for `grace_s`.
fn late(ago_s: u64, grace_s: u64) -> Result<(), Refused> {
    let fleet = Fleet::new();
    let subject = Subject::parse("stencil:tenant/acme/gateway/gw-1").unwrap();
    let validity = Validity::between(now_s() - ago_s - 1_000, now_s() - ago_s).unwrap();
    let gateway = identity(&fleet.authority.issue(&subject, validity).unwrap());
    let grace = Duration::from_secs(grace_s);
    let (strict, roots) = (Policy::Strict, fleet.roots());
    let server = tls::server_taking_late(strict, &fleet.hub(), &roots, grace).unwrap();
    let client = tls::client(strict, &roots, Some(&gateway)).unwrap();
    connect(&client, &server).map(|_| ())
}

#[test]
fn a_gateway_that_is_late_within_the_grace() {
    late(500, 1_000).unwrap();
    for (ago_s, grace_s) in [(2_000, 1_000), (500, 0)] {
        let refused = late(ago_s, grace_s).unwrap_err();
        assert!(matches!(refused, Refused::Server(_)), "{refused:?}");
    }
    // All else counts as ever: here that another authority has issued it.
    let (fleet, rival) = (Fleet::new(), Fleet::new());
    let subject = Subject::parse("stencil:tenant/acme/gateway/gw-1").unwrap();
    let validity = Validity::between(now_s() - 1_000, now_s() - 500).unwrap();
    let foreign = identity(&rival.authority.issue(&subject, validity).unwrap());
    let grace = Duration::from_secs(1_000_000);
    let server =
        tls::server_taking_late(Policy::Strict, &fleet.hub(), &fleet.roots(), grace).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&foreign)).unwrap();
    assert!(connect(&client, &server).is_err());
}

/// A gateway whose clock says `clock_s` (`None`: it is not set) meets a hub with this certificate.
fn judged(clock_s: Option<u64>, hub: Validity, of: &Fleet) -> Result<(), Refused> {
    let fleet = Fleet::new();
    let issued = of
        .authority
        .issue_server_with(&[HUB], Algorithm::MlDsa65, hub);
    let hub = ServerIdentity {
        post_quantum: identity(&issued.unwrap()),
        classical: None,
    };
    let server = tls::server(Policy::Strict, &hub, &fleet.roots()).unwrap();
    let judged = Judged {
        grace: Duration::from_secs(1_000),
        now_s: Arc::new(move || clock_s),
    };
    let client = tls::client_judging(Policy::Strict, &of.roots(), None, judged).unwrap();
    connect(&client, &server).map(|_| ())
}

#[test]
fn a_hub_by_a_clock_that_may_be_wrong() {
    let fleet = Fleet::new();
    let now = now_s();
    let ended = Validity::between(now - 2_000, now - 500).unwrap();
    let ahead = Validity::between(now + 500, now + 2_000).unwrap();
    judged(Some(now), ended, &fleet).unwrap();
    judged(Some(now), ahead, &fleet).unwrap();
    judged(None, ended, &fleet).unwrap();
    let long_ago = Validity::between(now - 3_000, now - 2_000).unwrap();
    judged(None, long_ago, &fleet).unwrap();
    let refused = judged(Some(now), long_ago, &fleet).unwrap_err();
    assert!(matches!(refused, Refused::Client(_)), "{refused:?}");
    // All else counts as ever: another name, another authority.
    let issued = fleet
        .authority
        .issue_server_with(&["other.example"], Algorithm::MlDsa65, ended);
    let other = ServerIdentity {
        post_quantum: identity(&issued.unwrap()),
        classical: None,
    };
    let server = tls::server(Policy::Strict, &other, &fleet.roots()).unwrap();
    let judges = || Judged {
        grace: Duration::from_secs(1_000),
        now_s: Arc::new(|| None),
    };
    let client = tls::client_judging(Policy::Strict, &fleet.roots(), None, judges()).unwrap();
    assert!(connect(&client, &server).is_err());
    let rival = Fleet::new();
    let client = tls::client_judging(Policy::Strict, &rival.roots(), None, judges()).unwrap();
    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    assert!(connect(&client, &server).is_err());
}
