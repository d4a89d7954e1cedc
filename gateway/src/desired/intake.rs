//! A desired state on its way: which of its texts are here, and what is to be asked for next.

use std::collections::BTreeMap;

use stencil_protocol::desired::{Digest, Named, Revision, Said, Section};

use super::record::digest_of;

/// What comes in.
pub(super) struct Intake {
    pub(super) revision: Revision,
    sections: Vec<Named>,
    whole: BTreeMap<Digest, String>,
    /// Of the first that is not whole.
    part: Vec<u8>,
}

/// Why what comes makes no sense.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the hub has no such text any more")]
    Gone,
    #[error("the hub sends other bytes than it has named")]
    Other,
}

impl Intake {
    /// With what `here` has already.
    pub(super) fn new(
        revision: Revision,
        sections: Vec<Named>,
        here: impl Fn(&Digest) -> Option<String>,
    ) -> Self {
        let whole = sections
            .iter()
            .filter_map(|named| Some((named.digest, here(&named.digest)?)))
            .collect();
        Self {
            revision,
            sections,
            whole,
            part: Vec::new(),
        }
    }

    /// What the texts are named by.
    pub(super) fn named(&self) -> BTreeMap<Section, Digest> {
        let named = self.sections.iter();
        named.map(|named| (named.section, named.digest)).collect()
    }

    /// What is to be asked for; `None`: all is here.
    pub(super) fn next(&self) -> Option<Said> {
        let missing = self.missing()?;
        Some(Said::Fetch {
            digest: missing.digest,
            offset: u32::try_from(self.part.len()).unwrap_or(u32::MAX),
        })
    }

    /// Takes a piece; false if it is not the one that was asked for last.
    pub(super) fn take(
        &mut self,
        digest: &Digest,
        offset: u32,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        let Some(missing) = self.missing() else {
            return Ok(false);
        };
        if missing.digest != *digest || offset as usize != self.part.len() {
            return Ok(false);
        }
        let length = missing.length as usize;
        if bytes.is_empty() && length > 0 {
            return Err(Error::Gone);
        }
        if self.part.len() + bytes.len() > length {
            return Err(Error::Other);
        }
        self.part.extend_from_slice(bytes);
        if self.part.len() == length {
            let text = std::mem::take(&mut self.part);
            if digest_of(&text) != *digest {
                return Err(Error::Other);
            }
            let text = String::from_utf8(text).map_err(|_| Error::Other)?;
            self.whole.insert(*digest, text);
        }
        Ok(true)
    }

    /// All texts, when all are here.
    pub(super) fn texts(&self) -> Option<BTreeMap<Section, String>> {
        let texts = self.sections.iter();
        texts
            .map(|named| Some((named.section, self.whole.get(&named.digest)?.clone())))
            .collect()
    }

    fn missing(&self) -> Option<Named> {
        let mut sections = self.sections.iter();
        sections
            .find(|named| !self.whole.contains_key(&named.digest))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(section: Section, text: &str) -> Named {
        Named {
            section,
            digest: digest_of(text.as_bytes()),
            length: u32::try_from(text.len()).unwrap(),
        }
    }

    #[test]
    fn only_what_is_missing_is_asked_for_piece_by_piece() {
        let sections = vec![
            named(Section::Settings, "here"),
            named(Section::Mapping, "to come"),
        ];
        let here = digest_of(b"here");
        let mut intake = Intake::new(Revision::default(), sections, |digest| {
            (*digest == here).then(|| "here".to_owned())
        });
        let mapping = digest_of(b"to come");
        let fetch = |offset| {
            Some(Said::Fetch {
                digest: mapping,
                offset,
            })
        };
        assert_eq!(intake.next(), fetch(0));
        assert!(!intake.take(&here, 0, b"here").unwrap(), "not asked for");
        assert!(intake.take(&mapping, 0, b"to ").unwrap());
        assert!(!intake.take(&mapping, 0, b"to ").unwrap(), "twice");
        assert_eq!(intake.next(), fetch(3));
        assert!(intake.texts().is_none());
        assert!(intake.take(&mapping, 3, b"come").unwrap());
        assert_eq!(intake.next(), None);
        assert_eq!(intake.texts().unwrap()[&Section::Mapping], "to come");
    }

    #[test]
    fn what_was_not_named_is_not_taken() {
        let begin = || {
            let sections = vec![named(Section::Mapping, "good")];
            Intake::new(Revision::default(), sections, |_| None)
        };
        let rules = digest_of(b"good");
        assert!(begin().take(&rules, 0, b"evil").is_err());
        assert!(begin().take(&rules, 0, b"good and more").is_err());
        assert!(begin().take(&rules, 0, b"").is_err());
    }
}
