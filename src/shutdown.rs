//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A flag that turns true at the first Ctrl-C or SIGTERM.
pub(crate) fn on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Whoever held the other end is gone already: nothing is left to stop.
        let _ = stop.send(true);
        // The flag lives as long as the process: a dropped sender would read as a stop too.
        std::future::pending::<()>().await;
    });
    Ok(stopped)
}
