//! The tasks of a running hub, and the order in which they end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::Error;
use crate::health::Health;

type Ended = (&'static str, Result<(), Error>);

/// Three groups that end one after the other: listeners, so that nothing new comes in; the
/// pipeline, when all that came in is applied; and what acts on it.
#[derive(Debug)]
pub(crate) struct Parts {
    listeners: Group,
    pipeline: Group,
    effects: Group,
    detached: JoinSet<()>,
    health: Arc<Health>,
    drain_timeout: Duration,
}

#[derive(Debug)]
struct Group {
    tasks: JoinSet<Ended>,
    stop: watch::Sender<bool>,
}

/// Returns when a part is told to end.
pub(crate) async fn told_to_end(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone says the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Parts {
    pub(crate) fn new(health: Arc<Health>, drain_timeout: Duration) -> Self {
        Self {
            listeners: Group::new(),
            pipeline: Group::new(),
            effects: Group::new(),
            detached: JoinSet::new(),
            health,
            drain_timeout,
        }
    }

    /// Something through which the world comes in.
    pub(crate) fn listener<F>(
        &mut self,
        name: &'static str,
        part: impl FnOnce(watch::Receiver<bool>) -> F,
    ) where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.listeners.spawn(name, part);
    }

    /// The pipeline.
    pub(crate) fn pipeline<F>(&mut self, part: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.pipeline.spawn("pipeline", part);
    }

    /// Something that acts on what the pipeline has committed.
    pub(crate) fn effect<F>(
        &mut self,
        name: &'static str,
        part: impl FnOnce(watch::Receiver<bool>) -> F,
    ) where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.effects.spawn(name, part);
    }

    /// Something that ends by itself, and is cut off when the hub ends.
    pub(crate) fn detached(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.detached.spawn(part);
    }

    /// Returns when a part has ended that was not told to.
    pub(crate) async fn failed(&mut self) -> Error {
        let ended = tokio::select! {
            Some(ended) = self.listeners.tasks.join_next() => ended,
            Some(ended) = self.pipeline.tasks.join_next() => ended,
            Some(ended) = self.effects.tasks.join_next() => ended,
            else => return Error::Stopped("hub", "all of it has ended".to_owned()),
        };
        let (name, why) = read(ended);
        let why = why.map_or_else(|error| error.to_string(), |()| "it ended".to_owned());
        self.health.stopped(name, &why);
        tracing::error!(part = name, why, "a part of the hub has stopped");
        Error::Stopped(name, why)
    }

    /// Ends all parts, group by group; what takes longer than the time to drain is aborted.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        self.detached.shutdown().await;
        let mut result = Ok(());
        for group in [self.listeners, self.pipeline, self.effects] {
            // A listener drains its connections within this time by itself; a little more, so
            // that its own bound comes first.
            let bound = self.drain_timeout + Duration::from_secs(1);
            let ended = group.end(bound).await;
            result = result.and(ended);
        }
        result
    }
}

impl Group {
    fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            stop: watch::Sender::new(false),
        }
    }

    fn spawn<F>(&mut self, name: &'static str, part: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let part = part(self.stop.subscribe());
        self.tasks.spawn(async move { (name, part.await) });
    }

    async fn end(mut self, bound: Duration) -> Result<(), Error> {
        self.stop.send_replace(true);
        let mut result = Ok(());
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                let (name, ended) = read(ended);
                if let Err(error) = ended {
                    tracing::error!(part = name, %error, "a part of the hub did not end well");
                    result = Err(error);
                }
            }
        };
        if tokio::time::timeout(bound, all).await.is_err() {
            self.tasks.shutdown().await;
            let why = format!("it did not end within {} s", bound.as_secs());
            result = Err(Error::Stopped("hub", why));
        }
        result
    }
}

fn read(ended: Result<Ended, JoinError>) -> Ended {
    ended.unwrap_or_else(|error| ("task", Err(Error::Stopped("task", error.to_string()))))
}
