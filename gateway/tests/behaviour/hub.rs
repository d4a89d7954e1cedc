//! The hub's side: the real MQTT endpoint behind strict TLS, with a sink in memory.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use stencil_crypto::{
    authority::{Authority, Subject},
    tls::{self, Identity, Policy as TlsPolicy, Roots, ServerIdentity},
};
use stencil_mqtt::{
    Connect, Endpoint, Event, Handle, Options, Policy, Publish, Qos, Refused, RefusedCode, Sink,
    SinkError, Source, Transport,
};
use stencil_protocol::{
    batch::Batch,
    command::{Command, Status},
    id::{Boot, DeviceId},
    keys::{Holds, Update},
    ledger::BootLedger,
    report::{LinkEvent, LossReport},
    topic::Topic,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{broadcast, watch},
    task::JoinHandle,
};

use crate::soon;

/// What was published, in order.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) topic: Topic,
    pub(crate) payload: Vec<u8>,
    pub(crate) user_properties: Vec<(String, String)>,
}

struct ByCertificate;

impl Policy for ByCertificate {
    type Principal = (String, String);

    async fn authenticate(&self, connect: &Connect<'_>) -> Result<Self::Principal, Refused> {
        let Transport::Tls {
            group,
            post_quantum,
            certificate: Some(certificate),
            ..
        } = connect.transport
        else {
            return Err(Refused::new(RefusedCode::Credentials, "no certificate"));
        };
        assert!(*post_quantum, "{group}");
        match Subject::of(certificate).unwrap() {
            Subject::Gateway { tenant, gateway } => Ok((tenant, gateway)),
            Subject::Device { .. } => Err(Refused::new(RefusedCode::Credentials, "a device")),
        }
    }

    fn namespace<'a>(&self, principal: &'a Self::Principal) -> &'a str {
        &principal.0
    }

    fn may_publish(&self, _: &Self::Principal, topic: &str) -> bool {
        matches!(
            Topic::parse(topic),
            Ok(Topic::Batch(_)
                | Topic::Status(_)
                | Topic::Loss(_)
                | Topic::Link(_)
                | Topic::Key(_)
                | Topic::Image(_)
                | Topic::Judged(_)
                | Topic::GatewayStream(_)
                | Topic::GatewaySeals(_)
                | Topic::GatewayFetch(_)
                | Topic::GatewayReceipts(_)
                | Topic::GatewayHolds(_))
        )
    }

    fn may_subscribe(&self, principal: &Self::Principal, filter: &str) -> bool {
        ["command", "keys", "wanted", "piece", "rules", "access"]
            .iter()
            .any(|kind| filter == format!("stencil/v1/g/{}/{kind}", principal.1))
    }
}

/// What a hub has on its disk, over all its lives.
#[derive(Default)]
struct Disk {
    kept: Vec<Kept>,
    /// What a crash leaves of it.
    committed: usize,
    /// Whether what comes is kept uncommitted (and so unacknowledged) until it is released.
    holds: bool,
    /// Crashes so far. A connection of a life before may still be at work for a moment: it keeps
    /// nothing any more, and what it is told as committed stays what it was.
    life: u64,
    /// Tells this life's connections up to where it is committed.
    tells: watch::Sender<u64>,
}

impl Disk {
    fn commit(&mut self) {
        self.committed = self.kept.len();
        self.tells.send_replace(self.committed as u64);
    }
}

/// A life's way to the disk.
struct MemorySink {
    disk: Arc<Mutex<Disk>>,
    life: u64,
    committed: watch::Receiver<u64>,
    /// Changes with what is kept.
    changed: watch::Sender<()>,
}

