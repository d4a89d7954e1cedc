//! Holders of rights, who are let command devices here, also while the hub is away.
//!
//! ```text
//! hub ─terms, signed status lists→ kept on disk ──┐
//! phone ─GET /challenge→ text, QR                 │
//! wallet signs → POST /open ─→ the challenge is ours, in time, once → both proofs, standing, holder
//!   → receipt on disk → command to the device, as any other → what it says → beside the receipt → phone
//! receipts ─signed, in order→ hub → it has them → let go
//! ```
//!
//! Whoever reaches the listener is a stranger: all that they send is bounded, and nothing of it is kept
//! before it was found right.

mod book;
mod kept;
mod page;
mod rate;
mod receipts;

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use rand_core::Rng as _;
use stencil_access::{
    Admitted, Answer, Challenge, Desk, Refused, Trust, admit,
    challenge::RANDOM_BYTES,
    receipt::{Batch, Receipt},
    trust::Told,
};
use stencil_crypto::rng;
use stencil_log::regular;
use stencil_protocol::{
    command::{Command, State},
    id::{CommandId, DeviceId},
};
use tokio::sync::{Notify, broadcast};

pub(crate) use self::page::serve;
use self::{
    book::Book,
    kept::Kept,
    rate::Rate,
    receipts::{Note, Receipts, hex},
};
use crate::{
    Error, Options, clock,
    commands::{Commands, Offer},
    disk,
    field::Devices,
    link::Live,
    metrics::Metrics,
    options,
    psk::KeyRing,
    uplink::Certificate,
};

/// The folder in the data folder.
const FOLDER: &str = "access";

/// Opens what is to take a file's place, for nobody else to read.
fn open_next(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    let options = options.create(true).truncate(true).write(true).mode(0o600);
    regular::open(options, path)
}

/// What an admission works on.
pub(crate) struct Access {
    folder: PathBuf,
    options: options::Access,
    desk: Mutex<Desk>,
    kept: Mutex<Kept>,
    trust: RwLock<Option<Arc<Trust>>>,
    receipts: Arc<Book>,
    rate: Rate,
    around: Around,
    /// The hub has said that it has more.
    has: Notify,
}

/// The parts of the gateway that it needs.
pub(crate) struct Around {
    pub(crate) commands: Arc<Commands>,
    pub(crate) live: Live,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) field: Arc<Devices>,
    pub(crate) metrics: Arc<Metrics>,
    /// By whose key receipts are signed: the one of now, also after it was renewed.
    pub(crate) certificate: Arc<Certificate>,
}

/// Why a device does not act.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("device {0} is not one of this gateway's that can be told something")]
    NotHere(DeviceId),
    #[error("device {0} is not connected to this gateway now")]
    Away(DeviceId),
    #[error("the gateway holds as many commands as it may: try again in a minute")]
    Busy,
    #[error("{0}")]
    NotNoted(String),
    #[error("too many requests from your network: wait a few seconds")]
    TooOften,
}

impl NotOpened {
    /// A word for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.code(),
            Self::NotHere(_) => "not_here",
            Self::Away(_) => "device_away",
            Self::Busy => "busy",
            Self::NotNoted(_) => "no_receipt",
            Self::TooOften => "too_often",
        }
    }
}

/// An admission whose command is on its way.
#[derive(Debug)]
pub(crate) struct Opened {
    command: CommandId,
    receipt: u64,
    outcomes: broadcast::Receiver<(CommandId, State)>,
}

