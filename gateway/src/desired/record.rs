//! What is kept of desired states: which is in force, which is being tried, what became of the
//! last. One file that is replaced as a whole, and one file a section's text, named by its digest.

#[cfg(test)]
use std::path::Path;
use std::{collections::BTreeMap, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stencil_crypto::keyfile;
use stencil_protocol::desired::{
    Digest, Flaw, Judged, MAX_FLAWS, MAX_SECTION_BYTES, Revision, Section, Verdict,
};

use crate::images::hex;

/// The record, in the folder of desired states.
const RECORD: &str = "state.json";
/// The largest record that is read.
const MAX_RECORD_BYTES: u64 = 64 * 1024;
/// What the name of a text's file ends with.
const TEXT: &str = "yaml";

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// What is in force; `None`: what the gateway's own files say.
    pub(super) runs: Option<Kept>,
    /// What is being tried.
    pub(super) trial: Option<Trial>,
    /// The last one, and what became of it.
    pub(super) last: Option<Judged>,
}

/// A desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) revision: Revision,
    pub(super) sections: BTreeMap<Section, Digest>,
}

/// One that is being tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) kept: Kept,
    /// How often the gateway was started with it.
    pub(super) attempts: u32,
}

/// The folder.
pub(super) struct Files(PathBuf);

impl Files {
    /// In this folder, which is made with the first file.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The record. One that cannot be read is as good as none: the hub sends again what shall be.
    pub(super) fn read(&self) -> Record {
        let path = self.0.join(RECORD);
        let bytes = match keyfile::read_up_to(&path, MAX_RECORD_BYTES) {
            Ok(bytes) => bytes,
            Err(keyfile::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Record::default();
            }
            Err(error) => {
                tracing::error!(%error, "what the hub desired of this gateway cannot be read; it \
                    runs as its own files say until the hub sends it again");
                return Record::default();
            }
        };
        let written: Result<Written, _> = serde_json::from_slice(&bytes);
        match written
            .ok()
            .and_then(|written| Record::try_from(written).ok())
        {
            Some(record) => record,
            None => {
                tracing::error!(path = %path.display(), "what the hub desired of this gateway is \
                    damaged; it runs as its own files say until the hub sends it again");
                Record::default()
            }
        }
    }

    /// On disk when it returns.
    pub(super) fn write(&self, record: &Record) -> Result<(), keyfile::Error> {
        let text = serde_json::json!(Written::from(record)).to_string();
        self.put(self.0.join(RECORD), &text)
    }

    /// The text of this digest, if it is here and whole.
    pub(super) fn text(&self, digest: &Digest) -> Option<String> {
        let bytes = keyfile::read_up_to(self.path(digest), MAX_SECTION_BYTES as u64).ok()?;
        if digest_of(&bytes) != *digest {
            return None;
        }
        String::from_utf8(bytes.to_vec()).ok()
    }

    /// Keeps a text; on disk when it returns. Its owner's alone: a mapping may hold passwords.
    pub(super) fn keep(&self, text: &str) -> Result<Digest, keyfile::Error> {
        let digest = digest_of(text.as_bytes());
        if self.text(&digest).is_none() {
            self.put(self.path(&digest), text)?;
        }
        Ok(digest)
    }

    fn put(&self, path: PathBuf, text: &str) -> Result<(), keyfile::Error> {
        // Where it cannot be made, the file says why.
        let _ = crate::disk::make_folder(&self.0);
        keyfile::write(path, text.as_bytes())
    }

    /// Removes texts that nothing in the record names. What cannot be removed does no harm.
    pub(super) fn sweep(&self, record: &Record) {
        let trial = record.trial.as_ref().map(|trial| &trial.kept);
        let named: Vec<String> = record
            .runs
            .iter()
            .chain(trial)
            .flat_map(|kept| kept.sections.values())
            .map(|digest| hex(digest))
            .collect();
        let Ok(entries) = std::fs::read_dir(&self.0) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_text = path.extension().is_some_and(|extension| extension == TEXT);
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if is_text && !named.iter().any(|name| *name == stem) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join(format!("{}.{TEXT}", hex(digest)))
    }

    #[cfg(test)]
    fn folder(&self) -> &Path {
        &self.0
    }
}

/// The SHA-256 of a text.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The record as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    runs: Option<WrittenKept>,
    trial: Option<WrittenKept>,
    /// How often the gateway was started with the trial.
    attempts: u32,
    last: Option<WrittenJudged>,
}

