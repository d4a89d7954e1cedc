//! The loop: asks, lets the walk decide, and stores each step in one transaction.

use std::sync::Arc;
use std::time::Duration;

use stencil_store::{
    BlockMark, ChainCommit, ChainCommitted, ChainState, Chains, KeptBlock, Observation,
};
use tokio::sync::{Notify, watch};

use crate::back::Back;
use crate::backfill::Ranges;
use crate::config::Start;
use crate::finality::Finality;
use crate::interest::Interest;
use crate::look::{Look, mark};
use crate::rpc::{Header, Health, Quorum, Trouble};
use crate::walk::{Link, Step, Walk, Want};
use crate::{Error, Settings, wake};

/// Blocks below the first that are known from the beginning, so that a reorganisation right after it
/// finds a common block.
const KNOWN_AT_START: u64 = 64;
/// The longest wait after trouble.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Blocks by which a chain's newest one may be below what was read, whatever its policy says is final: endpoints
/// behind one address are never all at the same block.
const LAG: u64 = 8;
/// The same where it is not known what is final.
const LAG_UNKNOWN: u64 = 64;

/// Turns in a row that may come to nothing before another branch is looked at from its end again.
const MAX_FAILED_IN_A_ROW: u32 = 8;

/// The time, in microseconds since the epoch.
pub type Moment = fn() -> i64;

/// What a turn came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Something was stored; there may be more to do at once.
    Stepped,
    /// Nothing is new.
    UpToDate,
    /// What comes next is unknown at the moment.
    Unknown(Trouble),
    /// The store can't be written at the moment: it is busy, or full.
    NotStored(String),
}

/// The newest block of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its timestamp, in seconds since the epoch.
    pub time_s: u64,
}

/// How long to wait between turns.
#[derive(Debug)]
pub struct Pace {
    hint: Arc<Notify>,
    _listening: Option<Listening>,
    backoff: Duration,
    wait: Option<Duration>,
}

/// A follower of one chain.
pub struct Follower {
    settings: Settings,
    store: Arc<dyn Chains>,
    quorum: Quorum,
    now: Moment,
    interest: Interest,
    walk: Option<Walk>,
    ranges: Ranges,
    trouble: Option<Trouble>,
    failed_in_a_row: u32,
    head: Option<Head>,
    back: Option<Back>,
    /// The log has it that the walk back is more than an ordinary one.
    has_told_back: bool,
}

