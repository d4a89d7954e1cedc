//! Who waits for which commit: a commit wakes those that it reaches, in their order, and nobody else.
//!
//! The sink's channel wakes all that look at it. With a thousand clients that have one message in
//! flight each, and commits of twenty messages, each client would be woken fifty times a message.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// What is committed, and who waits for more.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    state: Mutex<State>,
    followed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    committed: u64,
    /// Nothing more will be.
    ended: bool,
    /// By position, then by a number that no two have.
    waiting: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

/// There will be no more commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

impl Commits {
    /// Follows the sink's channel in a task, unless one does already. Must be called in a runtime.
    pub(crate) fn follow(self: &Arc<Self>, mut committed: watch::Receiver<u64>) {
        if self.followed.swap(true, Ordering::AcqRel) {
            return;
        }
        let following = Following(Arc::downgrade(self));
        tokio::spawn(async move {
            loop {
                let now = *committed.borrow_and_update();
                match following.0.upgrade() {
                    Some(commits) => commits.advance(now),
                    // The endpoint is gone.
                    None => return,
                }
                if committed.changed().await.is_err() {
                    if let Some(commits) = following.0.upgrade() {
                        commits.end();
                    }
                    return;
                }
            }
        });
    }

    /// Ready when all up to `position` is committed, or never will be.
    pub(crate) fn reached(&self, position: u64) -> Reached<'_> {
        Reached {
            commits: self,
            position,
            key: None,
        }
    }

    fn advance(&self, committed: u64) {
        let mut due = Vec::new();
        {
            let mut state = self.state();
            state.committed = state.committed.max(committed);
            while let Some(first) = state.waiting.first_entry()
                && first.key().0 <= committed
            {
                due.push(first.remove());
            }
        }
        due.into_iter().for_each(Waker::wake);
    }

    fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let all = std::mem::take(&mut state.waiting);
        drop(state);
        all.into_values().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock leaves it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the end of a task that follows, however it ends.
struct Following(Weak<Commits>);

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(commits) = self.0.upgrade() {
            commits.followed.store(false, Ordering::Release);
        }
    }
}

/// See [`Commits::reached`].
#[derive(Debug)]
pub(crate) struct Reached<'a> {
    commits: &'a Commits,
    position: u64,
    /// Where its waker is.
    key: Option<(u64, u64)>,
}

impl Future for Reached<'_> {
    type Output = Result<(), Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let commits = self.commits;
        let mut state = commits.state();
        if state.committed >= self.position {
            return Poll::Ready(Ok(()));
        }
        if state.ended {
            return Poll::Ready(Err(Ended));
        }
        let position = self.position;
        let key = *self.key.get_or_insert_with(|| {
            state.next += 1;
            (position, state.next)
        });
        match state.waiting.get_mut(&key) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                state.waiting.insert(key, cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.commits.state().waiting.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_those_that_are_reached_are_woken_and_once() {
        let commits = Commits::default();
        let counts = [0; 3].map(|_| Arc::new(Count::default()));
        let wakers: Vec<Waker> = counts.iter().cloned().map(Waker::from).collect();
        let mut waiting: Vec<_> = [10, 20, 20].map(|at| commits.reached(at)).into();
        let mut poll = |index: usize| {
            let waiting: &mut Reached<'_> = &mut waiting[index];
            Pin::new(waiting).poll(&mut Context::from_waker(&wakers[index]))
        };
        let woken = || {
            counts
                .each_ref()
                .map(|count| count.0.load(Ordering::Relaxed))
        };
        for index in [0, 1, 2, 1] {
            assert_eq!(poll(index), Poll::Pending);
        }
        commits.advance(9);
        assert_eq!(woken(), [0, 0, 0]);
        commits.advance(10);
        assert_eq!(woken(), [1, 0, 0]);
        assert_eq!(poll(0), Poll::Ready(Ok(())));
        assert_eq!(poll(1), Poll::Pending);
        commits.advance(25);
        assert_eq!(woken(), [1, 1, 1]);
        assert_eq!(poll(2), Poll::Ready(Ok(())));
        assert!(commits.state().waiting.is_empty());
    }

    #[test]
    fn who_waits_no_more_is_forgotten() {
        let commits = Commits::default();
        let mut gone = commits.reached(5);
        let pending = Pin::new(&mut gone).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(pending, Poll::Pending);
        assert_eq!(commits.state().waiting.len(), 1);
        drop(gone);
        assert!(commits.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn it_follows_the_sink_to_its_end() {
        let commits = Arc::new(Commits::default());
        let (sink, committed) = watch::channel(3);
        commits.follow(committed.clone());
        commits.follow(committed);
        assert_eq!(commits.reached(3).await, Ok(()));
        let (waiting, _) = tokio::join!(commits.reached(7), async { sink.send(8) });
        assert_eq!(waiting, Ok(()));
        let (waiting, ()) = tokio::join!(commits.reached(9), async { drop(sink) });
        assert_eq!(waiting, Err(Ended));
        assert_eq!(commits.reached(8).await, Ok(()));
    }
}
