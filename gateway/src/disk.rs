//! A disk that takes nothing: read-only, as a file system becomes when its disk fails, or with
//! errors. A gateway on it can keep nothing, so it takes no links: devices keep what they have. It
//! does not end either: `/readyz` says why, and it goes on by itself when the disk does.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    time::Duration,
};

use stencil_log::regular;
use tokio::{net::TcpListener, sync::watch};

use crate::{Error, Options, http, spool::stopped};

/// Between two looks at a disk that takes nothing.
const RETRY: Duration = Duration::from_secs(1);

/// `EIO`: the disk itself fails.
const INPUT_OUTPUT: i32 = 5;

/// Returns when the gateway's folder can be written to, or `stop` holds true. Until then `/readyz`
/// is served, and says what is wrong. A disk that is only full is waited for by the gateway itself.
///
/// # Errors
/// [`Error::Listen`]; [`Error::Options`] where that would open the gateway by mistake.
pub async fn wait_for_disk(
    options: &Options,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let Some(error) = look(options).await else {
        return Ok(());
    };
    let why = format!(
        "spool: {} cannot be written to: {error}",
        options.data_dir.display()
    );
    tracing::error!("{why}; no device is taken, looking again each second");
    // Nothing was started yet that would have looked at them.
    options.http.check().map_err(Error::Options)?;
    let address = options.http.listen;
    let failed = |source| Error::Listen {
        what: "http.listen",
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let mends = async {
        loop {
            tokio::time::sleep(RETRY).await;
            if look(options).await.is_none() {
                return;
            }
        }
    };
    tokio::select! {
        served = http::serve_unfit(listener, &options.http, why, stop.clone()) => {
            served.map_err(failed)
        }
        () = mends => {
            tracing::info!("the disk can be written to again");
            Ok(())
        }
        () = stopped(&mut stop) => Ok(()),
    }
}

impl Error {
    /// Whether it comes from a disk that may get well, so that starting again later may help.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Spool(stencil_log::Error::Poisoned(_)) => true,
            Self::Spool(stencil_log::Error::Io { source, .. }) | Self::File { source, .. } => {
                takes_nothing(source)
            }
            _ => false,
        }
    }
}

async fn look(options: &Options) -> Option<io::Error> {
    let dir = options.data_dir.clone();
    let looking = tokio::task::spawn_blocking(move || try_to_write(&dir));
    let looked = looking.await.unwrap_or(Ok(()));
    // What else may be wrong, the start says better.
    looked.err().filter(takes_nothing)
}

/// Makes a file, and removes it.
fn try_to_write(dir: &Path) -> io::Result<()> {
    make_folder(dir)?;
    let path = dir.join("probe");
    let mut options = OpenOptions::new();
    let mut file = regular::open(options.create(true).truncate(true).write(true), &path)?;
    file.write_all(b"probe\n")?;
    file.sync_data()?;
    fs::remove_file(&path)
}

/// Makes a folder, and those above it that are missing, for nobody but who runs the gateway: what it keeps
/// says who comes and goes, and what devices say.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn takes_nothing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem || error.raw_os_error() == Some(INPUT_OUTPUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failing_disk_is_waited_for() {
        let of = |code| io::Error::from_raw_os_error(code);
        assert!(takes_nothing(&of(30)) && takes_nothing(&of(5)));
        // Full, no rights, not there.
        assert!(
            [28, 13, 2]
                .into_iter()
                .all(|code| !takes_nothing(&of(code)))
        );
        let poisoned = stencil_log::Error::Poisoned("a sync failed".into());
        assert!(Error::from(poisoned).is_of_the_disk());
        assert!(!Error::Options("wrong".into()).is_of_the_disk());
    }

    #[tokio::test]
    async fn a_good_disk_is_not_waited_for_and_nothing_stays_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            data_dir: dir.path().join("data"),
            ..Options::default()
        };
        let (_stop, stopping) = watch::channel(false);
        wait_for_disk(&options, stopping).await.unwrap();
        assert_eq!(fs::read_dir(dir.path().join("data")).unwrap().count(), 0);
    }
}
