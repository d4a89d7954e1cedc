//! Where log lines go: standard error, so that standard output stays the answer.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts logging with a filter in `tracing`'s form.
pub(crate) fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("`{filter}` is no log filter; try `info`, `debug` or `stencil_mqtt=debug,warn`")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter_reloading();
    let handle = builder.reload_handle();
    let set = move |filter: &str| {
        if let Ok(filter) = EnvFilter::try_new(filter) {
            // It fails only where nothing logs any more.
            let _ = handle.reload(filter);
        }
    };
    let _ = SET.set(Box::new(set));
    builder.init();
    Ok(())
}

/// Sets what is logged.
static SET: OnceLock<Box<dyn Fn(&str) + Send + Sync>> = OnceLock::new();

/// What a gateway may do to the log.
pub(crate) fn of_gateway(filter: &str) -> stencil_gateway::Logs {
    let at_start = filter.to_owned();
    stencil_gateway::Logs::leveled(move |level| {
        if let Some(set) = SET.get() {
            set(level.unwrap_or(&at_start));
        }
    })
}
