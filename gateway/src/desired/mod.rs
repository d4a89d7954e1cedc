//! What the hub wants this gateway to be like: taken, checked as a whole, tried, kept or undone.
//!
//! ```text
//! named → fetched → checked ─wrong→ refused
//!                      └→ on trial: on disk, then the gateway starts anew with it
//!                            ├ the hub is reached in time → applied: on disk
//!                            └ it is not, or a part fails, or the process dies twice → rolled back
//! ```
//!
//! What is in force and what is on trial is one file that is replaced as a whole, so that a kill at
//! any moment leaves the one before, or the trial, which goes on with the next start. A trial that
//! was begun [`MAX_ATTEMPTS`] times and never came to an end is given up: whatever kills the gateway
//! may well be it.

mod check;
mod intake;
mod record;
mod supervisor;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use stencil_crypto::keyfile;
use stencil_protocol::desired::{
    Desired as Message, Flaw, Judged, MAX_FLAWS, Revision, Said, Section, State as SaidState,
    Verdict,
};
use tokio::sync::{Notify, watch};

pub(crate) use self::check::Effective;
pub use self::supervisor::{Running, Service};
use self::{
    intake::Intake,
    record::{Files, Kept, Record, Trial},
};
use crate::{Error, Options, clock::now_us, psk::KeyRing};

/// The folder, in the data folder.
const FOLDER: &str = "desired";
/// How often the gateway is started with a state that is on trial.
const MAX_ATTEMPTS: u32 = 2;

/// The desired state. Calls that touch the disk block: they say so.
pub(crate) struct Desired {
    files: Files,
    /// What the gateway's own files say.
    own: Options,
    started_us: i64,
    state: Mutex<State>,
    /// Grows when there is something to tell the hub.
    news: watch::Sender<u64>,
    /// There is something to be tried.
    switch: Notify,
    /// The devices' keys, since the gateway's first start.
    keys: Mutex<Option<Arc<KeyRing>>>,
}

struct State {
    record: Record,
    intake: Option<Intake>,
    /// Why there is no uplink, for who asks why a trial has failed.
    lost: Option<String>,
    /// The same, for who asks why there is none now.
    away: Option<String>,
}

/// What follows from a message of the hub.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, for a moment"
)]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// Say what the gateway is like.
    Tell,
    /// Say this.
    Say(Said),
}

/// What the gateway is to be started with.
pub(crate) struct Start {
    pub(crate) effective: Effective,
    /// It is tried with this start.
    pub(crate) on_trial: bool,
}

impl Desired {
    /// Reads what is kept. Blocks.
    pub(crate) fn open(own: &Options) -> Self {
        let files = Files::new(own.data_dir.join(FOLDER));
        let record = files.read();
        files.sweep(&record);
        Self {
            files,
            own: own.clone(),
            started_us: now_us(),
            state: Mutex::new(State {
                record,
                intake: None,
                lost: None,
                away: None,
            }),
            news: watch::channel(0).0,
            switch: Notify::new(),
            keys: Mutex::default(),
        }
    }

    /// Which devices have keys: no mapping takes their ids. What the mapping read before this start
    /// it holds.
    pub(crate) fn keys_are(&self, keys: &Arc<KeyRing>) {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.replace(Arc::clone(keys)) {
            keys.managed.inherit(&before.managed);
        }
    }

