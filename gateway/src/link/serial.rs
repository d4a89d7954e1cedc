//! Links over serial lines: one device each, opened again when the line goes away.

use std::{sync::Arc, time::Duration};

use stencil_field::serial::{Line, Settings};
use stencil_strangers::Who;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::{Links, connection::Connection};
use crate::{options, spool::stopped};

/// How long to wait before a line is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Keeps a line open until `stop` holds true.
pub(crate) async fn keep_open(
    line: options::Serial,
    links: Arc<Links>,
    mut stop: watch::Receiver<bool>,
) {
    let path = line.path.display().to_string();
    let settings = Settings::plain(line.path, line.baud);
    let mut told = false;
    loop {
        match Line::open(&settings) {
            Ok(opened) => {
                told = false;
                links.metrics.links_accepted.increment();
                tracing::info!(path, baud = line.baud, "serial line opened");
                let from = Who::Named(path.as_str().into());
                let links = Arc::clone(&links);
                let connection = Connection::new(opened, links, from, None, stop.clone());
                connection
                    .run()
                    .instrument(tracing::info_span!("link", line = path))
                    .await;
            }
            // Once, not each second as long as the cable is out.
            Err(error) if !told => {
                told = true;
                tracing::error!(path, %error, "the serial line cannot be opened; trying again");
            }
            Err(_) => {}
        }
        // Also when nobody is left who could say so.
        let stop = tokio::time::timeout(REOPEN, stopped(&mut stop)).await;
        if stop.is_ok() {
            return;
        }
    }
}