impl Follower {
    /// A follower that goes on where the store says it stood.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Chains>,
        now: Moment,
    ) -> Result<Self, Error> {
        let quorum = Quorum::new(&settings)?;
        let state = store
            .open_chain(&settings.name, settings.chain_id, now())
            .await?;
        if let Some(why) = state.stopped {
            return Err(Error::Stopped {
                chain: settings.name,
                why,
            });
        }
        quorum.check_chain().await.map_err(Error::Endpoints)?;
        let ranges = Ranges::new(settings.ranges);
        Ok(Self {
            settings,
            store,
            quorum,
            now,
            interest: Interest::default(),
            walk: None,
            ranges,
            trouble: None,
            failed_in_a_row: 0,
            head: None,
            back: None,
            has_told_back: false,
        })
    }

    /// The newest block that enough endpoints had when it was last asked for.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// The walk back that is on, if one is: the chain's branch is another, and it is not known yet from which
    /// block on.
    pub fn back(&self) -> Option<Back> {
        self.back
    }

    /// How each endpoint stands.
    pub async fn health(&self) -> Vec<Health> {
        self.quorum.health().await
    }

    /// Follows until `stop` turns true. `after` is called after each turn.
    pub async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
        mut after: impl AsyncFnMut(&Progress) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut pace = self.pace();
        loop {
            if *stop.borrow() {
                return Ok(());
            }
            // A step is one transaction: it may be cut anywhere.
            let progress = tokio::select! {
                progress = self.next(&mut pace) => progress?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            after(&progress).await?;
        }
    }

    /// For [`Self::next`]; listens for new blocks where the settings name a WebSocket endpoint.
    pub fn pace(&self) -> Pace {
        let hint = Arc::new(Notify::new());
        let listening = self.settings.wake.clone().map(|url| {
            let within = self.settings.call_timeout;
            Listening(tokio::spawn(wake::run(url, within, hint.clone())))
        });
        Pace {
            hint,
            _listening: listening,
            backoff: self.settings.poll_interval,
            wait: None,
        }
    }

    /// Waits as long as there is nothing to do after the turn before, and makes a turn. It may be
    /// dropped anywhere.
    pub async fn next(&mut self, pace: &mut Pace) -> Result<Progress, Error> {
        if let Some(wait) = pace.wait.take() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = pace.hint.notified() => {}
            }
        }
        let progress = self.turn().await?;
        let usual = self.settings.poll_interval;
        pace.wait = match &progress {
            Progress::Stepped => {
                pace.backoff = usual;
                None
            }
            // They do answer.
            Progress::UpToDate | Progress::Unknown(Trouble::Behind { .. }) => {
                pace.backoff = usual;
                Some(usual)
            }
            Progress::Unknown(_) | Progress::NotStored(_) => {
                pace.backoff = (pace.backoff * 2).min(MAX_BACKOFF.max(usual));
                Some(pace.backoff)
            }
        };
        Ok(progress)
    }

    /// One turn: at most one step.
    pub async fn turn(&mut self) -> Result<Progress, Error> {
        let turned = self.step().await;
        let progress = self.turned(turned);
        self.tells_back();
        progress
    }

    /// Says once that a walk back is more than an ordinary one.
    fn tells_back(&mut self) {
        let is_told = self.back.filter(|back| back.is_told((self.now)()));
        if let Some(back) = is_told.filter(|_| !self.has_told_back) {
            tracing::warn!(
                chain = self.settings.name,
                at = back.at,
                blocks = back.blocks,
                "the chain's branch is another: walks back to where it leaves ours"
            );
        }
        self.has_told_back = is_told.is_some();
    }

    fn turned(&mut self, turned: Result<bool, Stop>) -> Result<Progress, Error> {
        match turned {
            Ok(stepped) => {
                // Whatever else was done, it was on our own branch.
                let walk = self.walk.as_ref();
                if !walk.is_some_and(|walk| matches!(walk.want(), Want::Hash(..))) {
                    self.back = None;
                }
                self.failed_in_a_row = 0;
                if self.trouble.take().is_some() {
                    tracing::info!(
                        chain = self.settings.name,
                        "the endpoints can be used again"
                    );
                }
                Ok(if stepped {
                    Progress::Stepped
                } else {
                    Progress::UpToDate
                })
            }
            Err(Stop::Trouble(trouble)) if trouble.passes() => {
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(chain = self.settings.name, "{trouble}");
                    self.trouble = Some(trouble.clone());
                }
                // A block that is gone belongs to a branch that is; one that is only not to be had at
                // the moment does not, or long walks back would never end. But not for ever: some
                // endpoints have words of their own for what is not there.
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
                if (trouble.may_be_gone() || self.failed_in_a_row >= MAX_FAILED_IN_A_ROW)
                    && let Some(walk) = &mut self.walk
                {
                    walk.forget_other();
                    self.failed_in_a_row = 0;
                }
                Ok(Progress::Unknown(trouble))
            }
            Err(Stop::Trouble(trouble)) => Err(Error::Endpoints(trouble)),
            Err(Stop::Error(Error::Store(error))) if error.retryable() => {
                tracing::warn!(chain = self.settings.name, "{error}");
                // Whether the step was stored is read from the store.
                self.walk = None;
                Ok(Progress::NotStored(error.to_string()))
            }
            Err(Stop::Error(error)) => {
                self.walk = None;
                Err(error)
            }
        }
    }

    async fn step(&mut self) -> Result<bool, Stop> {
        let state = self.load().await?;
        let head = self.quorum.newest("latest").await?;
        self.head = Some(Head {
            number: head.link.number,
            time_s: head.time_s,
        });
        let Some(walk) = &self.walk else {
            self.begin(&state, &head).await?;
            return Ok(true);
        };
        let tip = walk.tip();
        let tagged = match self.settings.finality.tag() {
            Some(tag) => self.tagged(tag).await?,
            None => None,
        };
        if let Want::Hash(_, hash) = walk.want() {
            let header = self.quorum.header_of(hash).await?;
            return self.offer(&state, &header, tagged).await;
        }
        if head.link.number > tip.number {
            if let Some(last) = self.range_end(tip, &head, tagged) {
                return self.range(&state, tip, last, tagged).await;
            }
            let header = self.quorum.header_at(tip.number + 1).await?;
            return self.offer(&state, &header, tagged).await;
        }
        // The chain may have turned without becoming longer, or another one have come in its place. Not all that
        // is below its newest block is kept.
        let newest = head.link.number;
        let kept = walk.kept_up_to(newest);
        let at = kept.map_or(newest, |kept| kept.number);
        let header = if self.quorum.is_cross_checked() || at < newest {
            self.quorum.header_at(at).await?
        } else {
            head
        };
        if self.offer(&state, &header, tagged).await? || self.finalize(&state, tagged).await? {
            return Ok(true);
        }
        match self.is_behind(&state, tip.number, newest) {
            false => Ok(false),
            true => Err(Stop::Trouble(Trouble::Behind {
                head: newest,
                cursor: tip.number,
                is_known: kept.is_some(),
                lag: self.quorum.lag(tip.number).await,
            })),
        }
    }

    /// Whether the chain's newest block is below what was read by more than a reorganisation takes away.
    fn is_behind(&self, state: &ChainState, tip: u64, newest: u64) -> bool {
        let is_final = state.finalized.map(|last| tip.saturating_sub(last.number));
        let depth = match self.settings.finality {
            Finality::Confirmations(confirmations) => confirmations,
            Finality::Safe | Finality::Finalized => is_final.unwrap_or(LAG_UNKNOWN),
        };
        newest.saturating_add(depth.max(LAG)) < tip
    }

    /// What is watched, and the branch, as far as they are not known already.
    async fn load(&mut self) -> Result<ChainState, Stop> {
        let name = &self.settings.name;
        let state =
            self.store
                .chain(name)
                .await?
                .ok_or_else(|| stencil_store::Error::NotFound {
                    what: "chain",
                    name: name.clone(),
                })?;
        if state.interest != self.interest.version() {
            let (version, watches) = self.store.chain_watches(name).await?;
            self.interest = Interest::new(version, &watches);
        }
        if self.walk.is_none() && state.cursor.is_some() {
            let kept = self.store.chain_blocks(name).await?;
            let kept = kept.into_iter().map(|block| Link {
                number: block.mark.number,
                hash: block.mark.hash.into(),
                parent: block.parent.into(),
            });
            self.walk = Walk::new(kept, self.settings.max_depth);
        }
        Ok(state)
    }

    /// The first block, and some below it.
    async fn begin(&mut self, state: &ChainState, head: &Header) -> Result<(), Stop> {
        let number = match self.settings.start {
            Start::Latest => head.link.number,
            // The one that is wanted is the next; block 0 has no logs.
            Start::Block(number) => number.saturating_sub(1).min(head.link.number),
        };
        let newest = self.quorum.header_at(number).await?;
        let mut links = vec![newest.link];
        let known = KNOWN_AT_START.min(self.settings.max_depth).min(number + 1);
        while let Some(last) = links.last().filter(|_| (links.len() as u64) < known) {
            links.push(self.quorum.header_of(last.parent).await?.link);
        }
        links.reverse();
        let Some(first) = links.last().copied() else {
            return Ok(());
        };
        let commit = ChainCommit {
            blocks: links.iter().copied().map(kept).collect(),
            cursor: Some(mark(first)),
            cursor_s: Some(newest.time_s),
            ..self.commit(state)
        };
        if self.store(commit).await? {
            tracing::info!(
                chain = self.settings.name,
                block = first.number + 1,
                "follows from here"
            );
        }
        Ok(())
    }

    /// The end of the next range, where what comes next is deep enough for one.
    fn range_end(&self, tip: Link, head: &Header, tagged: Option<BlockMark>) -> Option<u64> {
        let shallow = head.link.number.saturating_sub(self.settings.range_margin);
        let tagged = tagged.map(|tagged| tagged.number);
        let deep = self
            .settings
            .finality
            .reached(head.link.number, tagged)?
            .min(shallow);
        self.ranges
            .next(tip.number + 1, deep)
            .filter(|(first, last)| last > first)
            .map(|(_, last)| last)
    }

    async fn range(
        &mut self,
        state: &ChainState,
        tip: Link,
        last: u64,
        tagged: Option<BlockMark>,
    ) -> Result<bool, Stop> {
        let blocks = last - tip.number;
        let look = self.look();
        let found = self
            .quorum
            .agreed(
                &format!("blocks {} to {last}", tip.number + 1),
                |endpoint| look.range(endpoint, tip, last),
                |found| {
                    format!(
                        "{} observations up to {}",
                        found.observed.len(),
                        found.last.hash
                    )
                },
            )
            .await;
        let found = match found {
            Ok(found) => found,
            Err(Trouble::TooLarge { what, why }) => {
                if !self.ranges.too_much(blocks) {
                    return Err(Trouble::TooLarge { what, why }.into());
                }
                tracing::debug!(
                    chain = self.settings.name,
                    blocks = self.ranges.size(),
                    "smaller ranges"
                );
                return Ok(true);
            }
            Err(trouble) => {
                // The branch may have changed below the range while nobody looked: then it is walked back at once.
                if trouble.may_be_gone()
                    && let Ok(next) = self.quorum.header_at(tip.number + 1).await
                    && next.link.parent != tip.hash
                {
                    return self.offer(state, &next, tagged).await;
                }
                // One whose branch changes meanwhile is gone through block by block.
                self.ranges.too_much(blocks);
                return Err(trouble.into());
            }
        };
        self.ranges.went_well(blocks);
        let commit = ChainCommit {
            blocks: vec![kept(found.last)],
            observed: found.observed,
            cursor: Some(mark(found.last)),
            cursor_s: Some(found.last_s),
            keep_from: self.keep_from(found.last.number),
            ..self.commit(state)
        };
        let commit = self.with_final(commit, found.last, state, tagged).await?;
        if self.store(commit).await?
            && let Some(walk) = &mut self.walk
        {
            walk.extend(found.last);
        }
        Ok(true)
    }

    /// Offers a block to the walk, and stores what follows.
    async fn offer(
        &mut self,
        state: &ChainState,
        header: &Header,
        tagged: Option<BlockMark>,
    ) -> Result<bool, Stop> {
        let Some(walk) = &mut self.walk else {
            return Ok(false);
        };
        match walk.offer(header.link) {
            Step::Known => Ok(false),
            Step::Back => {
                if let Want::Hash(at, _) = walk.want() {
                    let tip = walk.tip().number;
                    let finalized = state.finalized.map(|finalized| finalized.number);
                    let now_us = (self.now)();
                    self.back = Some(Back::at(at, tip, finalized, self.back, now_us));
                }
                Ok(true)
            }
            Step::Extend(link) => {
                self.extend(state, link, header, tagged).await?;
                Ok(true)
            }
            Step::Rewind { to, gone } => {
                self.rewind(state, to, &gone).await?;
                Ok(true)
            }
            Step::TooDeep(oldest) => {
                let error = Error::TooDeep {
                    chain: self.settings.name.clone(),
                    kept_from: oldest.number,
                    kept_hash: oldest.hash.to_string(),
                };
                let why = error.to_string();
                tracing::error!("{why}");
                self.store
                    .stop_chain(&self.settings.name, Some(&why), (self.now)())
                    .await?;
                Err(error.into())
            }
        }
    }

    async fn extend(
        &mut self,
        state: &ChainState,
        link: Link,
        header: &Header,
        tagged: Option<BlockMark>,
    ) -> Result<(), Stop> {
        let look = self.look();
        let observed: Vec<Observation> = self
            .quorum
            .agreed(
                &format!("what is in block {} ({})", link.number, link.hash),
                |endpoint| look.block(endpoint, header),
                |observed| format!("{} observations", observed.len()),
            )
            .await?;
        let commit = ChainCommit {
            blocks: vec![kept(link)],
            observed,
            cursor: Some(mark(link)),
            cursor_s: Some(header.time_s),
            keep_from: self.keep_from(link.number),
            ..self.commit(state)
        };
        let commit = self.with_final(commit, link, state, tagged).await?;
        if self.store(commit).await?
            && let Some(walk) = &mut self.walk
        {
            walk.extend(link);
        }
        Ok(())
    }

    async fn rewind(&mut self, state: &ChainState, to: Link, gone: &[Link]) -> Result<(), Stop> {
        let deepest = gone.last().map_or(to.number, |link| link.number);
        let was_final = state
            .finalized
            .is_some_and(|finalized| finalized.number >= deepest);
        if was_final {
            tracing::error!(
                chain = self.settings.name,
                back_to = to.number,
                blocks = gone.len(),
                policy = %self.settings.finality,
                "a reorganisation goes deeper than the chain's policy: what was final is retracted"
            );
        } else {
            tracing::info!(
                chain = self.settings.name,
                back_to = to.number,
                blocks = gone.len(),
                "a reorganisation"
            );
        }
        let commit = ChainCommit {
            retract_above: Some(to.number),
            cursor: Some(mark(to)),
            keep_from: self.keep_from(to.number),
            ..self.commit(state)
        };
        if self.store(commit).await?
            && let Some(walk) = &mut self.walk
        {
            walk.rewind(to);
        }
        Ok(())
    }

    /// Stores that more is final, where nothing else is new.
    async fn finalize(
        &mut self,
        state: &ChainState,
        tagged: Option<BlockMark>,
    ) -> Result<bool, Stop> {
        let Some(tip) = self.walk.as_ref().map(Walk::tip) else {
            return Ok(false);
        };
        let commit = ChainCommit {
            keep_from: self.keep_from(tip.number),
            ..self.commit(state)
        };
        let commit = self.with_final(commit, tip, state, tagged).await?;
        if commit.finalized.is_none() {
            return Ok(false);
        }
        self.store(commit).await
    }

    /// The block that a tag names; `None`: the chain has none yet.
    async fn tagged(&self, tag: &'static str) -> Result<Option<BlockMark>, Stop> {
        match self.quorum.newest(tag).await {
            Ok(header) => Ok(Some(mark(header.link))),
            Err(trouble) if trouble.may_be_gone() => Ok(None),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Adds what becomes final with a step after which the branch ends with `tip`.
    async fn with_final(
        &self,
        mut commit: ChainCommit,
        tip: Link,
        state: &ChainState,
        tagged: Option<BlockMark>,
    ) -> Result<ChainCommit, Stop> {
        let tag = tagged.map(|tagged| tagged.number);
        let Some(number) = self.settings.finality.reached(tip.number, tag) else {
            return Ok(commit);
        };
        // What is final stays so: a tag that goes back says something about the endpoint.
        if state.finalized.is_some_and(|known| known.number >= number) {
            return Ok(commit);
        }
        let ours = if number == tip.number {
            Some(tip)
        } else {
            self.walk.as_ref().and_then(|walk| walk.kept(number))
        };
        let ours = match ours {
            Some(link) => link,
            None if self
                .walk
                .as_ref()
                .is_some_and(|walk| number < walk.oldest().number) =>
            {
                return Ok(commit);
            }
            None => self.quorum.header_at(number).await?.link,
        };
        if let Some(tagged) = tagged.filter(|tagged| tagged.number == number)
            && tagged != mark(ours)
        {
            // Our branch is not the chain's; the walk will find out.
            return Ok(commit);
        }
        commit.finalized = Some(mark(ours));
        Ok(commit)
    }

    fn look(&self) -> Look<'_> {
        Look {
            interest: &self.interest,
            blooms: self.settings.blooms,
            cross_checked: self.quorum.is_cross_checked(),
        }
    }

    fn keep_from(&self, tip: u64) -> u64 {
        self.walk.as_ref().map_or(0, |walk| walk.keep_from(tip))
    }

    fn commit(&self, state: &ChainState) -> ChainCommit {
        ChainCommit {
            chain: self.settings.name.clone(),
            from: state.cursor,
            interest: self.interest.version(),
            at_us: (self.now)(),
            ..ChainCommit::default()
        }
    }

    /// Stores a step. `false`: what is watched has changed meanwhile; the next turn looks again.
    async fn store(&self, commit: ChainCommit) -> Result<bool, Stop> {
        // In a task of its own: who stops waiting must not leave us in doubt about what is stored.
        let store = self.store.clone();
        stencil_crashpoint::reach("chain.before_commit");
        let committed = store.commit_chain(&commit).await?;
        stencil_crashpoint::reach("chain.after_commit");
        Ok(matches!(committed, ChainCommitted::Done { .. }))
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a step came to nothing.
enum Stop {
    Trouble(Trouble),
    Error(Error),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<stencil_store::Error> for Stop {
    fn from(error: stencil_store::Error) -> Self {
        Self::Error(error.into())
    }
}

fn kept(link: Link) -> KeptBlock {
    KeptBlock {
        mark: mark(link),
        parent: link.parent.0,
    }
}
