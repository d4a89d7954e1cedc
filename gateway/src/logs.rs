//! A hand on what is logged, for who starts a gateway.

use std::{fmt, sync::Arc};

/// Sets how much is logged: one of `error`, `warn`, `info`, `debug`, `trace`; `None`: as at the
/// start.
type SetLevel = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// What the gateway may do to the process's log. Without it, it does nothing.
#[derive(Clone, Default)]
pub struct Logs {
    set_level: Option<SetLevel>,
}

impl Logs {
    /// With a function that sets how much is logged; it gets `None` for as much as at the start.
    #[must_use]
    pub fn leveled(set_level: impl Fn(Option<&str>) + Send + Sync + 'static) -> Self {
        Self {
            set_level: Some(Arc::new(set_level)),
        }
    }

    pub(crate) fn set_level(&self, level: Option<&str>) {
        if let Some(set) = &self.set_level {
            set(level);
            tracing::debug!(level, "how much is logged is set");
        }
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}
