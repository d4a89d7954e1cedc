//! The hub's own certificates, renewed at start before they end.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stencil_crypto::authority::{Algorithm, Authority, Validity};
use stencil_crypto::keyfile;
use stencil_crypto::tls::Identity;

use crate::clock::Clock;
use crate::layout::ServerFiles;
use crate::{Error, Layout};

/// A certificate with fewer days left is renewed.
const RENEW_DAYS: u64 = 60;

/// Renews each server certificate that ends soon, where the fleet authority is at hand: same names,
/// same key, so that nobody else has to do anything. What cannot be renewed is logged and no reason
/// not to start: gateways of which a certificate has ended keep their data, and say so.
pub(crate) fn server_certificates(layout: &Layout, clock: &Clock) {
    let since = Duration::from_micros(u64::try_from(clock.now_us()).unwrap_or(0));
    let now = UNIX_EPOCH + since;
    for algorithm in [Algorithm::MlDsa65, Algorithm::EcdsaP256] {
        let files = layout.server_files(algorithm);
        let certificate = files.chain.display();
        match renew(&files, &layout.authority(), now) {
            Ok(Found::InTime) => {}
            Ok(Found::Renewed { days_left, days }) => {
                tracing::info!(%certificate, days_left, days, "the server certificate is renewed");
            }
            Ok(Found::Foreign { days_left }) => {
                tracing::warn!(%certificate, days_left, "a server certificate ends soon, and the \
                    fleet authority can't renew it: another one issued it, or its root ends too");
            }
            Err(error) => {
                tracing::warn!(%certificate, %error, "a server certificate ends within 60 days and \
                    can't be renewed: start the hub once with the fleet authority in its folder, \
                    or replace certificate and key");
            }
        }
    }
}

/// What was found, and done.
enum Found {
    InTime,
    Renewed { days_left: u64, days: u64 },
    Foreign { days_left: u64 },
}

fn renew(files: &ServerFiles, authority: &Path, now: SystemTime) -> Result<Found, Error> {
    // What is wrong with it is told when it is put to use.
    let Ok(identity) = Identity::load(&files.chain, &files.key) else {
        return Ok(Found::InTime);
    };
    let Some(certificate) = identity.chain().first() else {
        return Ok(Found::InTime);
    };
    let days_left = Validity::of(certificate)?.days_left(now);
    if days_left >= RENEW_DAYS {
        return Ok(Found::InTime);
    }
    let Some(renewed) = Authority::open(authority)?.renew_server(certificate, now)? else {
        return Ok(Found::Foreign { days_left });
    };
    // As all in the data folder it is its owner's alone, though no secret.
    keyfile::write(&files.chain, renewed.chain_pem.as_bytes())?;
    Ok(Found::Renewed {
        days_left,
        days: renewed.validity.days_left(now),
    })
}