    /// What the gateway is to be started with now; counts the attempts of what is on trial. Blocks.
    pub(crate) fn begin(&self) -> Result<Start, Error> {
        let mut state = self.state();
        if let Some(trial) = state.record.trial.clone() {
            if trial.attempts >= MAX_ATTEMPTS {
                let what = format!(
                    "the gateway was ended {} times while it was tried",
                    trial.attempts
                );
                self.undo(&mut state, vec![Flaw::of_all(what)])?;
            } else {
                match self.effective(&trial.kept) {
                    Ok(effective) => {
                        let mut record = state.record.clone();
                        record.trial = Some(Trial {
                            attempts: trial.attempts + 1,
                            ..trial
                        });
                        self.write(&mut state, record)?;
                        return Ok(Start {
                            effective,
                            on_trial: true,
                        });
                    }
                    Err(flaws) => self.undo(&mut state, flaws)?,
                }
            }
        }
        let effective = match &state.record.runs {
            None => Effective::own(self.own.clone()),
            Some(kept) => match self.effective(kept) {
                Ok(effective) => effective,
                Err(flaws) => {
                    let why: Vec<String> = flaws.iter().map(ToString::to_string).collect();
                    tracing::error!(
                        why = why.join("; "),
                        "what the hub desired of this gateway is \
                        kept no more; it runs as its own files say until the hub sends it again"
                    );
                    self.write(&mut state, Record::default())?;
                    Effective::own(self.own.clone())
                }
            },
        };
        Ok(Start {
            effective,
            on_trial: false,
        })
    }

    /// What is to be tried next, if something is. Blocks.
    pub(crate) fn next(&self) -> Option<Effective> {
        let state = self.state();
        let trial = state.record.trial.as_ref()?;
        self.effective(&trial.kept).ok()
    }

