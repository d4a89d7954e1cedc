//! The gateway's certificate: renewed over its own session, long before it ends.
//!
//! The successor has a key of its own, which is made here and does not leave. It is on disk before it
//! is used, and takes the place of the one before when the hub has taken a session with it; until then
//! the hub takes both.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use stencil_crypto::{
    authority::{ClientKey, Subject},
    keyfile,
    signature::SigningKey,
    tls::{self, Roots},
};
use stencil_protocol::{
    renewal::{Answer, Renew},
    topic::Topic,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Uplink,
    backoff::Backoff,
    connection::{Connection, Lost},
    publisher::PACKET_OVERHEAD_BYTES,
};
use crate::{
    Options,
    identity::{self, CURRENT, Identity, NEXT, PENDING, Pair, now_s},
    metrics::Metrics,
    options,
};

/// How often it is looked whether the certificate is to be renewed.
const LOOK: Duration = Duration::from_secs(30);
/// Between two requests: at first, and at most. Each is drawn from its upper half.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(6 * 3_600);
/// How long the hub may take to answer one that has come home.
const ANSWER: Duration = Duration::from_secs(30);
/// With less than so much left it is warned of.
const SOON_S: u64 = 30 * 86_400;
/// Between two warnings.
const WARN: Duration = Duration::from_secs(86_400);

/// The certificate.
pub(crate) struct Certificate {
    options: options::Hub,
    data_dir: PathBuf,
    subject: Subject,
    roots: Roots,
    /// The SHA-256 of the first certificate.
    first: [u8; 32],
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    held: Pair,
    /// Issued, and not used yet.
    next: Option<Pair>,
    /// Whether the next session is begun with that.
    tries_next: bool,
    /// When the hub may be asked, and how long after that again.
    ask_at: Instant,
    pause: Backoff,
    warn_at: Instant,
}

impl Certificate {
    pub(crate) fn new(options: &Options, identity: &Identity, metrics: &Arc<Metrics>) -> Self {
        let now = Instant::now();
        let new = Self {
            options: options.hub.clone(),
            data_dir: options.data_dir.clone(),
            subject: Subject::Gateway {
                tenant: identity.tenant.to_string(),
                gateway: identity.gateway.to_string(),
            },
            roots: identity.roots.clone(),
            first: identity.first,
            metrics: Arc::clone(metrics),
            state: Mutex::new(State {
                held: identity.held.clone(),
                next: identity.next.clone(),
                tries_next: true,
                ask_at: now,
                pause: Backoff::between(AGAIN, AGAIN_MAX),
                warn_at: now,
            }),
        };
        // A key that is used was left there by a kill.
        if new
            .pending()
            .is_some_and(|it| it.fingerprint() == identity.held.key)
        {
            let _ = fs::remove_file(identity::path(&new.data_dir, PENDING));
        }
        new
    }

    /// When it ends.
    pub(crate) fn end_us(&self) -> i64 {
        self.state().held.end_us()
    }

    /// What signs by the key of the certificate that is used.
    pub(crate) fn signing(&self) -> SigningKey {
        self.state().held.signing.clone()
    }

    /// What the next session is begun with: the successor, if there is one to be tried.
    fn tls(&self) -> Arc<rustls::ClientConfig> {
        let state = self.state();
        let pair = match (&state.next, state.tries_next) {
            (Some(next), true) => next,
            _ => &state.held,
        };
        Arc::clone(&pair.tls)
    }

    /// The hub has refused a session: with the other certificate it may take one.
    fn refused(&self) {
        let mut state = self.state();
        if state.next.is_some() {
            state.tries_next = !state.tries_next;
        }
    }

    /// Whether the hub is to be asked for a successor: so much of the time is over. A clock that is not
    /// set says nothing.
    fn is_due(&self) -> bool {
        let Some(now_s) = now_s() else {
            return false;
        };
        let mut state = self.state();
        let validity = state.held.validity;
        let (begin_s, end_s) = (validity.not_before_s(), validity.not_after_s());
        let left = u64::from(self.options.renew_left_percent);
        let due_s = end_s.saturating_sub(end_s.saturating_sub(begin_s) / 100 * left);
        let now = Instant::now();
        if now_s.saturating_add(SOON_S) >= end_s && now_s >= due_s && now >= state.warn_at {
            state.warn_at = now + WARN;
            let days = end_s.saturating_sub(now_s) / 86_400;
            tracing::warn!(
                days,
                "the gateway's certificate ends soon, and is not renewed yet"
            );
        }
        state.next.is_none() && now_s >= due_s && now >= state.ask_at
    }

