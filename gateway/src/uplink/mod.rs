//! The way to the hub: MQTT 5 over strict TLS. What is spooled is published, in order or, after a
//! long outage, in two streams ([`order`]); what the hub has acknowledged is freed.
//!
//! Each connection begins anew where the last acknowledged message ends: there is no MQTT session
//! to resume, so nothing depends on what a client library or the hub remembers. What was under
//! way is published twice; the hub knows it by its numbers.

mod answering;
mod backoff;
mod certificate;
mod connection;
mod desired;
mod failures;
mod order;
mod pace;
mod publisher;
mod receipts;
mod source;
mod window;

pub(crate) use self::{certificate::Certificate, order::Said};

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use rumqttc::SubscribeNoticeError;
use stencil_protocol::{
    command::{Command, State, Status},
    id::{CommandId, DeviceId, GatewayId},
    image::{Piece, Wanted},
    topic::Topic,
};
use tokio::{sync::watch, time::Instant};

use self::{
    backoff::Backoff,
    connection::{Connection, Lost},
    failures::Failures,
    publisher::{PACKET_OVERHEAD_BYTES, Topics, publish},
};
use crate::{
    Error,
    access::Access,
    answers::Answers,
    clock::{set_now_us, stamp_us},
    commands::{Commands, Offer},
    desired::Desired,
    edge::Edge,
    field::Devices,
    images::{Images, Step},
    link::{Live, gateway_status},
    managed::Managed,
    metrics::Metrics,
    options,
    spool::{Spool, stopped},
};

/// A connection that has lasted so long is a good one: after it the pauses begin anew. Two gateways of
/// one certificate, of which each connection ends the other's, would else take turns without a pause.
const LASTING: Duration = Duration::from_secs(30);
/// How often commands are looked at for their end.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);

/// All that the uplink works on.
pub(crate) struct Uplink {
    pub(crate) gateway: GatewayId,
    pub(crate) options: options::Hub,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) spool: Spool,
    pub(crate) commands: Arc<Commands>,
    pub(crate) live: Live,
    pub(crate) keys: Arc<Managed>,
    pub(crate) images: Arc<Images>,
    pub(crate) edge: Arc<Edge>,
    pub(crate) field: Arc<Devices>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether there is a connection.
    pub(crate) connected: watch::Sender<bool>,
    pub(crate) desired: Arc<Desired>,
    /// What was said ahead of older things.
    pub(crate) said: Said,
    pub(crate) answers: Arc<Answers>,
    /// Holders of rights; `None`: none are admitted here.
    pub(crate) access: Option<Arc<Access>>,
    /// Bytes a second in which what waited may be brought; 0: no bound.
    pub(crate) back_fill: watch::Receiver<u64>,
}