impl Access {
    /// Reads what is kept. Blocks. `None`: nobody listens for holders here.
    pub(crate) fn open(options: &Options, around: Around) -> Result<Option<Arc<Self>>, Error> {
        if options.access.listen.is_none() {
            return Ok(None);
        }
        let folder = options.data_dir.join(FOLDER);
        let failed = |action| {
            let path = folder.clone();
            move |source: io::Error| Error::File {
                action,
                path,
                source,
            }
        };
        disk::make_folder(&folder).map_err(failed("make"))?;
        // It may be from before it was made so.
        let own = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&folder, own).map_err(failed("close to others"))?;
        let (mut secret, mut chain) = ([0; 32], [0; 16]);
        rng::Os.fill_bytes(&mut secret);
        rng::Os.fill_bytes(&mut chain);
        let kept = Kept::read(&folder);
        let now_us = clock::set_now_us();
        let (receipts, begun) =
            Receipts::open(&folder, &hex(&chain), options.access.max_receipts, now_us)
                .map_err(failed("open the receipts in"))?;
        let access = Self {
            options: options.access.clone(),
            desk: Mutex::new(Desk::new(&secret)),
            trust: RwLock::new(kept.trust()),
            kept: Mutex::new(kept),
            receipts: Book::of(receipts),
            rate: Rate::new(Instant::now()),
            around,
            has: Notify::new(),
            folder,
        };
        // Their holders were let in before a kill; a device that knows the command answers.
        for receipt in begun {
            access.give(&receipt, false);
        }
        Ok(Some(Arc::new(access)))
    }

    /// Whether somebody at this address may ask for something now.
    fn may_ask(&self, address: IpAddr) -> Result<(), NotOpened> {
        match self.rate.may(address, Instant::now()) {
            true => Ok(()),
            false => Err(NotOpened::TooOften),
        }
    }

    fn trust(&self) -> Result<Arc<Trust>, Refused> {
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        trust.clone().ok_or(Refused::NoTerms)
    }

    /// What a wallet is asked to sign, with its text and the gateway's DID.
    fn challenge(
        &self,
        device: DeviceId,
        command: &str,
    ) -> Result<(Challenge, String, Arc<Trust>), NotOpened> {
        let trust = self.trust()?;
        let mut random = [0; RANDOM_BYTES];
        rng::Os.fill_bytes(&mut random);
        let given = {
            // The desk is to see times in their order: it notices a clock that was set back.
            let mut desk = lock(&self.desk);
            let now_us = clock::set_now_us().ok_or(Refused::NoClock)?;
            desk.give(device, command, now_us, random)
        };
        let challenge = given.map_err(Refused::Challenge)?;
        let text = challenge.text(&trust.terms().gateway);
        Ok((challenge, text, trust))
    }

    /// Takes an answer; the device is told. Blocks.
    fn answer(&self, bytes: &[u8]) -> Result<Opened, NotOpened> {
        let opened = self.admitted(bytes);
        match &opened {
            Ok(opened) => {
                self.around.metrics.access_admitted.increment();
                tracing::info!(receipt = opened.receipt, command = %opened.command,
                    "a holder is admitted");
            }
            Err(why) => {
                self.around.metrics.access_refused.increment();
                // What strangers send is theirs to know.
                tracing::debug!(code = why.code(), "nobody is admitted");
            }
        }
        opened
    }

    fn admitted(&self, bytes: &[u8]) -> Result<Opened, NotOpened> {
        let answer = Answer::parse(bytes)?;
        let trust = self.trust()?;
        let (now_us, taken) = {
            let mut desk = lock(&self.desk);
            let now_us = clock::set_now_us().ok_or(Refused::NoClock)?;
            (now_us, desk.take(&answer.challenge, now_us))
        };
        taken.map_err(Refused::Challenge)?;
        let admitted = admit(&trust, &answer, now_us)?;
        let device = &admitted.grant.device;
        let Around {
            keys, field, live, ..
        } = &self.around;
        if field.has(device) || !keys.has(device) {
            return Err(NotOpened::NotHere(device.clone()));
        }
        if !live.is_linked(device) {
            return Err(NotOpened::Away(device.clone()));
        }
        let outcomes = self.around.commands.outcomes();
        let note = self.note(&trust, answer, admitted, now_us);
        let noted = self.receipts.lock().note(note);
        let receipt = noted.map_err(|error| {
            tracing::error!(%error, "a holder is not admitted");
            NotOpened::NotNoted(error.to_string())
        })?;
        self.receipts.news.notify_one();
        let command = receipts::command(&receipt);
        if !self.give(&receipt, true) {
            self.receipts
                .lock()
                .said(receipt.device(), command, State::Failed);
            return Err(NotOpened::Busy);
        }
        Ok(Opened {
            command,
            receipt: receipt.number,
            outcomes,
        })
    }

    fn note(&self, trust: &Trust, answer: Answer, admitted: Admitted, now_us: i64) -> Note {
        let mut command = [0; 16];
        rng::Os.fill_bytes(&mut command);
        let gateway = trust.terms().gateway.clone();
        let expires_us = i64::from(self.options.command_expires_s) * 1_000_000;
        Box::new(move |place| Receipt {
            chain: place.chain.to_owned(),
            number: place.number,
            previous: place.previous.to_owned(),
            left: place.left,
            at_us: now_us,
            gateway,
            challenge: answer.challenge,
            right: admitted.right,
            holder: admitted.grant.holder.address.to_checksum(None),
            signature: answer.signature,
            command: hex(&command),
            expires_us: now_us.saturating_add(expires_us),
        })
    }

    /// Tells the device; false: there is no room for its command.
    fn give(&self, receipt: &Receipt, first: bool) -> bool {
        stencil_crashpoint::reach("access.before_give");
        let device = receipt.device();
        let command = Command {
            id: receipts::command(receipt),
            device: device.clone(),
            name: &receipt.challenge.command,
            argument: None,
            expires_us: receipt.expires_us,
        };
        match self.around.commands.offer(&command, first) {
            Ok(Offer::Held | Offer::Known) => {
                self.around.live.wake(device);
                true
            }
            Ok(Offer::Full) => false,
            Err(error) => {
                tracing::error!(%device, %error, "a command of a holder cannot be held");
                false
            }
        }
    }

    /// A device says how a command stands, and what became of it goes to the hub with its receipt; `false`:
    /// it is no holder's command whose receipt waits.
    pub(crate) async fn takes(&self, device: &DeviceId, command: CommandId, state: State) -> bool {
        self.receipts.said(device, command, state).await
    }

    /// Takes what the hub says. Blocks.
    pub(crate) fn told(&self, bytes: &[u8]) {
        let told = match serde_json::from_slice::<Told>(bytes) {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(%error, "what the hub says of access cannot be read");
                return;
            }
        };
        if let Told::Held(head) = &told {
            let mut fresh = [0; 16];
            rng::Os.fill_bytes(&mut fresh);
            match self.receipts.lock().held(head, &hex(&fresh)) {
                Ok(true) => self.has.notify_one(),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "receipts that the hub has are kept on"),
            }
            return;
        }
        let mut kept = lock(&self.kept);
        match kept.take(&self.folder, told, clock::set_now_us()) {
            Ok(()) => {
                let trust = kept.trust();
                *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
            }
            Err(error) => tracing::error!(%error, "what the hub says of access is not taken"),
        }
    }

    /// Returns when there is something to look at for the hub.
    pub(crate) async fn news(&self) {
        let due_us = self.receipts.lock().due_us();
        let Some(due_us) = due_us else {
            return self.receipts.news.notified().await;
        };
        let wait_us = due_us.saturating_sub(clock::now_us()).max(0);
        let wait = Duration::from_micros(u64::try_from(wait_us).unwrap_or(0));
        tokio::select! {
            () = self.receipts.news.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Returns when the hub has said that it has receipts that it was not known to have.
    pub(crate) async fn has_held(&self) {
        self.has.notified().await;
    }

    /// The next receipts for the hub, signed. Blocks.
    pub(crate) fn batch(&self) -> Option<Vec<u8>> {
        let next = self.receipts.lock().next(clock::now_us());
        let next = next.unwrap_or_else(|error| {
            tracing::error!(%error, "receipts cannot be read for the hub");
            None
        });
        let (texts, outcomes, head) = next?;
        let key = self.around.certificate.signing();
        let sign = |message: &[u8]| key.sign(message);
        let batch = Batch::sign(texts, outcomes, &head, key.certificate(), sign);
        match batch.map(|batch| serde_json::to_vec(&batch)) {
            Ok(Ok(bytes)) => Some(bytes),
            Ok(Err(error)) => {
                tracing::error!(%error, "receipts cannot be written for the hub");
                None
            }
            Err(error) => {
                tracing::error!(%error, "receipts cannot be signed for the hub");
                None
            }
        }
    }

    /// How many receipts the hub has not yet.
    pub(crate) fn waiting(&self) -> usize {
        self.receipts.lock().len()
    }
}

impl Opened {
    /// What the device says, for as long as is waited for it; `None`: nothing final.
    async fn outcome(&mut self, wait: Duration) -> Option<State> {
        let heard = async {
            loop {
                match self.outcomes.recv().await {
                    Ok((command, state)) if command == self.command && state.is_settled() => {
                        return Some(state);
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        tokio::time::timeout(wait, heard).await.unwrap_or(None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
