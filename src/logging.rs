//! Where log lines go: standard error, so that standard output stays the answer.

use std::borrow::Cow;
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
                .with_writer(|| OneLine(io::stderr()))
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

/// Writes each record as one line, whatever breaks are in it: what reads a log reads lines, and
/// nothing in one shall look like another record. A record comes in one call.
struct OneLine<W>(W);

impl<W: io::Write> io::Write for OneLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(&one_line(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A record with its breaks written as `\n` and `\r`, but for the one at its end.
fn one_line(record: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = match record {
        [text @ .., b'\n'] => (text, true),
        text => (text, false),
    };
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(record);
    }
    let mut line = Vec::with_capacity(record.len() + 16);
    for byte in text {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(*other),
        }
    }
    if end {
        line.push(b'\n');
    }
    Cow::Owned(line)
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
        RING.push(self.0, &String::from_utf8_lossy(&one_line(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let written = Written::default();
        let to = written.clone();
        let layer = fmt::layer()
            .with_ansi(false)
            .with_writer(move || OneLine(to.clone()));
        let held = fmt::layer().with_ansi(false).with_writer(Held);
        tracing::subscriber::with_default(registry().with(layer).with(held), || {
            let error = "line 3: wrong\nline 9: wrong\r\nINFO forged";
            tracing::error!(%error, "the mapping stays as it was");
            tracing::info!("next");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains("line 3: wrong\\nline 9: wrong\\r\\nINFO forged"),
            "{text}"
        );
        assert!(lines[1].ends_with("next") && text.ends_with('\n'));
    }
}
