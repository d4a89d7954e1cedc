//! What the store keeps in memory beside the database: the heads of the series.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::{Mutex, MutexGuard};

use super::Sqlite;
use crate::points::Token;
use crate::series::head::{Change, Heads};
use crate::{Error, Points};

/// The heads, and whose turn it is to change them.
#[derive(Default)]
pub(super) struct State {
    turn: Mutex<()>,
    heads: RwLock<Option<Heads>>,
    /// Set while it is not known whether the heads say what the database says.
    doubtful: AtomicBool,
    /// The points of the commit that was tried last, and the tail that it makes.
    attempt: std::sync::Mutex<Option<(Token, i64)>>,
}

/// The turn to change series. While it is held, heads and database change together
/// or not at all.
pub(super) struct Turn<'a> {
    state: &'a State,
    _turn: MutexGuard<'a, ()>,
}

impl Sqlite {
    /// Waits for the turn to change series, with heads that are right.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, Error> {
        let state = &self.inner.state;
        let turn = Turn {
            state,
            _turn: state.turn.lock().await,
        };
        if !state.ready() {
            let heads = self.load_heads().await?;
            *state.heads.write().unwrap_or_else(PoisonError::into_inner) = Some(heads);
            state.doubtful.store(false, Ordering::Release);
        }
        Ok(turn)
    }

    /// Looks at the heads, which are rebuilt first if need be.
    pub(super) async fn with_heads<T>(&self, look: impl FnOnce(&Heads) -> T) -> Result<T, Error> {
        let state = &self.inner.state;
        if !state.ready() {
            drop(self.turn().await?);
        }
        let heads = state.heads.read().unwrap_or_else(PoisonError::into_inner);
        let heads = heads
            .as_ref()
            .ok_or_else(|| Error::Unavailable("no heads".into()))?;
        Ok(look(heads))
    }

    /// Remembers what a reader found out.
    pub(super) fn change_heads(&self, change: impl FnOnce(&mut Heads)) {
        let mut heads = self
            .inner
            .state
            .heads
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(heads) = heads.as_mut() {
            change(heads);
        }
    }
}

impl State {
    fn ready(&self) -> bool {
        !self.doubtful.load(Ordering::Acquire)
            && self
                .heads
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some()
    }
}

impl Turn<'_> {
    pub(super) fn look<T>(&self, look: impl FnOnce(&Heads) -> T) -> Result<T, Error> {
        let heads = self
            .state
            .heads
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(look(
            heads
                .as_ref()
                .ok_or_else(|| Error::Unavailable("no heads".into()))?,
        ))
    }

    /// Whether these points are there, by a commit that is tried again: it did succeed, and whoever
    /// tries has not heard of it.
    pub(super) fn are_there(&self, points: &Points) -> Result<bool, Error> {
        let present = self.look(Heads::tail)?;
        let attempt = self.attempt();
        Ok(attempt
            .as_ref()
            .is_some_and(|(token, tail)| points.are(token) && *tail == present))
    }

    /// A commit of these points is tried.
    pub(super) fn tries(&self, points: &Points, tail: i64) {
        *self.attempt() = Some((points.token(), tail));
    }

    fn attempt(&self) -> std::sync::MutexGuard<'_, Option<(Token, i64)>> {
        let attempt = &self.state.attempt;
        attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the database may say something else than the heads, until
    /// [`Doubt::settle`]. If that is never reached, the heads are rebuilt.
    pub(super) fn doubt(&self) -> Doubt<'_> {
        Doubt {
            state: self.state,
            settled: false,
        }
    }
}

/// See [`Turn::doubt`].
pub(super) struct Doubt<'a> {
    state: &'a State,
    settled: bool,
}

impl Doubt<'_> {
    /// The transaction succeeded: the heads follow.
    pub(super) fn settle(mut self, change: Change, known: usize) {
        let mut heads = self
            .state
            .heads
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(heads) = heads.as_mut() {
            heads.apply(change);
            heads.forget_idle(known);
            self.settled = true;
        }
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.state.doubtful.store(true, Ordering::Release);
        }
    }
}