impl Uplink {
    /// Connects and publishes until `stop` holds true, or the spool fails.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let expiring = expire(Arc::clone(&self));
        let connecting = self.connect_again_and_again();
        tokio::select! {
            failed = connecting => failed.map(|never| match never {}),
            never = expiring => match never {},
            () = stopped(&mut stop) => Ok(()),
        }
    }

    async fn connect_again_and_again(&self) -> Result<Infallible, Error> {
        let mut backoff = Backoff::new(Duration::from_millis(self.options.max_backoff_ms));
        let mut failures = Failures::default();
        loop {
            let mut connected = None;
            let lost = self.connect_and_publish(&mut connected).await;
            self.connected.send_replace(false);
            let Err(lost) = lost.map(|never| match never {});
            if let Lost::Spool(error) = lost {
                return Err(Error::Spool(error));
            }
            if let Lost::Renewed = lost {
                tracing::info!("the gateway connects with its renewed certificate");
                continue;
            }
            self.desired.lost(&lost.told());
            self.metrics.uplink_failures.increment();
            if connected.is_some_and(|since: Instant| since.elapsed() >= LASTING) {
                backoff.reset();
                failures = Failures::default();
            }
            let pause = backoff.next();
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            if failures.is_news(&lost.told()) {
                let times = failures.times();
                tracing::warn!(hub = self.options.address, %lost, pause_ms, times, "no uplink");
            } else {
                tracing::debug!(hub = self.options.address, %lost, pause_ms, "no uplink");
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn connect_and_publish(
        &self,
        connected: &mut Option<Instant>,
    ) -> Result<Infallible, Lost> {
        let commands = Topic::GatewayCommand(self.gateway.clone()).to_string();
        let keys = Topic::GatewayKeys(self.gateway.clone()).to_string();
        let mut connection = self.open().await?;
        match connection.subscribe(&commands).await {
            Ok(()) => {}
            // By the hub's clock the certificate has ended; ours is not asked.
            Err(Lost::Subscribe(SubscribeNoticeError::V5SubAckFailure(_))) => {
                return Err(self.come_home(&mut connection).await);
            }
            Err(lost) => return Err(lost),
        }
        match connection.subscribe(&keys).await {
            Ok(()) => self.tell_what_is_held(&connection, true).await?,
            // A hub of an earlier version, which gives no keys.
            Err(Lost::Subscribe(refused)) => {
                tracing::warn!(%refused, "the hub gives no keys of devices");
            }
            Err(lost) => return Err(lost),
        }
        let wanted = Topic::GatewayWanted(self.gateway.clone()).to_string();
        let pieces = Topic::GatewayPiece(self.gateway.clone()).to_string();
        self.images.connected();
        for topic in [&pieces, &wanted] {
            match connection.subscribe(topic).await {
                Ok(()) => {}
                Err(Lost::Subscribe(refused)) => {
                    tracing::warn!(%refused, "the hub gives no images for devices");
                    break;
                }
                Err(lost) => return Err(lost),
            }
        }
        let rules = Topic::GatewayRules(self.gateway.clone()).to_string();
        match connection.subscribe(&rules).await {
            Ok(()) => {}
            Err(Lost::Subscribe(refused)) => {
                tracing::warn!(%refused, "the hub places no rules here");
            }
            Err(lost) => return Err(lost),
        }
        let desired = Topic::GatewayDesired(self.gateway.clone()).to_string();
        let speaking = match connection.subscribe(&desired).await {
            Ok(()) => Some(self.speaking()),
            Err(Lost::Subscribe(refused)) => {
                tracing::warn!(%refused, "the hub does not say what the gateway shall be like");
                None
            }
            Err(lost) => return Err(lost),
        };
        let questions = Topic::GatewayAsk(self.gateway.clone()).to_string();
        match connection.subscribe(&questions).await {
            Ok(()) => {}
            Err(Lost::Subscribe(refused)) => {
                tracing::warn!(%refused, "the hub asks for no logs and figures");
            }
            Err(lost) => return Err(lost),
        }
        let access = Topic::GatewayAccess(self.gateway.clone()).to_string();
        if self.access.is_some() {
            match connection.subscribe(&access).await {
                Ok(()) => {}
                Err(Lost::Subscribe(refused)) => {
                    tracing::warn!(%refused, "the hub says nothing of holders of rights");
                }
                Err(lost) => return Err(lost),
            }
        }
        self.session_is_good().await;
        let certificate = Topic::GatewayCertificate(self.gateway.clone()).to_string();
        let certificate = match connection.subscribe(&certificate).await {
            Ok(()) => Some(certificate),
            Err(Lost::Subscribe(refused)) => {
                tracing::warn!(%refused, "the hub renews no certificates");
                None
            }
            Err(lost) => return Err(lost),
        };
        self.metrics.uplink_connects.increment();
        self.connected.send_replace(true);
        *connected = Some(Instant::now());
        tracing::info!(hub = self.options.address, "uplink connected");
        publish(
            self,
            connection,
            &Topics {
                commands,
                keys,
                wanted,
                pieces,
                rules,
                desired,
                questions,
                access,
                certificate,
            },
            speaking,
        )
        .await
    }

    /// Tells the hub up to where its list of keys is held; at first with the key to seal to.
    async fn tell_what_is_held(&self, connection: &Connection, with_key: bool) -> Result<(), Lost> {
        let topic = Topic::GatewayHolds(self.gateway.clone()).to_string();
        let holds = self.keys.holds(with_key).encode();
        let (bytes, max) = (
            holds.len() + topic.len() + PACKET_OVERHEAD_BYTES,
            connection.max_packet_bytes(),
        );
        if bytes > max {
            tracing::warn!(
                bytes,
                max,
                "the hub takes no message that tells it of a key"
            );
            return Ok(());
        }
        // Nothing waits for the acknowledgement: what the hub has not heard it asks for, by
        // sending the same again.
        connection.publish(topic, holds.into(), Vec::new()).await?;
        Ok(())
    }

    /// Takes keys from the hub, and tells it when they are on disk.
    async fn take_keys(&self, connection: &Connection, update: &Bytes) -> Result<(), Lost> {
        let unused = self.keys.unused();
        let (keys, bytes) = (Arc::clone(&self.keys), update.clone());
        let applied = tokio::task::spawn_blocking(move || keys.apply(&bytes)).await;
        let keys_held = self.keys.len();
        match applied {
            Ok(Ok(changed)) => {
                self.metrics.keys_updates.increment();
                tracing::info!(
                    changed = changed.len(),
                    devices = keys_held,
                    "the hub has said which devices have which keys"
                );
                changed.iter().for_each(|device| self.live.check(device));
            }
            Ok(Err(error)) => {
                self.metrics.keys_refused.increment();
                tracing::error!(%error, "keys of devices cannot be taken from the hub");
            }
            Err(_) => self.metrics.keys_refused.increment(),
        }
        if self.keys.unused() != unused {
            self.desired.tell();
        }
        self.tell_what_is_held(connection, false).await
    }

    /// Takes what the hub says of holders of rights.
    async fn take_access(&self, payload: &Bytes) {
        if let Some(access) = &self.access {
            let (access, told) = (Arc::clone(access), payload.clone());
            // Waited for: what comes next is taken after it.
            let _ = tokio::task::spawn_blocking(move || access.told(&told)).await;
        }
    }

    /// Takes what devices are to run, all of it.
    async fn take_wanted(&self, connection: &Connection, payload: &Bytes) -> Result<(), Lost> {
        match Wanted::decode(payload) {
            Ok(wanted) => {
                let news = self.images.want(wanted);
                news.iter().for_each(|device| self.live.wake(device));
            }
            Err(error) => {
                tracing::error!(%error, "what the hub wants devices to run cannot be read");
            }
        }
        self.fetch_images(connection, None).await
    }

    /// Takes a piece of an image.
    async fn take_piece(&self, connection: &Connection, payload: &Bytes) -> Result<(), Lost> {
        match Piece::decode(payload) {
            Ok(piece) => self.fetch_images(connection, Some(piece)).await,
            Err(error) => {
                tracing::error!(%error, "a piece of an image cannot be read");
                Ok(())
            }
        }
    }

    /// Takes a piece, if there is one, and asks for the next of what is missing.
    async fn fetch_images(
        &self,
        connection: &Connection,
        mut piece: Option<Piece>,
    ) -> Result<(), Lost> {
        loop {
            let (images, came) = (Arc::clone(&self.images), piece.take());
            let looking = tokio::task::spawn_blocking(move || match came {
                Some(piece) => images.take(&piece),
                None => images.next_fetch(),
            });
            match looking.await.unwrap_or(Step::Nothing) {
                Step::Nothing => return Ok(()),
                Step::Again => {}
                Step::Fetch(fetch) => {
                    let topic = Topic::GatewayFetch(self.gateway.clone()).to_string();
                    // Nothing waits for the acknowledgement: it is asked for again.
                    connection
                        .publish(topic, fetch.encode().into(), Vec::new())
                        .await?;
                    return Ok(());
                }
                Step::News(news) => {
                    for entry in news.told {
                        self.spool.put_bytes(&entry).await?;
                    }
                    news.devices
                        .iter()
                        .for_each(|device| self.live.wake(device));
                }
            }
        }
    }

    /// Takes a command from the hub. Waits for nothing: acknowledgements come after it.
    fn command(&self, payload: &[u8]) {
        self.metrics.commands_received.increment();
        let (command, first) = match Command::decode_for_gateway(payload) {
            Ok(read) => read,
            Err(error) => {
                self.metrics.commands_refused.increment();
                tracing::error!(%error, "the hub has sent a command that cannot be read");
                return;
            }
        };
        let (device, id) = (&command.device, command.id);
        if self.field.has(device) {
            let detail = "a field device is only read: nothing is ever written to it";
            return self.refuse(device, id, detail);
        }
        match self.commands.offer(&command, first) {
            Ok(Offer::Held) => self.live.wake(device),
            Ok(Offer::Known) => {}
            Ok(Offer::Full) => {
                self.metrics.commands_refused.increment();
                tracing::warn!(%device, %id, "a command is refused: too many wait");
                // Its device may have got it before: the hub sends it again later.
                if !first {
                    return;
                }
                self.refuse(device, id, "the gateway holds as many commands as it may");
            }
            Err(error) => tracing::error!(%device, %id, %error, "a command cannot be held"),
        }
    }

    /// Tells the hub that a command has failed, by the gateway's own word.
    fn refuse(&self, device: &DeviceId, id: CommandId, detail: &str) {
        let status = Status {
            id,
            state: State::Failed,
            at_us: stamp_us(),
            detail: Some(detail),
        };
        // Where the spool is full as well, the hub sends it again.
        if let Some(entry) = gateway_status(device, &status)
            && let Err(error) = self.spool.try_put(&entry)
        {
            tracing::error!(%device, %id, %error, "a refused command is not reported");
        }
    }
}

/// Says of commands that expire before they were sent to their device that they have.
async fn expire(uplink: Arc<Uplink>) -> Infallible {
    let mut tick = tokio::time::interval(EXPIRE_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // Without the time nobody can say what has expired.
        let Some(now_us) = set_now_us() else {
            continue;
        };
        for (device, id) in uplink.commands.expire(now_us) {
            let noted = match &uplink.access {
                Some(access) => access.takes(&device, id, State::Expired).await,
                None => false,
            };
            uplink.commands.said(id, State::Expired);
            tracing::info!(%device, %id, "a command has expired before its device was linked");
            // A holder's, of which the hub hears by its receipt.
            if noted {
                continue;
            }
            let detail = Some("the device was not linked to the gateway in time");
            let status = Status {
                id,
                state: State::Expired,
                at_us: stamp_us(),
                detail,
            };
            let Some(entry) = gateway_status(&device, &status) else {
                continue;
            };
            if let Err(error) = uplink.spool.put_bytes(&entry).await {
                tracing::error!(%error, "an expired command is not reported");
            }
        }
    }
}