    /// The trial has gone well. Blocks.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let mut state = self.state();
        let Some(trial) = state.record.trial.clone() else {
            return Ok(());
        };
        let revision = trial.kept.revision;
        stencil_crashpoint::reach("gateway.desired_before_settled");
        let record = Record {
            runs: Some(trial.kept),
            trial: None,
            last: Some(judged(revision, Verdict::Applied, Vec::new())),
        };
        self.write(&mut state, record)?;
        stencil_crashpoint::reach("gateway.desired_settled");
        tracing::info!(
            revision = revision.number,
            "the gateway runs as the hub desires"
        );
        self.files.sweep(&state.record);
        self.tell();
        Ok(())
    }

    /// The trial has gone wrong: the one before is in force. Blocks.
    pub(crate) fn roll_back(&self, flaws: Vec<Flaw>) -> Result<(), Error> {
        let mut state = self.state();
        self.undo(&mut state, flaws)
    }

    /// Takes a message of the hub. Blocks.
    pub(crate) fn take(&self, message: Message) -> Result<Step, Error> {
        let mut state = self.state();
        match message {
            Message::Be { revision, sections } => {
                if state.record.trial.is_some() {
                    // What comes of it is told then, and what is named now is named again.
                    return Ok(Step::Nothing);
                }
                if is_judged(&state.record, revision) {
                    return Ok(Step::Tell);
                }
                let intake = &state.intake;
                let known = intake.as_ref().is_some_and(|it| it.revision == revision);
                if !known {
                    let here = |digest: &_| self.files.text(digest);
                    state.intake = Some(Intake::new(revision, sections, here));
                }
                self.go_on(&mut state)
            }
            Message::Piece {
                digest,
                offset,
                bytes,
            } => {
                let Some(intake) = &mut state.intake else {
                    return Ok(Step::Nothing);
                };
                match intake.take(&digest, offset, &bytes) {
                    Ok(true) => self.go_on(&mut state),
                    Ok(false) => Ok(Step::Nothing),
                    Err(error) => {
                        tracing::warn!(%error, "a desired state is not taken");
                        state.intake = None;
                        // The hub names what shall be now.
                        Ok(Step::Tell)
                    }
                }
            }
        }
    }

    /// Waits until something is to be tried.
    pub(crate) async fn to_switch(&self) {
        self.switch.notified().await;
    }

    /// Changes when there is something to tell the hub.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Why there is no uplink.
    pub(crate) fn lost(&self, why: &str) {
        let mut state = self.state();
        state.lost = Some(why.to_owned());
        state.away = Some(why.to_owned());
    }

    /// Why there was no uplink when it was last tried.
    pub(crate) fn why_lost(&self) -> Option<String> {
        self.state().lost.take()
    }

    /// Why there was no uplink when it was last lost, or not found.
    pub(crate) fn why_away(&self) -> Option<String> {
        self.state().away.clone()
    }

    /// What is said of desired states, beside what else the gateway is like.
    pub(crate) fn said(&self) -> SaidState {
        let state = self.state();
        SaidState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_us: self.started_us,
            at_us: now_us(),
            runs: state.record.runs.as_ref().map(|kept| kept.revision),
            last: state.record.last.clone(),
            ..SaidState::default()
        }
    }

    /// Asks for what is missing, or judges what is all here.
    fn go_on(&self, state: &mut State) -> Result<Step, Error> {
        let Some(intake) = &state.intake else {
            return Ok(Step::Nothing);
        };
        if let Some(fetch) = intake.next() {
            return Ok(Step::Say(fetch));
        }
        let (revision, named) = (intake.revision, intake.named());
        let Some(texts) = intake.texts() else {
            return Ok(Step::Nothing);
        };
        state.intake = None;
        self.judge(state, revision, named, &texts)
    }

    fn judge(
        &self,
        state: &mut State,
        revision: Revision,
        sections: BTreeMap<Section, [u8; 32]>,
        texts: &BTreeMap<Section, String>,
    ) -> Result<Step, Error> {
        let checked = if self.own.desired.accept {
            Effective::of(&self.own, texts).and_then(|_| self.refuse_taken(texts))
        } else {
            Err(vec![Flaw::of_all(
                "this gateway takes none from afar: `desired.accept` is false in its own file",
            )])
        };
        let mut record = state.record.clone();
        if let Err(flaws) = checked {
            let why: Vec<String> = flaws.iter().map(ToString::to_string).collect();
            tracing::warn!(
                revision = revision.number,
                why = why.join("; "),
                "a desired state is refused"
            );
            record.last = Some(judged(revision, Verdict::Refused, flaws));
            self.write(state, record)?;
            return Ok(Step::Tell);
        }
        let kept = Kept { revision, sections };
        let same = match &record.runs {
            Some(runs) => runs.sections == kept.sections,
            None => kept.sections.is_empty(),
        };
        if same {
            record.runs = Some(kept);
            record.last = Some(judged(revision, Verdict::Applied, Vec::new()));
            self.write(state, record)?;
            return Ok(Step::Tell);
        }
        for text in texts.values() {
            self.files.keep(text).map_err(cannot_keep)?;
        }
        stencil_crashpoint::reach("gateway.desired_before_trial");
        record.trial = Some(Trial { kept, attempts: 0 });
        record.last = Some(judged(revision, Verdict::Trying, Vec::new()));
        self.write(state, record)?;
        stencil_crashpoint::reach("gateway.desired_trial");
        tracing::info!(revision = revision.number, "a desired state is tried");
        self.switch.notify_one();
        Ok(Step::Tell)
    }

    /// What is wrong with a mapping that takes ids of devices with keys.
    fn refuse_taken(&self, texts: &BTreeMap<Section, String>) -> Result<(), Vec<Flaw>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match (keys.as_ref(), texts.get(&Section::Mapping)) {
            (Some(keys), Some(yaml)) => keys.refuse_taken(yaml).map_err(check::flaws),
            _ => Ok(()),
        }
    }

    /// What follows from texts that are on disk.
    fn effective(&self, kept: &Kept) -> Result<Effective, Vec<Flaw>> {
        let mut texts = BTreeMap::new();
        for (section, digest) in &kept.sections {
            let Some(text) = self.files.text(digest) else {
                let what = "its text is damaged or gone from the gateway's disk";
                return Err(vec![Flaw::new(Some(*section), 0, 0, what)]);
            };
            texts.insert(*section, text);
        }
        Effective::of(&self.own, &texts)
    }

    fn undo(&self, state: &mut State, mut flaws: Vec<Flaw>) -> Result<(), Error> {
        let Some(trial) = &state.record.trial else {
            return Ok(());
        };
        flaws.truncate(MAX_FLAWS);
        let revision = trial.kept.revision;
        let why: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        tracing::error!(
            revision = revision.number,
            why = why.join("; "),
            "a desired state is rolled back"
        );
        stencil_crashpoint::reach("gateway.desired_before_rolled_back");
        let record = Record {
            runs: state.record.runs.clone(),
            trial: None,
            last: Some(judged(revision, Verdict::RolledBack, flaws)),
        };
        self.write(state, record)?;
        stencil_crashpoint::reach("gateway.desired_rolled_back");
        self.files.sweep(&state.record);
        self.tell();
        Ok(())
    }

    /// In force when it is on disk.
    fn write(&self, state: &mut State, record: Record) -> Result<(), Error> {
        self.files.write(&record).map_err(cannot_keep)?;
        state.record = record;
        Ok(())
    }

    /// There is something to tell the hub.
    pub(crate) fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn judged(revision: Revision, verdict: Verdict, flaws: Vec<Flaw>) -> Judged {
    Judged {
        revision,
        verdict,
        at_us: now_us(),
        flaws,
    }
}

