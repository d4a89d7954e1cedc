//! Where log lines go: standard error, so that standard output stays the answer.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, LazyLock, OnceLock};

use anyhow::Context as _;
use stencil_gateway::{Logs, Ring};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry, reload};

/// The newest lines of a gateway's process.
static RING: LazyLock<Arc<Ring>> = LazyLock::new(Arc::default);
/// Takes another filter.
type Set = Box<dyn Fn(&str) + Send + Sync>;

/// Sets what is logged.
static SET: OnceLock<Set> = OnceLock::new();

/// Starts logging with a filter in `tracing`'s form; a gateway's process holds the newest lines.
pub(crate) fn start(filter: &str, is_gateway: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(quieted(filter)).with_context(|| {
        format!("`{filter}` is no log filter; try `info`, `debug` or `stencil_mqtt=debug,warn`")
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let set = move |filter: &str| {
        if let Ok(filter) = EnvFilter::try_new(quieted(filter)) {
            // It fails only where nothing logs any more.
            let _ = handle.reload(filter);
        }
    };
    let _ = SET.set(Box::new(set));
    let held = is_gateway.then(|| fmt::layer().with_ansi(false).with_writer(Held));
    registry()
        .with(filter)
        .with(
            fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal()),
        )
        .with(held)
        .init();
    Ok(())
}

/// The OPC UA library says each attempt to connect, each time; the gateway says what changes. Who
/// names it wants to hear it.
fn quieted(filter: &str) -> String {
    ["opcua_client", "opcua_core", "opcua_crypto"]
        .iter()
        .filter(|library| !filter.contains(**library))
        .fold(filter.to_owned(), |all, library| {
            format!("{all},{library}=off")
        })
}

/// What a gateway may do to the log.
pub(crate) fn of_gateway(filter: &str) -> Logs {
    let at_start = filter.to_owned();
    Logs::new(Arc::clone(&RING), move |level| {
        if let Some(set) = SET.get() {
            set(level.unwrap_or(&at_start));
        }
    })
}

/// Gives each line to [`RING`].
struct Held;

/// A line on its way there.
struct Line(Level);

impl MakeWriter<'_> for Held {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(Level::INFO)
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Line {
        Line(*meta.level())
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        RING.push(self.0, &String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
