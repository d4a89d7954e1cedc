//! Revocation and suspension (Bitstring Status List 1.0): a credential names a bit in a list that its
//! issuer publishes, itself as a credential.
//!
//! Whoever checks fetches the lists that [`crate::credential::Credential::statuses`] names, and says
//! here what came of it. A list that could not be fetched is an answer of its own: what follows from
//! it is the verifier's to say.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use crate::credential::{self, Credential, Draft, Policy};
use crate::document::Resolve;
use crate::text::shown;

/// The fewest bits of a list, so that one credential hides among many.
pub const MIN_BITS: usize = 131_072;
/// The most bits of a list that are unpacked: 1 MiB.
pub const MAX_BITS: usize = 8_388_608;
/// The most characters of a packed list.
pub const MAX_CHARS: usize = 1_500_000;
/// The longest credential with a list.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

/// What a list's bit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// It is withdrawn for good.
    Revocation,
    /// It does not hold for now.
    Suspension,
}

impl Purpose {
    /// As lists call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Revocation => "revocation",
            Self::Suspension => "suspension",
        }
    }

    /// The purpose of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Revocation, Self::Suspension]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }
}

/// What is wrong with a list, or with what names one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A packed list is none.
    #[error("its encodedList {0}")]
    Packed(&'static str),
    /// It unpacks to more than is taken.
    #[error(
        "its encodedList unpacks to more than {MAX_BITS} bits, which is the most that is taken"
    )]
    Bomb,
    /// It is too short.
    #[error("its list has {0} bits, where at least {MIN_BITS} are expected")]
    Short(usize),
    /// There is no such bit.
    #[error("the list has {bits} bits, and none with the index {index}")]
    Index {
        /// Which one was asked for.
        index: usize,
        /// How many there are.
        bits: usize,
    },
    /// A member of the list or of a credential's status is not what it should be.
    #[error("its {member} {wrong}")]
    Member {
        /// Which.
        member: &'static str,
        /// What is wrong with it.
        wrong: String,
    },
    /// The credential with the list is refused.
    #[error("the credential that the list is in: {0}")]
    Credential(Box<credential::Error>),
}

/// A list of bits; the first is the leftmost one of the first byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Bits(Vec<u8>);

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bits({})", self.len())
    }
}

impl Bits {
    /// A list of [`MIN_BITS`] that are all 0.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; MIN_BITS / 8])
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len() * 8
    }

    /// Whether there are none, which is never so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, index: usize) -> Result<(usize, u8), Error> {
        if index >= self.len() {
            return Err(Error::Index {
                index,
                bits: self.len(),
            });
        }
        Ok((index / 8, 0x80 >> (index % 8)))
    }

    /// Whether the bit is 1.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn get(&self, index: usize) -> Result<bool, Error> {
        let (byte, mask) = self.place(index)?;
        Ok(self.0[byte] & mask != 0)
    }

    /// Sets the bit.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn set(&mut self, index: usize, value: bool) -> Result<(), Error> {
        let (byte, mask) = self.place(index)?;
        if value {
            self.0[byte] |= mask;
        } else {
            self.0[byte] &= !mask;
        }
        Ok(())
    }

    /// Packed: gzip, then multibase in base64url.
    ///
    /// # Errors
    /// [`Error::Packed`], which memory does not come to.
    pub fn encode(&self) -> Result<String, Error> {
        let failed = |_| Error::Packed("cannot be packed");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.0).map_err(failed)?;
        let packed = encoder.finish().map_err(failed)?;
        Ok(format!("u{}", URL_SAFE_NO_PAD.encode(packed)))
    }

    /// Unpacks a list, up to [`MAX_BITS`].
    ///
    /// # Errors
    /// [`Error::Packed`], [`Error::Bomb`], [`Error::Short`].
    pub fn decode(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_CHARS {
            return Err(Error::Packed("has more than 1500000 characters"));
        }
        let digits = text
            .strip_prefix('u')
            .ok_or(Error::Packed("does not begin with u (base64url)"))?;
        let packed = URL_SAFE_NO_PAD
            .decode(digits)
            .map_err(|_| Error::Packed("is no base64url without padding"))?;
        let most = u64::try_from(MAX_BITS / 8).unwrap_or(u64::MAX);
        let mut decoder = GzDecoder::new(packed.as_slice()).take(most + 1);
        let mut bytes = Vec::with_capacity(MIN_BITS / 8);
        decoder
            .read_to_end(&mut bytes)
            .map_err(|_| Error::Packed("is no gzip"))?;
        if bytes.len() > MAX_BITS / 8 {
            return Err(Error::Bomb);
        }
        if !decoder.into_inner().into_inner().is_empty() {
            return Err(Error::Packed("goes on after its end"));
        }
        if bytes.len() < MIN_BITS / 8 {
            return Err(Error::Short(bytes.len() * 8));
        }
        Ok(Self(bytes))
    }
}

