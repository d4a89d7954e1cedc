//! Images on their way to a device: offered when it says what it runs, sent as it wants them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use stencil_protocol::{
    image::{Digest, What},
    link::Down,
    transfer::{Chunk, MAX_CHUNK_BYTES, Outcome, Running, Verdict, Want},
};
use stencil_update::{Device, id::Id};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, End};
use crate::images::{self, Package};

/// An offer that nobody answers is made again after this.
const OFFER_AGAIN: Duration = Duration::from_secs(5);
/// And one that the device takes later, after this.
const OFFER_LATER: Duration = Duration::from_secs(60);

/// How far a device and its gateway are with an image.
#[derive(Default)]
pub(super) struct Transfer {
    running: Option<Runs>,
    offered: Option<Offered>,
    /// Given up over this link.
    given_up: Option<Digest>,
    not_before: Option<Instant>,
}

struct Runs {
    digest: Digest,
    on_trial: bool,
    device: Device,
}

struct Offered {
    package: Arc<Package>,
    heard_at: Instant,
    /// The last tenth that the hub was told of.
    tenth: u32,
}

impl<S: AsyncRead + AsyncWrite + Send> Connection<S> {
    /// The device says what it runs: the hub is told, and what it is to run is offered.
    pub(super) async fn running(&mut self, running: &Running<'_>) -> Result<(), End> {
        let Some(linked) = &mut self.current else {
            return Ok(());
        };
        let (vendor, class) = (images::hex(&running.vendor), images::hex(&running.class));
        linked.transfer = Transfer {
            running: Some(Runs {
                digest: running.digest,
                on_trial: running.is_on_trial(),
                device: Device {
                    vendor: Id(running.vendor),
                    class: Id(running.class),
                    max_image: running.max_image,
                    confirmed: running.confirmed,
                },
            }),
            ..Transfer::default()
        };
        self.tell_hub(What::Runs {
            digest: running.digest,
            sequence: running.sequence,
            class: format!("{vendor}/{class}"),
            trial: running.is_on_trial(),
            version: Some(running.version.to_owned()),
        })
        .await?;
        self.offer_image().await
    }

    /// Offers what the device is to run, if that is here and it is time.
    pub(super) async fn offer_image(&mut self) -> Result<(), End> {
        let Some(linked) = &mut self.current else {
            return Ok(());
        };
        let device = &linked.secured.device;
        let transfer = &mut linked.transfer;
        let Some(runs) = transfer.running.as_ref().filter(|runs| !runs.on_trial) else {
            return Ok(());
        };
        let (digest, package) = match self.links.images.of(device) {
            Some((digest, Some(package))) if digest != runs.digest => (digest, package),
            _ => {
                transfer.offered = None;
                transfer.given_up = None;
                return Ok(());
            }
        };
        let now = Instant::now();
        let is_late = transfer.not_before.is_none_or(|at| now >= at);
        let waits = transfer.offered.as_ref().is_some_and(|offered| {
            offered.package.header == package.header && offered.heard_at + OFFER_AGAIN > now
        });
        if transfer.given_up == Some(digest) || waits || !is_late {
            return Ok(());
        }
        // What the device would refuse is not sent.
        if let Err(refusal) = runs.device.accepts(&package.header) {
            let reason = format!("refused: {refusal}");
            return self.give_up(digest, &reason).await;
        }
        let Ok(header) = package.header.encode() else {
            return Ok(());
        };
        let tenth = transfer.offered.take().map_or(0, |offered| offered.tenth);
        transfer.offered = Some(Offered {
            package,
            heard_at: now,
            tenth,
        });
        self.tell(&Down::Offer(&header)).await
    }

    /// Sends the chunk that the device wants.
    pub(super) async fn send_chunk(&mut self, want: Want) -> Result<(), End> {
        let offered = self
            .current
            .as_mut()
            .and_then(|it| it.transfer.offered.as_mut());
        let Some(offered) = offered.filter(|it| it.package.name == want.name) else {
            return Ok(());
        };
        let Want { name, offset } = want;
        let header = offered.package.header;
        let of = header.package_bytes();
        if offset >= of {
            return Ok(());
        }
        offered.heard_at = Instant::now();
        let tenth = u32::try_from(u64::from(offset) * 10 / u64::from(of)).unwrap_or(10);
        let is_further = tenth > offered.tenth;
        offered.tenth = offered.tenth.max(tenth);
        let package = Arc::clone(&offered.package);
        if is_further {
            let (digest, have) = (header.digest, offset);
            self.tell_hub(What::Has { digest, have, of }).await?;
        }
        let read = move || package.read(offset, MAX_CHUNK_BYTES);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(bytes)) => {
                let bytes = &bytes;
                let chunk = Chunk {
                    name,
                    offset,
                    bytes,
                };
                self.tell(&Down::Chunk(chunk)).await
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "an image cannot be read");
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// What became of an offer.
    pub(super) async fn verdict(&mut self, verdict: Verdict) -> Result<(), End> {
        let Some(linked) = &mut self.current else {
            return Ok(());
        };
        let transfer = &mut linked.transfer;
        let offered = transfer.offered.as_mut();
        let Some(offered) = offered.filter(|it| it.package.name == verdict.name) else {
            return Ok(());
        };
        let digest = offered.package.header.digest;
        if verdict.outcome == Outcome::READY {
            // It restarts, and says what it runs.
            transfer.not_before = Some(Instant::now() + OFFER_LATER);
            return self.tell_hub(What::Installs { digest }).await;
        }
        if verdict.outcome.is_for_now() {
            transfer.not_before = Some(Instant::now() + OFFER_LATER);
            return Ok(());
        }
        self.give_up(digest, &verdict.outcome.to_string()).await
    }

    async fn give_up(&mut self, digest: Digest, reason: &str) -> Result<(), End> {
        if let Some(linked) = &mut self.current {
            tracing::warn!(device = %linked.secured.device, reason, "an image is not taken");
            linked.transfer.given_up = Some(digest);
            linked.transfer.offered = None;
        }
        let reason = images::shortened(reason);
        self.tell_hub(What::GaveUp { digest, reason }).await
    }

    /// Durable before anything follows from it, like all that a device says.
    async fn tell_hub(&mut self, what: What) -> Result<(), End> {
        let Some(linked) = &self.current else {
            return Ok(());
        };
        let suite = Some(linked.secured.session.suite().id());
        match images::told(&linked.secured.device, suite, what) {
            Some(entry) => self.spool(&entry).await.map(drop),
            None => Ok(()),
        }
    }
}
