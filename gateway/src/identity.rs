//! Who this gateway is: its certificate says it.
//!
//! The first certificate and its key lie where the settings say, and stay as they are. Each successor
//! lies with its own key, both in one file of the data folder, so that a kill leaves a pair that
//! belongs together:
//!
//! | file in `certificate/` | what it is |
//! |---|---|
//! | `current.pem` | the pair that is used instead of the first one |
//! | `next.pem` | a pair that the hub has issued, and that was not used yet |
//! | `pending.key` | the key that a certificate was asked for |
//!
//! A pair says in its first line which first certificate it follows. So a folder that was made anew is
//! used as it is, whatever lies in the data folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use stencil_crypto::{
    authority::{Description, Subject, Validity},
    keyfile,
    signature::SigningKey,
    tls::{self, Judged, Policy, Roots},
};
use stencil_protocol::id::{GatewayId, TenantId};

use crate::{Error, Options, clock, options};

/// The folder of successors in the data folder.
pub(crate) const FOLDER: &str = "certificate";
/// The pair that is used.
pub(crate) const CURRENT: &str = "current.pem";
/// The pair that is to be tried.
pub(crate) const NEXT: &str = "next.pem";
/// The key that was asked for.
pub(crate) const PENDING: &str = "pending.key";

const FOLLOWS: &str = "follows ";
/// The most bytes of a pair.
const MAX_PAIR_BYTES: u64 = 64 * 1024;

/// A gateway's name, and how it proves it.
pub(crate) struct Identity {
    pub(crate) gateway: GatewayId,
    pub(crate) tenant: TenantId,
    /// The pair that is used.
    pub(crate) held: Pair,
    /// The pair that is to be tried.
    pub(crate) next: Option<Pair>,
    pub(crate) roots: Roots,
    /// The SHA-256 of the first certificate.
    pub(crate) first: [u8; 32],
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Pair {
    /// The certificate's SHA-256.
    pub(crate) fingerprint: [u8; 32],
    /// The SHA-256 of its public key.
    pub(crate) key: [u8; 32],
    pub(crate) validity: Validity,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    /// Signs what the gateway says: seals and receipts.
    pub(crate) signing: SigningKey,
}

impl Identity {
    /// Reads it. Blocks.
    pub(crate) fn load(options: &Options) -> Result<Self, Error> {
        let hub = &options.hub;
        let roots = Roots::load(&hub.root)?;
        let own = tls::Identity::load(&hub.certificate, &hub.key)?;
        let wrong = |what: String| Error::Certificate {
            path: hub.certificate.clone(),
            what,
        };
        let leaf = own
            .chain()
            .first()
            .ok_or_else(|| wrong("it holds no certificate".into()))?;
        let subject = Subject::of(leaf).map_err(|error| wrong(error.to_string()))?;
        let first = Pair::new(&own, &roots, hub).map_err(&wrong)?;
        let folder = options.data_dir.join(FOLDER);
        let successor = |name: &str| {
            let path = folder.join(name);
            let read = successor(&path, &first.fingerprint, &subject);
            let read = read.and_then(|found| {
                let pair = found.map(|own| Pair::new(&own, &roots, hub));
                pair.transpose()
            });
            read.unwrap_or_else(|why| {
                tracing::error!(path = %path.display(), why, "a renewed certificate cannot be used");
                None
            })
        };
        let (held, next) = (successor(CURRENT), successor(NEXT));
        let Subject::Gateway { tenant, gateway } = &subject else {
            return Err(wrong(
                "it is a device's certificate; make one with `stencil hub add-gateway`".into(),
            ));
        };
        let first_fingerprint = first.fingerprint;
        let held = held.unwrap_or(first);
        held.learn();
        Ok(Self {
            gateway: GatewayId::parse(gateway).map_err(|error| wrong(error.to_string()))?,
            tenant: TenantId::parse(tenant).map_err(|error| wrong(error.to_string()))?,
            held,
            next,
            roots,
            first: first_fingerprint,
        })
    }
}

impl Pair {
    /// Of a certificate and the key that belongs to it.
    pub(crate) fn new(
        own: &tls::Identity,
        roots: &Roots,
        hub: &options::Hub,
    ) -> Result<Self, String> {
        let leaf = own.chain().first().ok_or("it holds no certificate")?;
        let of = Description::of(leaf).map_err(|error| error.to_string())?;
        let judged = Judged {
            grace: hub.late_grace(),
            now_s: Arc::new(now_s),
        };
        let tls = tls::client_judging(Policy::Strict, roots, Some(own), judged);
        Ok(Self {
            fingerprint: of.fingerprint,
            key: of.key,
            validity: of.validity,
            tls: tls.map_err(|error| error.to_string())?,
            signing: SigningKey::of(own).map_err(|error| error.to_string())?,
        })
    }

    /// When the certificate ends.
    pub(crate) fn end_us(&self) -> i64 {
        us(self.validity.not_after_s())
    }

    /// The clock is judged by this certificate.
    pub(crate) fn learn(&self) {
        clock::learn(us(self.validity.not_before_s()), self.end_us());
    }
}

/// Now in seconds, if the clock is set.
pub(crate) fn now_s() -> Option<u64> {
    u64::try_from(clock::set_now_us()? / 1_000_000).ok()
}

fn us(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

/// A pair as it is kept.
pub(crate) fn written(first: &[u8; 32], chain_pem: &str, key_pem: &str) -> String {
    format!("{FOLLOWS}{}\n{chain_pem}\n{key_pem}", hex(first))
}

/// Reads a pair that follows this first certificate; nothing if there is none, or it follows another.
pub(crate) fn successor(
    path: &Path,
    first: &[u8; 32],
    subject: &Subject,
) -> Result<Option<tls::Identity>, String> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = keyfile::read_up_to(path, MAX_PAIR_BYTES).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is no text")?;
    let follows = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix(FOLLOWS));
    match follows {
        Some(of) if of == hex(first) => {}
        Some(_) => return Ok(None),
        None => return Err("it does not say which certificate it follows".into()),
    }
    let own = tls::Identity::from_pem(text, text).map_err(|error| error.to_string())?;
    let leaf = own.chain().first().ok_or("it holds no certificate")?;
    match Subject::of(leaf) {
        Ok(of) if of == *subject => Ok(Some(own)),
        Ok(of) => Err(format!("it is one of {of}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Where a successor lies.
pub(crate) fn path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(FOLDER).join(name)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