impl Default for Bits {
    fn default() -> Self {
        Self::new()
    }
}

/// Which bit of which list says how a credential stands (`BitstringStatusListEntry`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the bit means.
    pub purpose: Purpose,
    /// Where the list is, by https.
    pub list: String,
    /// Which bit.
    pub index: usize,
}

impl Entry {
    /// As `credentialStatus` has it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({
            "id": format!("{}#{}", self.list, self.index),
            "type": "BitstringStatusListEntry",
            "statusPurpose": self.purpose.name(),
            "statusListIndex": self.index.to_string(),
            "statusListCredential": self.list,
        })
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Member`].
    pub fn read(value: &Value) -> Result<Self, Error> {
        let wrong = |member, wrong: &str| Error::Member {
            member,
            wrong: wrong.to_owned(),
        };
        let text = |member: &'static str| {
            value
                .get(member)
                .and_then(Value::as_str)
                .ok_or_else(|| wrong(member, "is no string"))
        };
        if text("type")? != "BitstringStatusListEntry" {
            return Err(wrong("type", "is not BitstringStatusListEntry"));
        }
        let purpose = text("statusPurpose")?;
        let purpose = Purpose::parse(purpose).ok_or_else(|| Error::Member {
            member: "statusPurpose",
            wrong: format!(
                "is “{}”, where revocation and suspension are understood",
                shown(purpose)
            ),
        })?;
        if let Some(size) = value.get("statusSize")
            && size.as_u64() != Some(1)
        {
            return Err(wrong("statusSize", "is not 1: one bit is understood"));
        }
        let index = text("statusListIndex")?;
        let index = Some(index)
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|&index| index < MAX_BITS)
            .ok_or_else(|| wrong("statusListIndex", "is no index of a list's bit"))?;
        let list = text("statusListCredential")?;
        if list.len() > 2_000 || !list.starts_with("https://") {
            return Err(wrong("statusListCredential", "is no https address"));
        }
        Ok(Self {
            purpose,
            list: list.to_owned(),
            index,
        })
    }
}

/// A list that is published.
#[derive(Debug, Clone)]
pub struct List {
    /// Who publishes it.
    pub issuer: String,
    /// What its bits mean.
    pub purpose: Purpose,
    /// They.
    pub bits: Bits,
}

impl List {
    /// The credential in which it is published at `url`, without proofs.
    ///
    /// # Errors
    /// [`Error::Packed`]; [`Error::Credential`] if the issuer or the times make none.
    pub fn draft(
        &self,
        url: &str,
        valid_from_us: i64,
        valid_until_us: i64,
    ) -> Result<Map<String, Value>, Error> {
        let mut subject = Map::new();
        subject.insert("id".to_owned(), json!(format!("{url}#list")));
        subject.insert("type".to_owned(), json!("BitstringStatusList"));
        subject.insert("statusPurpose".to_owned(), json!(self.purpose.name()));
        subject.insert("encodedList".to_owned(), json!(self.bits.encode()?));
        Draft {
            id: Some(url.to_owned()),
            kinds: vec!["BitstringStatusListCredential".to_owned()],
            valid_until_us: Some(valid_until_us),
            ..Draft::new(&self.issuer, valid_from_us, subject)
        }
        .build()
        .map_err(|error| Error::Credential(Box::new(error)))
    }

    /// Reads and checks what was fetched from `url`.
    ///
    /// # Errors
    /// [`Error::Credential`]: it is refused by `policy`, which holds for its issuer, proofs and times;
    /// or another of [`Error`], such as for a list without `validUntil`, which nobody could take back.
    pub fn check(
        text: &[u8],
        url: &str,
        policy: &Policy<'_>,
        now_us: i64,
        resolve: &dyn Resolve,
    ) -> Result<Self, Error> {
        let refused = |error| Error::Credential(Box::new(error));
        let wrong = |member, wrong: &str| Error::Member {
            member,
            wrong: wrong.to_owned(),
        };
        let credential = Credential::parse_up_to(text, MAX_BYTES).map_err(refused)?;
        if credential.id() != Some(url) {
            return Err(wrong("id", "is not the address that it was fetched from"));
        }
        if !credential
            .kinds()
            .any(|kind| kind == "BitstringStatusListCredential")
        {
            return Err(wrong("type", "does not have BitstringStatusListCredential"));
        }
        // One that never ends could be shown for ever, from before what it would tell.
        if credential.valid_until_us().is_none() {
            return Err(wrong(
                "validUntil",
                "is missing: a list says until when it may be gone by",
            ));
        }
        // A list whose own standing is in a list would have no end.
        if !credential.statuses().is_empty() {
            return Err(wrong("credentialStatus", "is there: a list has none"));
        }
        let policy = Policy {
            kind: None,
            subject: None,
            ..policy.clone()
        };
        credential
            .check(&policy, now_us, resolve, &Fetched::new())
            .map_err(refused)?;
        let subject = credential
            .as_map()
            .get("credentialSubject")
            .cloned()
            .unwrap_or_default();
        let text = |member: &'static str| {
            subject
                .get(member)
                .and_then(Value::as_str)
                .ok_or_else(|| wrong(member, "is no string"))
        };
        if text("type")? != "BitstringStatusList" {
            return Err(wrong("credentialSubject", "is no BitstringStatusList"));
        }
        let purpose = Purpose::parse(text("statusPurpose")?).ok_or_else(|| {
            wrong(
                "statusPurpose",
                "is neither revocation nor suspension, which are understood",
            )
        })?;
        Ok(Self {
            issuer: credential.issuer().to_owned(),
            purpose,
            bits: Bits::decode(text("encodedList")?)?,
        })
    }
}

/// How a credential stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No list speaks against it; it may name none.
    Good,
    /// It is withdrawn for good.
    Revoked,
    /// It does not hold for now.
    Suspended,
    /// It is not known: a list is not there.
    Unknown {
        /// Which list.
        list: String,
        /// Why it is not there.
        why: String,
    },
}

/// Lists that were fetched, or why they were not.
#[derive(Debug, Clone, Default)]
pub struct Fetched(BTreeMap<String, Result<List, String>>);

impl Fetched {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what came of fetching the list at `url`: a list that is wrong is as good as none.
    pub fn insert(&mut self, url: &str, found: Result<List, String>) {
        self.0.insert(url.to_owned(), found);
    }

    /// How a credential of `issuer` with these entries stands. One that is revoked is so whatever is
    /// not known.
    #[must_use]
    pub fn standing(&self, issuer: &str, entries: &[Entry]) -> Standing {
        let mut worst = Standing::Good;
        for entry in entries {
            match self.one(issuer, entry) {
                Ok(false) => {}
                Ok(true) if entry.purpose == Purpose::Revocation => return Standing::Revoked,
                Ok(true) => worst = Standing::Suspended,
                Err(why) => {
                    if worst == Standing::Good {
                        worst = Standing::Unknown {
                            list: entry.list.clone(),
                            why,
                        };
                    }
                }
            }
        }
        worst
    }

    fn one(&self, issuer: &str, entry: &Entry) -> Result<bool, String> {
        let list = match self.0.get(&entry.list) {
            None => return Err("it was not fetched".to_owned()),
            Some(Err(why)) => return Err(why.clone()),
            Some(Ok(list)) => list,
        };
        if list.issuer != issuer {
            return Err("it is another issuer's".to_owned());
        }
        if list.purpose != entry.purpose {
            return Err(format!("it is for {}", list.purpose.name()));
        }
        list.bits
            .get(entry.index)
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn text(packed: &[u8]) -> String {
        format!("u{}", URL_SAFE_NO_PAD.encode(packed))
    }

    fn packed(bytes: &[u8]) -> String {
        text(&gzip(bytes))
    }

    #[test]
    fn the_first_bit_is_the_leftmost_one() {
        let mut bits = Bits::new();
        bits.set(0, true).expect("a bit");
        bits.set(9, true).expect("a bit");
        assert_eq!(bits.0[..2], [0x80, 0x40]);
        bits.set(0, false).expect("a bit");
        assert_eq!(bits.0[..2], [0, 0x40]);
        assert_eq!(
            bits.get(MIN_BITS),
            Err(Error::Index {
                index: MIN_BITS,
                bits: MIN_BITS
            })
        );
    }

    /// The specification's own example of an empty list of the least size.
    #[test]
    fn the_specifications_example() {
        let list = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA";
        assert_eq!(Bits::decode(list), Ok(Bits::new()));
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused_without_unpacking_it() {
        let bomb = packed(&vec![0; 64 * 1024 * 1024]);
        assert!(bomb.len() < 100_000);
        assert_eq!(Bits::decode(&bomb), Err(Error::Bomb));
        let most = packed(&vec![0; MAX_BITS / 8]);
        assert_eq!(Bits::decode(&most).map(|bits| bits.len()), Ok(MAX_BITS));
        assert_eq!(Bits::decode(&packed(&[0; 100])), Err(Error::Short(800)));
        let list = gzip(&vec![0; MIN_BITS / 8]);
        for (text, wrong) in [
            (String::new(), "does not begin with u"),
            ("z111".to_owned(), "does not begin with u"),
            ("u!".to_owned(), "is no base64url"),
            ("uAAAA".to_owned(), "is no gzip"),
            (text(&list[..list.len() - 8]), "is no gzip"),
            (
                text(&[list.as_slice(), &list].concat()),
                "goes on after its end",
            ),
            ("u".repeat(MAX_CHARS + 1), "more than 1500000"),
        ] {
            let error = Bits::decode(&text).expect_err(wrong).to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn entries_that_are_none() {
        let entry = Entry {
            purpose: Purpose::Revocation,
            list: "https://hub.example/status/1".to_owned(),
            index: 94_567,
        };
        assert_eq!(Entry::read(&entry.to_value()), Ok(entry.clone()));
        for (member, value, wrong) in [
            (
                "type",
                json!("RevocationList2020Status"),
                "is not Bitstring",
            ),
            (
                "statusPurpose",
                json!("message"),
                "revocation and suspension",
            ),
            ("statusListIndex", json!(7), "is no string"),
            ("statusListIndex", json!("-1"), "is no index"),
            ("statusListIndex", json!("+1"), "is no index"),
            (
                "statusListIndex",
                json!("99999999999999999999"),
                "is no index",
            ),
            (
                "statusListCredential",
                json!("http://hub.example/1"),
                "no https",
            ),
            (
                "statusListCredential",
                json!("file:///etc/passwd"),
                "no https",
            ),
            ("statusSize", json!(2), "is not 1"),
        ] {
            let mut changed = entry.to_value();
            changed[member] = value;
            let error = Entry::read(&changed).expect_err(wrong).to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn what_is_revoked_is_so_whatever_is_not_known() {
        let entry = |purpose: Purpose, list: &str| Entry {
            purpose,
            list: format!("https://hub.example/{list}"),
            index: 7,
        };
        let list = |purpose, set| {
            let mut bits = Bits::new();
            bits.set(7, set).expect("a bit");
            Ok(List {
                issuer: "did:web:hub.example".to_owned(),
                purpose,
                bits,
            })
        };
        let mut fetched = Fetched::new();
        fetched.insert("https://hub.example/r0", list(Purpose::Revocation, false));
        fetched.insert("https://hub.example/r1", list(Purpose::Revocation, true));
        fetched.insert("https://hub.example/s1", list(Purpose::Suspension, true));
        fetched.insert("https://hub.example/away", Err("refused".to_owned()));
        let (r, s) = (Purpose::Revocation, Purpose::Suspension);
        let of = |entries: &[Entry]| fetched.standing("did:web:hub.example", entries);
        let unknown = |list: &str, why: &str| Standing::Unknown {
            list: format!("https://hub.example/{list}"),
            why: why.to_owned(),
        };
        assert_eq!(of(&[]), Standing::Good);
        assert_eq!(of(&[entry(r, "r0")]), Standing::Good);
        assert_eq!(of(&[entry(r, "r0"), entry(s, "s1")]), Standing::Suspended);
        assert_eq!(of(&[entry(r, "away"), entry(r, "r1")]), Standing::Revoked);
        assert_eq!(of(&[entry(s, "s1"), entry(r, "r1")]), Standing::Revoked);
        assert_eq!(of(&[entry(r, "away")]), unknown("away", "refused"));
        assert_eq!(
            of(&[entry(r, "other")]),
            unknown("other", "it was not fetched")
        );
        // A list for something else, or of somebody else, says nothing.
        assert_eq!(of(&[entry(r, "s1")]), unknown("s1", "it is for suspension"));
        assert_eq!(
            fetched.standing("did:web:other.example", &[entry(r, "r0")]),
            unknown("r0", "it is another issuer's")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_packed_is_unpacked(set in prop::collection::vec(0..MIN_BITS, 0..64)) {
            let mut bits = Bits::new();
            for &index in &set {
                bits.set(index, true).expect("a bit");
            }
            let read = Bits::decode(&bits.encode().expect("a text")).expect("a list");
            for index in 0..MIN_BITS {
                prop_assert_eq!(read.get(index), Ok(set.contains(&index)));
            }
        }
    }
}
