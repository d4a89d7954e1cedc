//! What the hub has said, kept over restarts: the terms, and each status list as it was published.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stencil_access::{
    Trust,
    trust::{self, MAX_LISTS, Terms, Told},
};
use stencil_log::regular;

/// The file in the folder of access.
const FILE: &str = "trust.json";
/// The largest one that is read: as many lists as are kept, each as long as the hub can send one.
const MAX_BYTES: u64 = 64 * 1024 * (MAX_LISTS as u64 + 1);

/// What is kept. The lists' signatures are checked again when it is read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    terms: Option<Terms>,
    lists: Vec<Value>,
}

/// Why what the hub has said is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("it cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    #[error(transparent)]
    Trust(#[from] trust::Error),
    #[error("it cannot be kept: {0}")]
    Disk(#[from] io::Error),
    #[error("a status list has come before what it is for")]
    Early,
}

impl Kept {
    /// Reads what is kept in `folder`; what is damaged is as good as nothing, as the hub says it again.
    pub(super) fn read(folder: &Path) -> (Self, Option<Trust>) {
        let path = folder.join(FILE);
        let kept = read(&path).unwrap_or_else(|error| {
            tracing::error!(file = %path.display(), %error, "what the hub has said of access cannot be \
                read: nobody is admitted until it says it again");
            Self::default()
        });
        let Some(terms) = kept.terms.clone() else {
            return (kept, None);
        };
        let mut trust = match Trust::new(terms) {
            Ok(trust) => trust,
            Err(error) => {
                tracing::error!(%error, "what the hub has said of access makes no sense");
                return (Self::default(), None);
            }
        };
        for list in &kept.lists {
            if let Err(error) = trust.take_list(list) {
                tracing::warn!(%error, "a status list that was kept is not taken");
            }
        }
        (kept, Some(trust))
    }

    /// Takes what the hub says, keeps it in `folder`, and gives what is gone by from now on. Blocks.
    pub(super) fn take(&mut self, folder: &Path, told: Told) -> Result<Option<Trust>, Error> {
        let mut next = Self {
            terms: self.terms.clone(),
            lists: self.lists.clone(),
        };
        match told {
            Told::Nothing => next = Self::default(),
            Told::Terms(terms) => {
                // Lists of another issuer, or that are gone by no more, are not kept.
                let same = next
                    .terms
                    .as_ref()
                    .is_some_and(|it| it.issuer == terms.issuer);
                let named = |list: &Value| {
                    let url = list.get("id").and_then(Value::as_str);
                    same && url.is_some_and(|url| terms.lists.iter().any(|it| it == url))
                };
                next.lists.retain(named);
                next.terms = Some(terms);
            }
            Told::List(list) => {
                let url = list.get("id").cloned();
                next.lists.retain(|other| other.get("id").cloned() != url);
                next.lists.push(list);
            }
            Told::Held(_) => return Err(Error::Early),
        }
        let Some(terms) = next.terms.clone() else {
            if next.lists.is_empty() {
                next.write(folder)?;
                *self = next;
                return Ok(None);
            }
            return Err(Error::Early);
        };
        let mut trust = Trust::new(terms)?;
        let last = next.lists.len();
        let mut good = Vec::with_capacity(last);
        for (index, list) in next.lists.iter().enumerate() {
            match trust.take_list(list) {
                Ok(_) => good.push(list.clone()),
                // The one that has just come, or one that the keys of now have not signed.
                Err(error) if index + 1 == last => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "a status list is gone by no more"),
            }
        }
        next.lists = good;
        next.write(folder)?;
        *self = next;
        Ok(Some(trust))
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        let path: PathBuf = folder.join(FILE);
        let next = path.with_extension("next");
        let mut file = super::open_next(&next)?;
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(folder)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    let file = match regular::open_to_read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}