    /// Returns when the hub is to be asked.
    pub(super) async fn due(&self) {
        while !self.is_due() {
            sleep_until(Instant::now() + LOOK).await;
        }
    }

    /// When the hub may be asked.
    fn ask_at(&self) -> Instant {
        self.state().ask_at
    }

    /// What the hub is asked with. The key is on disk when this returns, so that a request that is made
    /// again is the same. Blocks.
    fn ask(&self) -> Result<Renew, String> {
        let (certificate, key) = {
            let mut state = self.state();
            let pause = state.pause.next();
            state.ask_at = Instant::now() + pause;
            (state.held.fingerprint, state.held.key)
        };
        let path = identity::path(&self.data_dir, PENDING);
        // One that is used already could not be removed.
        let pending = self.pending().filter(|it| it.fingerprint() != key);
        let pending = match pending {
            Some(pending) => pending,
            None => {
                self.make_folder().map_err(|error| error.to_string())?;
                let fresh = ClientKey::generate().map_err(|error| error.to_string())?;
                keyfile::write(&path, fresh.pem().as_bytes()).map_err(|error| error.to_string())?;
                stencil_crashpoint::reach("gateway.certificate_key");
                fresh
            }
        };
        let request = pending.request(&self.subject);
        Ok(Renew {
            certificate,
            request: request.map_err(|error| error.to_string())?,
        })
    }

    fn pending(&self) -> Option<ClientKey> {
        let pem = keyfile::read_text(identity::path(&self.data_dir, PENDING)).ok()?;
        ClientKey::from_pem(&pem).ok()
    }

    fn make_folder(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        let folder = self.data_dir.join(identity::FOLDER);
        builder.recursive(true).mode(0o700).create(folder)
    }

    /// Takes a successor, to be tried by the next session. Blocks.
    fn take(&self, chain_pem: &str) -> Result<(), String> {
        let pending = self
            .pending()
            .ok_or("there is no key that it was asked for")?;
        let text = identity::written(&self.first, chain_pem, pending.pem());
        let own = tls::Identity::from_pem(chain_pem, pending.pem());
        let own = own.map_err(|error| error.to_string())?;
        let pair = Pair::new(&own, &self.roots, &self.options)?;
        if pair.key != pending.fingerprint() {
            return Err("it is for another key".into());
        }
        let leaf = own.chain().first().ok_or("it holds no certificate")?;
        let subject = Subject::of(leaf).map_err(|error| error.to_string())?;
        if subject != self.subject {
            return Err(format!("it is one of {subject}"));
        }
        tls::is_client_under(&self.roots, leaf, pair.validity.not_before_s())
            .map_err(|error| error.to_string())?;
        if pair.end_us() <= self.end_us() {
            return Err("it ends no later than the one before".into());
        }
        stencil_crashpoint::reach("gateway.certificate_before_next");
        keyfile::write(identity::path(&self.data_dir, NEXT), text.as_bytes())
            .map_err(|error| error.to_string())?;
        stencil_crashpoint::reach("gateway.certificate_next");
        let mut state = self.state();
        state.next = Some(pair);
        state.tries_next = true;
        Ok(())
    }

