//! Roll-outs at the rim of the pipeline: who waits for an answer, what gateways are told, and the
//! images' payloads on disk.

mod delivery;
mod images;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::image::Fetch;
use stencil_rollout::Refusal;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use delivery::Delivery;
pub use images::{Images, Received, Receiving};

use crate::pipeline::Answer;

/// Requests for pieces that may wait; a gateway asks again for those beyond.
const MAX_FETCHES: usize = 1_024;

/// Vendor and class of devices as one text, as devices say them.
pub(crate) fn class(vendor: &[u8; 16], class: &[u8; 16]) -> String {
    format!("{}/{}", hex::encode(vendor), hex::encode(class))
}

/// What became of what somebody asked of a roll-out.
type Outcome = Result<(), Refusal>;

/// A piece that a gateway asks for.
pub(crate) type Asked = (TenantId, GatewayId, Fetch);

/// What the pipeline tells of roll-outs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rollouts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    questions: Mutex<HashMap<[u8; 16], oneshot::Sender<Outcome>>>,
    wanted: Mutex<BTreeSet<(TenantId, GatewayId)>>,
    wake: Notify,
    fetches: mpsc::Sender<Asked>,
    under_way: AtomicBool,
}

impl Rollouts {
    /// With the end at which requests for pieces come out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (fetches, asked) = mpsc::channel(MAX_FETCHES);
        let inner = Inner {
            questions: Mutex::default(),
            wanted: Mutex::default(),
            wake: Notify::new(),
            fetches,
            under_way: AtomicBool::new(false),
        };
        (Self(Arc::new(inner)), asked)
    }

    /// The answer to a question that is about to be logged.
    pub(crate) fn expect(&self, question: [u8; 16]) -> oneshot::Receiver<Result<(), Refusal>> {
        let (tell, told) = oneshot::channel();
        let mut questions = lock(&self.0.questions);
        // Who asked and has gone waits for nothing.
        questions.retain(|_, waiting| !waiting.is_closed());
        questions.insert(question, tell);
        told
    }

    /// Answers questions, when what they changed is durable.
    pub(crate) fn answer(&self, answers: &[Answer]) {
        if answers.is_empty() {
            return;
        }
        let mut questions = lock(&self.0.questions);
        for (question, answer) in answers {
            if let Some(tell) = questions.remove(question) {
                // It may have stopped waiting.
                let _ = tell.send(*answer);
            }
        }
    }

    /// Devices behind a gateway are to run other images, or it has begun to listen.
    pub(crate) fn wanted(&self, tenant: &TenantId, gateway: &GatewayId) {
        lock(&self.0.wanted).insert((tenant.clone(), gateway.clone()));
        self.0.wake.notify_one();
    }

    /// A gateway asks for a piece of an image.
    pub(crate) fn fetch(&self, tenant: &TenantId, gateway: &GatewayId, fetch: Fetch) {
        let asked = (tenant.clone(), gateway.clone(), fetch);
        if self.0.fetches.try_send(asked).is_err() {
            tracing::warn!(%tenant, %gateway, "a piece of an image is not sent: too many are asked for");
        }
    }

    /// Says whether there is a roll-out that is not over.
    pub(crate) fn are_under_way(&self, under_way: bool) {
        self.0.under_way.store(under_way, Ordering::Release);
    }

    /// Whether there is a roll-out that is not over.
    pub(crate) fn is_any_under_way(&self) -> bool {
        self.0.under_way.load(Ordering::Acquire)
    }

    fn take_wanted(&self) -> BTreeSet<(TenantId, GatewayId)> {
        std::mem::take(&mut *lock(&self.0.wanted))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
