//! Chains, and what comes of them: the hub's side of payments.
//!
//! ```text
//! Chain::run: follower → numbered stream in the store (observed, retracted, final)
//! ```

use std::sync::Arc;
use std::time::Duration;

use stencil_payments::port::Chain;

use crate::parts::{Parts, told_to_end};

/// Between two starts of a chain that ended because of something that people have to deal with.
const REST: Duration = Duration::from_secs(30);

/// The chains that the hub follows and acts on.
#[derive(Clone)]
pub(crate) struct Chains {
    all: Arc<[Arc<dyn Chain>]>,
}

impl Chains {
    pub(crate) fn new(all: Vec<Arc<dyn Chain>>) -> Self {
        Self { all: all.into() }
    }

    /// Each of them, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Chain>> {
        self.all.iter()
    }

    /// Follows all of them. That one can't be followed ends neither the hub nor another.
    pub(crate) fn run(&self, parts: &mut Parts) {
        for chain in self.iter().cloned() {
            parts.effect("chain", |mut stop| async move {
                tokio::select! {
                    () = follow(chain.as_ref()) => {}
                    () = told_to_end(&mut stop) => {}
                }
                Ok(())
            });
        }
    }
}

async fn follow(chain: &dyn Chain) {
    loop {
        if let Err(why) = chain.run().await {
            tracing::error!(chain = chain.name(), why, "the chain is not followed");
        }
        tokio::time::sleep(REST).await;
    }
}