    /// The hub has taken a session. If it was one with the successor, that takes the place of the one
    /// before; else the hub does not take the successor, and is asked for another one. Blocks.
    fn proved(&self) {
        let mut state = self.state();
        let Some(next) = state.next.take() else {
            return;
        };
        let file = |name: &str| identity::path(&self.data_dir, name);
        if !state.tries_next {
            tracing::error!(
                "the hub takes no session with the renewed certificate, and does with the \
                one before"
            );
            let _ = fs::remove_file(file(NEXT));
            return;
        }
        stencil_crashpoint::reach("gateway.certificate_before_switch");
        if let Err(error) = replaced(&file(NEXT), &file(CURRENT)) {
            // At the next start it is tried first again, as now.
            tracing::error!(%error, "the renewed certificate is used, but not put into its place");
        }
        stencil_crashpoint::reach("gateway.certificate_switched");
        let _ = fs::remove_file(file(PENDING));
        next.learn();
        tracing::info!(
            until = stencil_protocol::moment::utc(next.end_us()),
            "the gateway's certificate is renewed"
        );
        self.metrics.certificates_renewed.increment();
        state.held = next;
        state.pause.reset();
        state.ask_at = Instant::now();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a file into another's place, for good.
fn replaced(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl Uplink {
    /// Opens a connection with the certificate, or with its successor.
    pub(super) async fn open(&self) -> Result<Connection, Lost> {
        let tls = self.certificate.tls();
        let opened = Connection::open(&self.options, &self.gateway, tls).await;
        if let Err(lost) = &opened
            && lost.is_refusal()
        {
            self.certificate.refused();
        }
        opened
    }

    /// The hub has taken a session as it should be.
    pub(super) async fn session_is_good(&self) {
        let certificate = Arc::clone(&self.certificate);
        // Nothing is lost where this is torn off: the successor is tried again.
        let _ = tokio::task::spawn_blocking(move || certificate.proved()).await;
    }

    /// Has a certificate renewed that has ended by the hub's clock: that is all that the hub lets it do.
    /// Returns with the reason for another connection.
    pub(super) async fn come_home(&self, connection: &mut Connection) -> Lost {
        match self.try_to_come_home(connection).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn try_to_come_home(
        &self,
        connection: &mut Connection,
    ) -> Result<std::convert::Infallible, Lost> {
        let topic = Topic::GatewayCertificate(self.gateway.clone()).to_string();
        connection.subscribe(&topic).await?;
        tracing::warn!("the gateway's certificate has ended: the hub is asked for another one");
        loop {
            // As seldom as ever, however often the connection is lost meanwhile.
            tokio::select! {
                () = sleep_until(self.certificate.ask_at()) => {}
                message = connection.next() => match message {
                    Some(message) => self.take_certificate(&message.payload).await?,
                    None => return Err(connection.why_lost().await),
                },
            }
            self.ask_for_certificate(connection).await?;
            match timeout(ANSWER, connection.next()).await {
                Ok(Some(message)) => self.take_certificate(&message.payload).await?,
                Ok(None) => return Err(connection.why_lost().await),
                Err(_) => {}
            }
        }
    }

    /// Asks the hub for a successor.
    pub(super) async fn ask_for_certificate(&self, connection: &Connection) -> Result<(), Lost> {
        let topic = Topic::GatewayRenew(self.gateway.clone()).to_string();
        let certificate = Arc::clone(&self.certificate);
        let asking = tokio::task::spawn_blocking(move || certificate.ask());
        let asked = asking.await.map_err(|_| Lost::Ended)?;
        let bytes = asked.and_then(|renew| renew.encode().map_err(|error| error.to_string()));
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(error, "the gateway's certificate cannot be renewed now");
                return Ok(());
            }
        };
        if bytes.len() + topic.len() + PACKET_OVERHEAD_BYTES > connection.max_packet_bytes() {
            tracing::warn!("the hub takes no packet that asks for a certificate");
            return Ok(());
        }
        tracing::info!("the hub is asked to renew the gateway's certificate");
        // Nothing waits for the acknowledgement: it is asked again.
        connection.publish(topic, bytes.into(), Vec::new()).await?;
        Ok(())
    }

    /// Takes the hub's answer; an error that asks for another connection when it is to be tried.
    pub(super) async fn take_certificate(&self, payload: &Bytes) -> Result<(), Lost> {
        let chain = match Answer::decode(payload) {
            Ok(Answer::Renewed(chain)) => chain,
            Ok(Answer::Refused(why)) => {
                self.metrics.renewals_refused.increment();
                tracing::error!(why, "the hub does not renew the gateway's certificate");
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "the hub has sent a certificate that cannot be read");
                return Ok(());
            }
        };
        let certificate = Arc::clone(&self.certificate);
        let taken = tokio::task::spawn_blocking(move || certificate.take(&chain)).await;
        match taken {
            Ok(Ok(())) => Err(Lost::Renewed),
            Ok(Err(why)) => {
                self.metrics.renewals_refused.increment();
                tracing::error!(why, "the certificate that the hub has sent cannot be used");
                Ok(())
            }
            Err(_) => Err(Lost::Ended),
        }
    }
}