#[derive(Serialize, Deserialize)]
struct WrittenKept {
    epoch: u64,
    revision: u64,
    sections: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenJudged {
    epoch: u64,
    revision: u64,
    verdict: String,
    at_us: i64,
    flaws: Vec<WrittenFlaw>,
}

#[derive(Serialize, Deserialize)]
struct WrittenFlaw {
    section: Option<String>,
    line: u64,
    column: u64,
    what: String,
}

/// What is written makes no sense.
struct Damaged;

impl From<&Record> for Written {
    fn from(record: &Record) -> Self {
        Self {
            runs: record.runs.as_ref().map(WrittenKept::from),
            trial: record.trial.as_ref().map(|it| WrittenKept::from(&it.kept)),
            attempts: record.trial.as_ref().map_or(0, |it| it.attempts),
            last: record.last.as_ref().map(WrittenJudged::from),
        }
    }
}

impl From<&Kept> for WrittenKept {
    fn from(kept: &Kept) -> Self {
        Self {
            epoch: kept.revision.epoch,
            revision: kept.revision.number,
            sections: kept
                .sections
                .iter()
                .map(|(section, digest)| (section.name().to_owned(), hex(digest)))
                .collect(),
        }
    }
}

impl From<&Judged> for WrittenJudged {
    fn from(judged: &Judged) -> Self {
        Self {
            epoch: judged.revision.epoch,
            revision: judged.revision.number,
            verdict: judged.verdict.name().to_owned(),
            at_us: judged.at_us,
            flaws: judged
                .flaws
                .iter()
                .map(|flaw| WrittenFlaw {
                    section: flaw.section.map(|section| section.name().to_owned()),
                    line: flaw.line,
                    column: flaw.column,
                    what: flaw.what.clone(),
                })
                .collect(),
        }
    }
}

impl TryFrom<Written> for Record {
    type Error = Damaged;

    fn try_from(written: Written) -> Result<Self, Damaged> {
        let trial = written.trial.map(Kept::try_from).transpose()?;
        Ok(Self {
            runs: written.runs.map(Kept::try_from).transpose()?,
            trial: trial.map(|kept| Trial {
                kept,
                attempts: written.attempts,
            }),
            last: written.last.map(Judged::try_from).transpose()?,
        })
    }
}

impl TryFrom<WrittenKept> for Kept {
    type Error = Damaged;

    fn try_from(written: WrittenKept) -> Result<Self, Damaged> {
        let mut sections = BTreeMap::new();
        for (name, digest) in written.sections {
            let section = Section::parse(&name).ok_or(Damaged)?;
            sections.insert(section, unhex(&digest).ok_or(Damaged)?);
        }
        Ok(Self {
            revision: Revision {
                epoch: written.epoch,
                number: written.revision,
            },
            sections,
        })
    }
}

impl TryFrom<WrittenJudged> for Judged {
    type Error = Damaged;

    fn try_from(written: WrittenJudged) -> Result<Self, Damaged> {
        let mut all = Verdict::ALL.into_iter();
        let verdict = all.find(|one| one.name() == written.verdict);
        let flaws = written.flaws.into_iter().take(MAX_FLAWS).map(|flaw| {
            let section = flaw.section.as_deref().and_then(Section::parse);
            Flaw::new(section, flaw.line, flaw.column, flaw.what)
        });
        Ok(Self {
            revision: Revision {
                epoch: written.epoch,
                number: written.revision,
            },
            verdict: verdict.ok_or(Damaged)?,
            at_us: written.at_us,
            flaws: flaws.collect(),
        })
    }
}

fn unhex(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(number: u64, text: &str) -> Kept {
        Kept {
            revision: Revision { epoch: 7, number },
            sections: BTreeMap::from([(Section::Settings, digest_of(text.as_bytes()))]),
        }
    }

    #[test]
    fn the_record_comes_back_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("desired"));
        assert_eq!(files.read(), Record::default());
        let record = Record {
            runs: Some(kept(1, "a")),
            trial: Some(Trial {
                kept: kept(2, "b"),
                attempts: 1,
            }),
            last: Some(Judged {
                revision: Revision {
                    epoch: 7,
                    number: 2,
                },
                verdict: Verdict::Trying,
                at_us: 3,
                flaws: vec![
                    Flaw::new(Some(Section::Mapping), 2, 3, "no"),
                    Flaw::of_all("x"),
                ],
            }),
        };
        files.write(&record).unwrap();
        assert_eq!(files.read(), record);
        for damaged in [
            "",
            "{",
            r#"{"runs":{"epoch":1,"revision":1,"sections":{"settings":"00"}}}"#,
        ] {
            keyfile::write(files.folder().join(RECORD), damaged.as_bytes()).unwrap();
            assert_eq!(files.read(), Record::default());
        }
    }

    #[test]
    fn texts_are_known_by_their_digest_and_go_when_nothing_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        let one = files.keep("a: 1\n").unwrap();
        let other = files.keep("b: 1\n").unwrap();
        assert_eq!(files.text(&one).as_deref(), Some("a: 1\n"));
        std::fs::write(files.path(&other), "c: 1\n").unwrap();
        assert_eq!(files.text(&other), None, "damaged");
        files.keep("b: 1\n").unwrap();
        assert_eq!(files.text(&other).as_deref(), Some("b: 1\n"));
        let record = Record {
            runs: Some(kept(1, "b: 1\n")),
            ..Record::default()
        };
        files.write(&record).unwrap();
        files.sweep(&record);
        assert_eq!(files.text(&one), None);
        assert!(files.text(&other).is_some());
        assert_eq!(files.read(), record);
    }
}