fn is_judged(record: &Record, revision: Revision) -> bool {
    let last = record.last.as_ref();
    last.is_some_and(|last| {
        last.revision.epoch == revision.epoch && revision.number <= last.revision.number
    })
}

fn cannot_keep(error: keyfile::Error) -> Error {
    Error::Desired(error.to_string())
}

#[cfg(test)]
mod tests {
    use stencil_protocol::desired::Named;

    use super::{record::digest_of, *};

    const GOOD: &str = "spool: { max_age_s: 90 }\n";

    fn open(folder: &std::path::Path) -> Desired {
        let own = Options {
            data_dir: folder.to_owned(),
            ..Options::default()
        };
        Desired::open(&own)
    }

    fn be(number: u64, text: &str) -> Message {
        Message::Be {
            revision: Revision { epoch: 7, number },
            sections: vec![Named {
                section: Section::Settings,
                digest: digest_of(text.as_bytes()),
                length: u32::try_from(text.len()).unwrap(),
            }],
        }
    }

    fn give(desired: &Desired, number: u64, text: &str) -> Step {
        let Step::Say(Said::Fetch { digest, offset: 0 }) = desired.take(be(number, text)).unwrap()
        else {
            panic!("it is not asked for");
        };
        let bytes = text.as_bytes().to_vec();
        desired
            .take(Message::Piece {
                digest,
                offset: 0,
                bytes,
            })
            .unwrap()
    }

    fn last(desired: &Desired) -> (u64, Verdict) {
        let last = desired.said().last.unwrap();
        (last.revision.number, last.verdict)
    }

    #[test]
    fn what_goes_well_is_in_force_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let desired = open(folder.path());
        assert_eq!(
            desired.begin().unwrap().effective.options.spool.max_age_s,
            30 * 24 * 3_600
        );
        assert_eq!(give(&desired, 1, GOOD), Step::Tell);
        assert_eq!(last(&desired), (1, Verdict::Trying));
        let start = desired.begin().unwrap();
        assert!(start.on_trial);
        assert_eq!(start.effective.options.spool.max_age_s, 90);
        desired.settle().unwrap();
        assert_eq!(desired.take(be(1, GOOD)).unwrap(), Step::Tell, "known");