impl Sink<(String, String)> for MemorySink {
    fn append(
        &self,
        _: &Source<(String, String)>,
        batch: &[Publish<'_>],
    ) -> Result<u64, SinkError> {
        let mut disk = self.disk.lock().unwrap();
        if disk.life != self.life {
            return Err(SinkError::Failed("the hub has crashed".to_owned()));
        }
        for publish in batch {
            assert_eq!(publish.qos, Qos::AtLeastOnce);
            disk.kept.push(Kept {
                topic: Topic::parse(publish.topic).unwrap(),
                payload: publish.payload.to_vec(),
                user_properties: publish
                    .user_properties
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            });
        }
        if !disk.holds {
            disk.commit();
        }
        let position = disk.kept.len() as u64;
        drop(disk);
        self.changed.send_replace(());
        Ok(position)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }
}

/// A hub that can be stopped and started again at the same address, with what it has kept.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    disk: Arc<Mutex<Disk>>,
    /// Changes with what is kept.
    changed: watch::Sender<()>,
    pub(crate) options: Options,
    tls: Arc<rustls::ServerConfig>,
    running: Option<RunningHub>,
    /// Has the address as long as the hub does not listen at it, without answering: no other socket of
    /// this machine is given it meanwhile.
    _place: TcpSocket,
}

struct RunningHub {
    handle: Handle<(String, String)>,
    events: broadcast::Receiver<Event<(String, String)>>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Hub {
    /// A hub with an address, which isn't started.
    pub(crate) fn new(authority: &Authority) -> Self {
        let issued = authority
            .issue_server(&["127.0.0.1", "hub.example"])
            .unwrap();
        let identity = ServerIdentity {
            post_quantum: Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap(),
            classical: None,
        };
        let roots = Roots::from_pem(authority.root_pem()).unwrap();
        let tls = tls::server(TlsPolicy::Strict, &identity, &roots).unwrap();
        let place = TcpSocket::new_v4().unwrap();
        place.set_reuseaddr(true).unwrap();
        place.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self {
            address: place.local_addr().unwrap(),
            _place: place,
            disk: Arc::default(),
            changed: watch::channel(()).0,
            options: Options::default(),
            tls,
            running: None,
        }
    }

    pub(crate) async fn started(authority: &Authority) -> Self {
        let mut hub = Self::new(authority);
        hub.start().await;
        hub
    }

    pub(crate) async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let sink = {
            let disk = self.disk.lock().unwrap();
            MemorySink {
                disk: Arc::clone(&self.disk),
                life: disk.life,
                committed: disk.tells.subscribe(),
                changed: self.changed.clone(),
            }
        };
        let endpoint = Endpoint::new(
            self.options.clone(),
            Arc::new(ByCertificate),
            Arc::new(sink),
        );
        let handle = endpoint.handle();
        let events = handle.events();
        let (stop, stopping) = watch::channel(false);
        let tls = Arc::clone(&self.tls);
        let serving =
            tokio::spawn(async move { endpoint.serve(listener, Some(tls), stopping).await });
        self.running = Some(RunningHub {
            handle,
            events,
            stop,
            serving,
        });
    }

