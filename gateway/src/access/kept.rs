//! What the hub has said, kept over restarts: the terms, and each status list as it was published.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stencil_access::{
    Trust,
    trust::{self, MAX_LISTS, Terms, Told},
};
use stencil_log::regular;

#[cfg(test)]
mod tests;

/// The file in the folder of access.
const FILE: &str = "trust.json";
/// The largest one that is read: as many lists as are kept, each as long as the hub can send one.
const MAX_BYTES: u64 = 64 * 1024 * (MAX_LISTS as u64 + 1);

/// What is kept. The lists' signatures are checked again when it is read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    terms: Option<Terms>,
    lists: Vec<Value>,
    /// What is gone by: of the lists those that the keys of now have signed.
    #[serde(skip)]
    trust: Option<Arc<Trust>>,
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
    pub(super) fn read(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let kept = read(&path).unwrap_or_else(|error| {
            tracing::error!(file = %path.display(), %error, "what the hub has said of access cannot be \
                read: nobody is admitted until it says it again");
            Self::default()
        });
        let Some(terms) = kept.terms else {
            return Self::default();
        };
        match Self::of(terms, kept.lists) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "what the hub has said of access makes no sense");
                Self::default()
            }
        }
    }

    /// What is gone by; `None`: the hub has said nothing.
    pub(super) fn trust(&self) -> Option<Arc<Trust>> {
        self.trust.clone()
    }

    /// These terms, with those of the lists that can be gone by under them.
    fn of(terms: Terms, lists: Vec<Value>) -> Result<Self, trust::Error> {
        let mut trust = Trust::new(terms.clone())?;
        let mut good = Vec::with_capacity(lists.len());
        for list in lists {
            // The hub is believed with its new keys, though they have not signed what was there: it may
            // have been set back to before its tenant's first ones. It says each list anew after its terms.
            match trust.take_list(&list) {
                Ok(_) => good.push(list),
                Err(error) => tracing::warn!(%error, "a status list is gone by no more"),
            }
        }
        Ok(Self {
            terms: Some(terms),
            lists: good,
            trust: Some(Arc::new(trust)),
        })
    }

    /// Takes what the hub says at `now_us` (`None`: the clock was never set), and keeps it in `folder`;
    /// what is refused changes nothing. Blocks.
    pub(super) fn take(
        &mut self,
        folder: &Path,
        told: Told,
        now_us: Option<i64>,
    ) -> Result<(), Error> {
        let next = match told {
            Told::Nothing => Self::default(),
            Told::Terms(terms) => self.with_terms(terms)?,
            Told::List(list) => self.with_list(list, now_us)?,
            Told::Held(_) => return Err(Error::Early),
        };
        next.write(folder)?;
        *self = next;
        Ok(())
    }

    fn with_terms(&self, terms: Terms) -> Result<Self, trust::Error> {
        // Lists of another issuer, or that are gone by no more, are not kept.
        let before = self.terms.as_ref();
        let same = before.is_some_and(|it| it.issuer == terms.issuer);
        let is_named = |list: &&Value| same && url(list).is_some_and(|url| terms.names(url));
        let lists = self.lists.iter().filter(is_named).cloned().collect();
        Self::of(terms, lists)
    }

    fn with_list(&self, list: Value, now_us: Option<i64>) -> Result<Self, Error> {
        let Some(trust) = &self.trust else {
            return Err(Error::Early);
        };
        let mut trust = Trust::clone(trust);
        // The hub's clock was wrong when it signed the one that is there, or this one is now: in neither
        // case may it hold off what the hub says until then.
        if let (Some(url), Some(now_us)) = (url(&list), now_us)
            && trust.is_ahead(url, now_us)
        {
            trust.forget_list(url);
        }
        let taken = trust.take_list(&list)?;
        let mut lists = self.lists.clone();
        lists.retain(|other| url(other) != Some(&taken));
        lists.push(list);
        Ok(Self {
            terms: self.terms.clone(),
            lists,
            trust: Some(Arc::new(trust)),
        })
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

/// Where a list is published, by what it says itself.
fn url(list: &Value) -> Option<&str> {
    list.get("id").and_then(Value::as_str)
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
