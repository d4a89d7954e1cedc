//! What is made once and given to many: documents, status lists that were signed a moment ago. And how many
//! check credentials at a time. Strangers ask for all of it as often as they like; for that no private key is
//! opened again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use stencil_identity::document::Document;
use stencil_protocol::id::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Error, Purpose};

/// Questions that are looked at at one time: each may take a processor for some milliseconds.
const AT_ONCE: usize = 8;
/// Documents that are kept, and lists.
const MAX_KEPT: usize = 1_024;
/// For how long a list is given out as it was signed.
const LIST_US: i64 = 60_000_000;

/// By what something was made; if it is another one by now, so is what was made.
#[derive(Debug, PartialEq, Eq)]
struct Made<S, T> {
    of: S,
    what: T,
}

type ListName = (TenantId, &'static str, u32);
type SignedList = Made<(Vec<u8>, Vec<u32>), (i64, Map<String, Value>)>;

/// It. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Inner>);

struct Inner {
    hub: Mutex<Option<Document>>,
    tenants: Mutex<HashMap<TenantId, Made<Vec<u8>, Document>>>,
    lists: Mutex<HashMap<ListName, SignedList>>,
    opened: AtomicU64,
    room: Arc<Semaphore>,
}

impl Default for Kept {
    fn default() -> Self {
        Self(Arc::new(Inner {
            hub: Mutex::default(),
            tenants: Mutex::default(),
            lists: Mutex::default(),
            opened: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }))
    }
}

fn open<T>(place: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep<K: std::hash::Hash + Eq, V>(place: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut table = open(place);
    if table.len() >= MAX_KEPT && !table.contains_key(&key) {
        table.clear();
    }
    table.insert(key, value);
}

impl Kept {
    /// Room for one more question. It is given back when what is given is dropped.
    pub(super) fn room(&self) -> Result<OwnedSemaphorePermit, Error> {
        let room = Arc::clone(&self.0.room).try_acquire_owned();
        room.map_err(|_| Error::Crowded)
    }

    /// The hub's own document, if it is of this DID.
    pub(super) fn hub(&self, did: &str) -> Option<Document> {
        let kept = open(&self.0.hub).clone();
        kept.filter(|document| document.did().as_str() == did)
    }

    pub(super) fn keep_hub(&self, document: &Document) {
        *open(&self.0.hub) = Some(document.clone());
    }

    /// A tenant's document, if it was made of this seed (sealed) and is of this DID.
    pub(super) fn tenant(&self, tenant: &TenantId, sealed: &[u8], did: &str) -> Option<Document> {
        let kept = open(&self.0.tenants);
        let made = kept.get(tenant).filter(|made| made.of == sealed)?;
        let document = made.what.clone();
        (document.did().as_str() == did).then_some(document)
    }

    pub(super) fn keep_tenant(&self, tenant: &TenantId, sealed: Vec<u8>, document: &Document) {
        let what = document.clone();
        keep(&self.0.tenants, tenant.clone(), Made { of: sealed, what });
    }

    /// A list with these bits set, as it was signed by this seed a moment ago.
    pub(super) fn list(
        &self,
        (tenant, purpose, number): (&TenantId, Purpose, u32),
        of: &(Vec<u8>, Vec<u32>),
        now_us: i64,
    ) -> Option<Map<String, Value>> {
        let kept = open(&self.0.lists);
        let made = kept.get(&(tenant.clone(), purpose.name(), number))?;
        let (made_us, list) = &made.what;
        let is_young = (*made_us..made_us.saturating_add(LIST_US)).contains(&now_us);
        (made.of == *of && is_young).then(|| list.clone())
    }

    pub(super) fn keep_list(
        &self,
        (tenant, purpose, number): (&TenantId, Purpose, u32),
        of: (Vec<u8>, Vec<u32>),
        what: (i64, Map<String, Value>),
    ) {
        let name = (tenant.clone(), purpose.name(), number);
        keep(&self.0.lists, name, Made { of, what });
    }

    pub(super) fn has_opened(&self) {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// How often private keys were opened.
    #[cfg(test)]
    pub(crate) fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    /// All the room that there is.
    #[cfg(test)]
    pub(crate) fn all_room(&self) -> Vec<OwnedSemaphorePermit> {
        std::iter::from_fn(|| self.room().ok()).collect()
    }
}