    /// Cuts all connections; what was appended and not committed is forgotten, as by a crash.
    pub(crate) async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        running.serving.abort();
        drop(running.stop);
        let _ = running.serving.await;
        let mut disk = self.disk.lock().unwrap();
        let committed = disk.committed;
        disk.kept.truncate(committed);
        disk.life += 1;
        disk.tells = watch::channel(committed as u64).0;
    }

    /// Appends, but commits (and so acknowledges) nothing until released.
    pub(crate) fn hold(&self) {
        self.disk.lock().unwrap().holds = true;
    }

    pub(crate) fn release(&self) {
        let mut disk = self.disk.lock().unwrap();
        disk.holds = false;
        disk.commit();
    }

    /// Returns when the gateway hears commands.
    pub(crate) async fn subscribed(&mut self) {
        let events = &mut self.running.as_mut().unwrap().events;
        soon(async {
            loop {
                if let Event::Subscribed { .. } = events.recv().await.unwrap() {
                    return;
                }
            }
        })
        .await;
    }

    /// Sends a command to the gateway; true when it went to a subscriber.
    pub(crate) fn command(&self, gateway: &str, command: &Command<'_>) -> bool {
        self.command_again(gateway, command, true)
    }

    /// As [`Hub::command`], with whether nobody has had it before.
    pub(crate) fn command_again(&self, gateway: &str, command: &Command<'_>, first: bool) -> bool {
        let mut bytes = [0; 512];
        let length = command.encode_for_gateway(first, &mut bytes).unwrap();
        let topic = format!("stencil/v1/g/{gateway}/command");
        let payload = bytes[..length].to_vec();
        let handle = &self.running.as_ref().unwrap().handle;
        handle
            .publish("acme", &topic, payload, Qos::AtLeastOnce, false)
            .unwrap()
            == 1
    }

    /// Sends anything to the gateway; true when it went to a subscriber.
    pub(crate) fn send(&self, topic: &str, payload: Vec<u8>) -> bool {
        let handle = &self.running.as_ref().unwrap().handle;
        handle
            .publish("acme", topic, payload, Qos::AtLeastOnce, false)
            .unwrap()
            == 1
    }

    /// Sends an update of devices' keys to the gateway; true when it went to a subscriber.
    pub(crate) fn keys(&self, gateway: &str, update: &Update) -> bool {
        let topic = format!("stencil/v1/g/{gateway}/keys");
        let handle = &self.running.as_ref().unwrap().handle;
        let payload = update.encode().unwrap();
        handle
            .publish("acme", &topic, payload, Qos::AtLeastOnce, false)
            .unwrap()
            == 1
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.disk.lock().unwrap().kept.clone()
    }

    /// Returns what is kept when `enough` says so.
    pub(crate) async fn until(&self, enough: impl Fn(&[Kept]) -> bool) -> Vec<Kept> {
        let mut changed = self.changed.subscribe();
        soon(async {
            loop {
                let kept = self.kept();
                if enough(&kept) {
                    return kept;
                }
                changed.changed().await.unwrap();
            }
        })
        .await
    }
}

/// The batches of a device, in order.
pub(crate) fn batches<'a>(kept: &'a [Kept], device: &DeviceId) -> Vec<&'a Kept> {
    kept.iter()
        .filter(|kept| kept.topic == Topic::Batch(device.clone()))
        .collect()
}

/// The statuses of a device: state and detail.
pub(crate) fn statuses<'a>(kept: &'a [Kept], device: &DeviceId) -> Vec<Status<'a>> {
    kept.iter()
        .filter(|kept| kept.topic == Topic::Status(device.clone()))
        .map(|kept| Status::decode(&kept.payload).unwrap())
        .collect()
}

/// What the gateway says that it holds, in order.
pub(crate) fn holds(kept: &[Kept]) -> Vec<Holds> {
    kept.iter()
        .filter(|kept| matches!(kept.topic, Topic::GatewayHolds(_)))
        .map(|kept| Holds::decode(&kept.payload).unwrap())
        .collect()
}

/// The link events of a device.
pub(crate) fn link_events(kept: &[Kept], device: &DeviceId) -> Vec<LinkEvent> {
    kept.iter()
        .filter(|kept| kept.topic == Topic::Link(device.clone()))
        .map(|kept| LinkEvent::decode(&kept.payload).unwrap())
        .collect()
}

/// The ledger of one boot of a device, from all that was kept.
pub(crate) fn ledger(kept: &[Kept], device: &DeviceId, boot: Boot) -> BootLedger {
    let mut ledger = BootLedger::default();
    for kept in kept {
        match &kept.topic {
            Topic::Batch(of) if of == device => {
                let batch = Batch::decode(&kept.payload).unwrap();
                if batch.header().boot == boot {
                    ledger.announce(batch.header().last_given);
                    let dropped = batch.header().dropped.iter();
                    dropped.for_each(|dropped| ledger.drop(*dropped));
                    for (seq, sample) in batch.samples() {
                        sample.unwrap();
                        ledger.store(seq);
                    }
                }
            }
            Topic::Loss(of) if of == device => {
                let report = LossReport::decode(&kept.payload).unwrap();
                if report.boot == boot {
                    report
                        .dropped
                        .into_iter()
                        .for_each(|dropped| ledger.drop(dropped));
                }
            }
            _ => {}
        }
    }
    ledger
}