        let desired = open(folder.path());
        let start = desired.begin().unwrap();
        assert!(!start.on_trial);
        assert_eq!(start.effective.options.spool.max_age_s, 90);
        assert_eq!(desired.said().runs.unwrap().number, 1);
        assert_eq!(last(&desired), (1, Verdict::Applied));
    }

    #[test]
    fn a_state_that_the_gateway_dies_of_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let desired = open(folder.path());
        give(&desired, 1, GOOD);
        desired.begin().unwrap();
        desired.settle().unwrap();
        give(&desired, 2, "spool: { max_age_s: 91 }\n");
        for _ in 0..MAX_ATTEMPTS {
            let desired = open(folder.path());
            let start = desired.begin().unwrap();
            assert!(start.on_trial);
            assert_eq!(start.effective.options.spool.max_age_s, 91);
        }
        let desired = open(folder.path());
        let start = desired.begin().unwrap();
        assert!(!start.on_trial);
        assert_eq!(start.effective.options.spool.max_age_s, 90);
        assert_eq!(last(&desired), (2, Verdict::RolledBack));
        assert!(
            desired.said().last.unwrap().flaws[0]
                .what
                .contains("2 times")
        );
        // It is not tried again, and a later one is.
        assert_eq!(
            desired.take(be(2, "spool: { max_age_s: 91 }\n")).unwrap(),
            Step::Tell
        );
        give(&desired, 3, "spool: { max_age_s: 92 }\n");
        assert!(desired.begin().unwrap().on_trial);
    }

    #[test]
    fn what_is_wrong_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let desired = open(folder.path());
        assert_eq!(give(&desired, 1, "spool:\n  max_age_s: 1\n"), Step::Tell);
        assert_eq!(last(&desired), (1, Verdict::Refused));
        assert_eq!(desired.said().last.unwrap().flaws[0].line, 2);
        assert!(!desired.begin().unwrap().on_trial);
        assert_eq!(desired.said().runs, None);
    }

    #[test]
    fn without_its_texts_it_runs_as_its_own_files_say() {
        let folder = tempfile::tempdir().unwrap();
        let desired = open(folder.path());
        give(&desired, 1, GOOD);
        desired.begin().unwrap();
        desired.settle().unwrap();
        for entry in std::fs::read_dir(folder.path().join(FOLDER)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "yaml") {
                std::fs::write(path, "torn").unwrap();
            }
        }
        let desired = open(folder.path());
        let start = desired.begin().unwrap();
        assert_eq!(start.effective.options.spool.max_age_s, 30 * 24 * 3_600);
        // It says so, and takes the same again.
        assert_eq!(desired.said().last, None);
        assert_eq!(give(&desired, 1, GOOD), Step::Tell);
    }

    #[test]
    fn a_mapping_that_takes_the_id_of_a_device_with_a_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let device = stencil_protocol::id::DeviceId::parse("freezer-07").unwrap();
        crate::add_device(folder.path(), &device).unwrap();
        let managed = crate::managed::Managed::open(
            folder.path(),
            stencil_protocol::id::TenantId::parse("acme").unwrap(),
            stencil_protocol::id::GatewayId::parse("gw-1").unwrap(),
        );
        let keys = KeyRing::new(folder.path().to_owned(), Arc::new(managed.unwrap()));
        let desired = open(folder.path());
        desired.keys_are(&Arc::new(keys));
        let mapping = "version: 1\nconnections: { hall: { modbus-tcp: '127.0.0.1:9' } }\ndevices:\n  \
                       freezer-07: { connection: hall, points: { t: { holding: 0, type: i16 } } }\n";
        let Message::Be { revision, .. } = be(1, "") else {
            unreachable!()
        };
        let digest = digest_of(mapping.as_bytes());
        let sections = vec![Named {
            section: Section::Mapping,
            digest,
            length: u32::try_from(mapping.len()).unwrap(),
        }];
        desired.take(Message::Be { revision, sections }).unwrap();
        let bytes = mapping.as_bytes().to_vec();
        let piece = Message::Piece {
            digest,
            offset: 0,
            bytes,
        };
        assert_eq!(desired.take(piece).unwrap(), Step::Tell);
        assert_eq!(last(&desired), (1, Verdict::Refused));
        let flaw = desired.said().last.unwrap().flaws[0].clone();
        assert_eq!((flaw.section, flaw.line), (Some(Section::Mapping), 4));
        assert!(flaw.what.contains("has a key of its own"), "{flaw}");
    }

    #[test]
    fn a_gateway_that_takes_none_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = Options {
            data_dir: folder.path().to_owned(),
            ..Options::default()
        };
        own.desired.accept = false;
        let desired = Desired::open(&own);
        give(&desired, 1, GOOD);
        assert_eq!(last(&desired), (1, Verdict::Refused));
    }
}
