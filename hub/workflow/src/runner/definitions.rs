//! Definitions that were compiled before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stencil_protocol::id::TenantId;
use stencil_store::{Run, Workflows};

use crate::definition::{self, Definition};

type Key = (TenantId, String, u32);

/// A bounded memory of compiled definitions. A version never changes, so what
/// is in it stays true; when it is full it is emptied.
pub(super) struct Definitions {
    most: usize,
    kept: Mutex<HashMap<Key, Arc<Definition>>>,
}

/// Why there is no definition.
pub(super) enum Missing {
    /// The store failed; later it may not.
    Store(stencil_store::Error),
    /// It is gone, or cannot be understood (any more).
    Unusable(String),
}

impl Definitions {
    pub(super) fn new(most: u32) -> Self {
        let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        Self {
            most,
            kept: Mutex::new(HashMap::new()),
        }
    }

    /// The definition that a run is pinned to.
    pub(super) async fn of(
        &self,
        run: &Run,
        workflows: &dyn Workflows,
    ) -> Result<Arc<Definition>, Missing> {
        let key = (run.tenant.clone(), run.workflow.clone(), run.version);
        if let Some(known) = self.lock().get(&key) {
            return Ok(known.clone());
        }
        let stored = workflows
            .get(&run.tenant, &run.workflow, Some(run.version))
            .await
            .map_err(Missing::Store)?;
        let Some(stored) = stored else {
            let why = format!(
                "there is no version {} of workflow `{}`",
                run.version, run.workflow
            );
            return Err(Missing::Unusable(why));
        };
        let definition = definition::parse(&stored.yaml).map_err(|error| {
            let (id, version) = (&run.workflow, run.version);
            Missing::Unusable(format!(
                "version {version} of workflow `{id}` cannot be run: {error}"
            ))
        })?;
        let definition = Arc::new(definition);
        let mut kept = self.lock();
        if kept.len() >= self.most {
            kept.clear();
        }
        kept.insert(key, definition.clone());
        Ok(definition)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Definition>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
