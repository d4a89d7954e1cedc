//! When to stop: at Ctrl-C and SIGTERM, and for the demo's parts when the demo is gone.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Set by `stencil demo` for the parts that it starts: the end of standard input is a stop too.
/// The demo holds the other end of that pipe open for as long as it lives, so that its parts
/// end by themselves even when it is killed. Not for people, and so in no help text.
pub(crate) const WITH_STDIN: &str = "STENCIL_END_WITH_STDIN";
/// How long a part of a demo that is gone may take for an orderly end. All parts end at once
/// then, and nobody is left to whom one could hand in what it has; each starts again from what
/// is on its disk.
const ORPHAN_LIMIT: Duration = Duration::from_secs(5);
/// Signals that come closer together are one: a wrapper such as `timeout` hands on what the
/// whole process group got already.
const ONE_SIGNAL: Duration = Duration::from_millis(200);

/// A flag that turns true at the first Ctrl-C or SIGTERM.
pub(crate) fn on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut signals = count()?;
    if std::env::var_os(WITH_STDIN).is_some() {
        end_with_stdin(stop.clone())?;
    }
    tokio::spawn(async move {
        reaches(&mut signals, 1).await;
        tracing::info!("a signal asks for the end: stopping");
        // Whoever held the other end is gone already: nothing is left to stop.
        let _ = stop.send(true);
        // The flag lives as long as the process: a dropped sender would read as a stop too.
        std::future::pending::<()>().await;
    });
    Ok(stopped)
}

/// How many times Ctrl-C or SIGTERM came.
pub(crate) fn count() -> anyhow::Result<watch::Receiver<u32>> {
    let (counter, counted) = watch::channel(0);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if last.is_some_and(|last| last.elapsed() < ONE_SIGNAL) {
                continue;
            }
            last = Some(Instant::now());
            counter.send_modify(|count: &mut u32| *count = count.saturating_add(1));
        }
    });
    Ok(counted)
}

/// Waits until as many signals came.
pub(crate) async fn reaches(signals: &mut watch::Receiver<u32>, times: u32) {
    // The counter lives as long as the runtime: there is no other end.
    let _ = signals.wait_for(|count| *count >= times).await;
}

/// A thread of its own: a read of standard input can't be cancelled, and must not hold up the
/// runtime's end.
#[allow(
    clippy::disallowed_methods,
    reason = "the thread is not the runtime's, and the last way out is for a part that hangs"
)]
fn end_with_stdin(stop: watch::Sender<bool>) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            // An input that can't be read has ended too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            tracing::info!("whoever started this part is gone; it ends");
            let _ = stop.send(true);
            std::thread::sleep(ORPHAN_LIMIT);
            tracing::warn!(
                limit_s = ORPHAN_LIMIT.as_secs(),
                "no orderly end in time; ends at once"
            );
            std::process::exit(1);
        })?;
    Ok(())
}
