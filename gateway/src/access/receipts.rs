//! The receipts that the hub has not yet, on disk before anything is opened.
//!
//! One file, a line each, after a line that says what was before. A receipt is appended and synced
//! before its command is given; a line that a kill has cut off was never followed by a command, and is
//! cut away. When the hub has them all, the file begins anew with the last one's hash. What became of
//! their commands is in a file beside it.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use stencil_access::receipt::{self, Head, MAX_AT_ONCE, NOTHING, Receipt};
use stencil_log::regular;
use stencil_protocol::{
    command::State,
    id::{CommandId, DeviceId},
};

use self::{
    file::{Read, last_known, write_anew},
    outcomes::Outcomes,
};

mod file;
mod left;
mod outcomes;
mod theirs;

pub(super) use self::theirs::Theirs;

/// The file in the folder of access.
const FILE: &str = "receipts";
/// The largest message's room for receipts: the rest is its certificate and signature.
const MAX_BYTES_AT_ONCE: usize = 24 * 1024;
/// With so many lines that the hub has, the file is written anew.
const REWRITE: usize = 1_024;
/// After a command may be begun no more its device may still say what it did, µs.
const LATE_US: i64 = 5_000_000;

/// All of them, in order.
#[derive(Debug)]
pub(super) struct Receipts {
    path: PathBuf,
    file: File,
    /// Where the file ends.
    end: u64,
    /// The last one.
    head: Head,
    /// Up to here the hub has them.
    held: Head,
    waiting: VecDeque<Waiting>,
    /// The commands of those that wait.
    theirs: Theirs,
    outcomes: Outcomes,
    /// Lines in the file that the hub has.
    over: usize,
    most: usize,
    /// The chain that was left for this one, before this one's first receipt is noted.
    left: Option<Head>,
    /// Why nothing can be noted any more.
    broken: Option<String>,
}

/// A receipt that the hub has not yet.
#[derive(Debug)]
struct Waiting {
    at: u64,
    bytes: usize,
    hash: [u8; 32],
    command: CommandId,
    device: DeviceId,
    expires_us: i64,
    /// What became of its command, if that is settled.
    outcome: Option<State>,
    /// What the hub was last told of that.
    told: Option<&'static str>,
}

/// What is to be noted of an admission, besides its place.
pub(super) type Note = Box<dyn FnOnce(Place<'_>) -> Receipt + Send>;

/// The place of a receipt.
pub(super) struct Place<'a> {
    pub(super) chain: &'a str,
    pub(super) number: u64,
    /// The hash of the one before.
    pub(super) previous: &'a str,
    /// The chain that was left for this one, where this is its first.
    pub(super) left: Option<Head>,
}

/// Why an admission cannot be noted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "{0} receipts wait for the hub, which is the most that are kept: nobody is admitted before it was reached"
    )]
    Full(usize),
    #[error("the receipt cannot be written: {0}")]
    Written(#[from] receipt::Error),
    #[error("the receipt cannot be kept: {0}")]
    Disk(#[from] io::Error),
    #[error("receipts cannot be kept since {0}: the gateway has to be started anew")]
    Broken(String),
}

impl Receipts {
    /// Opens the file in `folder`, or begins a chain of this name. Blocks. Gives the receipts whose
    /// commands may still be begun at `now_us`, too.
    pub(super) fn open(
        folder: &Path,
        fresh: &str,
        most: usize,
        now_us: Option<i64>,
    ) -> io::Result<(Self, Vec<Receipt>)> {
        let path = folder.join(FILE);
        let begun = Head {
            chain: fresh.to_owned(),
            number: 0,
            hash: hex(&NOTHING),
        };
        let text = match regular::open_to_read(&path) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut read = match text.as_deref().map(|text| Read::of(text, now_us)) {
            Some(Ok(read)) => read,
            Some(Err(why)) => {
                // What cannot be followed is kept for somebody to look at, and nothing is put behind it.
                let aside = path.with_extension("damaged");
                let last = text.as_deref().and_then(last_known);
                tracing::error!(file = %path.display(), aside = %aside.display(), why, ?last,
                    "receipts of admissions are damaged: they are moved aside, and a new chain begins");
                if let Some(last) = last {
                    left::write(folder, &last)?;
                }
                fs::rename(&path, &aside)?;
                Read::begun(begun)
            }
            None => Read::begun(begun),
        };
        if read.end == 0 {
            read.end = write_anew(&path, &read.held, &[])?;
        }
        let file = regular::open(OpenOptions::new().read(true).write(true), &path)?;
        file.set_len(read.end)?;
        file.sync_all()?;
        let left = match read.head.number {
            0 => left::read(folder),
            _ => None,
        };
        let outcomes = Outcomes::open(folder, &mut read.waiting)?;
        // What was done is not told a second time: its device may have forgotten it.
        let settled = |command| {
            let mut waiting = read.waiting.iter();
            waiting.any(|it| it.command == command && it.outcome.is_some())
        };
        read.open.retain(|receipt| !settled(command(receipt)));
        let theirs = Theirs::default();
        theirs.add(read.waiting.iter().map(|it| it.command));
        let receipts = Self {
            path,
            file,
            end: read.end,
            left,
            theirs,
            outcomes,
            head: read.head,
            held: read.held,
            waiting: read.waiting,
            over: 0,
            most,
            broken: None,
        };
        Ok((receipts, read.open))
    }

    /// Notes an admission; when this returns it is on disk. Blocks.
    pub(super) fn note(&mut self, note: Note) -> Result<Receipt, Error> {
        if let Some(why) = &self.broken {
            return Err(Error::Broken(why.clone()));
        }
        if self.waiting.len() >= self.most {
            return Err(Error::Full(self.waiting.len()));
        }
        let receipt = note(Place {
            chain: &self.head.chain,
            number: self.head.number + 1,
            previous: &self.head.hash,
            left: self.left.clone(),
        });
        let mut line = receipt.text()?;
        let (hash, bytes) = (receipt::hash(&line), line.len());
        line.push('\n');
        stencil_crashpoint::reach("access.before_receipt");
        if let Err(error) = self.append(line.as_bytes()) {
            // What is behind the end may be half a line, which no other must follow.
            if let Err(why) = self
                .file
                .set_len(self.end)
                .and_then(|()| self.file.sync_all())
            {
                self.broken = Some(why.to_string());
            }
            return Err(error.into());
        }
        stencil_crashpoint::reach("access.after_receipt");
        let waiting = Waiting::of(&receipt, self.end, bytes, hash);
        self.theirs.add([waiting.command]);
        self.waiting.push_back(waiting);
        self.end += line.len() as u64;
        self.head.number = receipt.number;
        self.head.hash = hex(&hash);
        if self.left.take().is_some() {
            left::forget(self.path.parent().unwrap_or(&self.path));
        }
        Ok(receipt)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        let (first, rest) = line.split_at(line.len() / 2);
        self.file.write_all(first)?;
        stencil_crashpoint::reach("access.half_receipt");
        self.file.write_all(rest)?;
        self.file.sync_data()
    }

    /// A device says how a command stands; when this returns, what became of it is on disk. `false`: it is no
    /// command of one of these, or not this device's. Blocks.
    pub(super) fn said(&mut self, device: &DeviceId, command: CommandId, state: State) -> bool {
        let mut waiting = self.waiting.iter_mut().rev();
        let found = waiting.find(|it| it.command == command && it.device == *device);
        let Some(found) = found else {
            return false;
        };
        // Each says at most two things that count, however often it says them.
        let is_news = found.outcome.is_none_or(|before| before.can_become(state));
        if state.is_settled() && is_news {
            found.outcome = Some(state);
            if let Err(error) = self.outcomes.note(command, state) {
                tracing::error!(%command, %error,
                    "what became of a command of a holder is not known after a restart");
            }
        }
        true
    }

    /// When the next one may be brought to the hub, µs since the epoch; `None`: there is none.
    pub(super) fn due_us(&self) -> Option<i64> {
        self.waiting.front().map(Waiting::due_us)
    }

    /// The next ones for the hub: their texts, what became of each, and the last one's place. Blocks.
    #[allow(clippy::type_complexity, reason = "each is named in the line above")]
    pub(super) fn next(
        &mut self,
        now_us: i64,
    ) -> io::Result<Option<(Vec<String>, Vec<String>, Head)>> {
        let (mut texts, mut outcomes, mut room) = (Vec::new(), Vec::new(), MAX_BYTES_AT_ONCE);
        let mut hash = None;
        for waiting in self.waiting.iter_mut().take(MAX_AT_ONCE) {
            if waiting.due_us() > now_us || waiting.bytes > room {
                break;
            }
            room -= waiting.bytes;
            let mut text = vec![0; waiting.bytes];
            self.file.seek(SeekFrom::Start(waiting.at))?;
            self.file.read_exact(&mut text)?;
            let text = String::from_utf8(text).map_err(io::Error::other)?;
            if receipt::hash(&text) != waiting.hash {
                return Err(io::Error::other("a receipt is not what was written"));
            }
            texts.push(text);
            outcomes.push(waiting.outcome().to_owned());
            waiting.told = Some(waiting.outcome());
            hash = Some(waiting.hash);
        }
        let Some(hash) = hash else { return Ok(None) };
        let head = Head {
            chain: self.head.chain.clone(),
            number: self.held.number + texts.len() as u64,
            hash: hex(&hash),
        };
        Ok(Some((texts, outcomes, head)))
    }

    /// The hub has them up to here. Says whether it can be brought others by that; one whose outcome it was
    /// not told is brought again. Where it has others than these, this gateway was set back to what it had before: a chain of the name `fresh` begins. Blocks.
    pub(super) fn held(&mut self, head: &Head, fresh: &str) -> io::Result<bool> {
        if head.chain != self.head.chain {
            return Ok(false);
        }
        if head.number == self.held.number && head.hash != self.held.hash {
            return self.begin_anew(head, fresh);
        }
        if head.number <= self.held.number {
            return Ok(false);
        }
        let count = usize::try_from(head.number - self.held.number).unwrap_or(usize::MAX);
        let last = self.waiting.get(count - 1);
        if last.is_none_or(|last| hex(&last.hash) != head.hash) {
            return self.begin_anew(head, fresh);
        }
        let mut waiting = self.waiting.iter().take(count);
        let count = match waiting.position(Waiting::has_news) {
            Some(0) => return Ok(true),
            first => first.unwrap_or(count),
        };
        stencil_crashpoint::reach("access.before_held");
        self.held.number += count as u64;
        for gone in self.waiting.drain(..count) {
            self.held.hash = hex(&gone.hash);
            self.theirs.remove(gone.command);
        }
        self.over += count;
        if self.waiting.is_empty() || self.over >= REWRITE {
            self.rewrite()?;
        }
        Ok(true)
    }

    /// Goes on in a chain of its own, as the hub has other receipts of this one: those that wait are its first.
    fn begin_anew(&mut self, theirs: &Head, fresh: &str) -> io::Result<bool> {
        // What waits comes along: nothing after this is lost.
        let left = self.held.clone();
        tracing::error!(
            number = theirs.number,
            own = self.head.number,
            waiting = self.waiting.len(),
            "the hub has receipts of this gateway that it does not have itself: it was set back to an \
            older state, and a new chain of receipts begins"
        );
        let mut head = Head {
            chain: fresh.to_owned(),
            number: 0,
            hash: hex(&NOTHING),
        };
        let (begun, mut lines) = (head.clone(), Vec::new());
        let mut waiting = VecDeque::with_capacity(self.waiting.len());
        for before in &self.waiting {
            let mut text = vec![0; before.bytes];
            self.file.seek(SeekFrom::Start(before.at))?;
            self.file.read_exact(&mut text)?;
            let text = String::from_utf8(text).map_err(io::Error::other)?;
            let mut receipt = Receipt::parse(&text).map_err(io::Error::other)?;
            receipt.chain.clone_from(&head.chain);
            receipt.number = head.number + 1;
            receipt.previous.clone_from(&head.hash);
            receipt.left = (receipt.number == 1).then(|| left.clone());
            let text = receipt.text().map_err(io::Error::other)?;
            let hash = receipt::hash(&text);
            waiting.push_back(Waiting {
                at: lines.len() as u64,
                bytes: text.len(),
                hash,
                command: before.command,
                device: before.device.clone(),
                expires_us: before.expires_us,
                outcome: before.outcome,
                told: None,
            });
            lines.extend(text.as_bytes());
            lines.push(b'\n');
            head.number = receipt.number;
            head.hash = hex(&hash);
        }
        let folder = self.path.parent().unwrap_or(&self.path);
        left::write(folder, &left)?;
        self.end = write_anew(&self.path, &begun, &lines)?;
        self.file = regular::open(OpenOptions::new().read(true).write(true), &self.path)?;
        let shift = self.end - lines.len() as u64;
        for waiting in &mut waiting {
            waiting.at += shift;
        }
        match waiting.is_empty() {
            true => self.left = Some(left),
            false => left::forget(folder),
        }
        (self.held, self.head, self.waiting, self.over) = (begun, head, waiting, 0);
        Ok(true)
    }

    /// Lets go of what the hub has.
    fn rewrite(&mut self) -> io::Result<()> {
        let start = self.waiting.front().map_or(self.end, |first| first.at);
        let mut rest = vec![0; usize::try_from(self.end - start).unwrap_or(usize::MAX)];
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut rest)?;
        let end = write_anew(&self.path, &self.held, &rest)?;
        self.file = regular::open(OpenOptions::new().read(true).write(true), &self.path)?;
        let shift = end - rest.len() as u64;
        for waiting in &mut self.waiting {
            waiting.at = waiting.at - start + shift;
        }
        self.end = end;
        self.over = 0;
        self.outcomes.write_anew(&self.waiting)
    }

    /// The commands of those that the hub has not yet.
    pub(super) fn theirs(&self) -> &Theirs {
        &self.theirs
    }

    /// How many the hub has not yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Where the chain ends.
    #[cfg(test)]
    pub(super) fn head(&self) -> &Head {
        &self.head
    }
}

impl Waiting {
    /// A receipt whose text of so many bytes, with this hash, is in the file from `at` on.
    fn of(receipt: &Receipt, at: u64, bytes: usize, hash: [u8; 32]) -> Self {
        Self {
            at,
            bytes,
            hash,
            command: command(receipt),
            device: receipt.device().clone(),
            expires_us: receipt.expires_us,
            outcome: None,
            told: None,
        }
    }

    fn due_us(&self) -> i64 {
        match self.outcome {
            Some(_) => i64::MIN,
            None => self.expires_us.saturating_add(LATE_US),
        }
    }

    fn outcome(&self) -> &'static str {
        match self.outcome {
            Some(State::Done) => "done",
            Some(State::Failed) => "failed",
            Some(State::Expired) => "expired",
            _ => "unknown",
        }
    }

    /// Whether it is known what became of it, and the hub was not told.
    fn has_news(&self) -> bool {
        self.outcome.is_some() && self.told != Some(self.outcome())
    }
}

/// The id of a receipt's command.
pub(super) fn command(receipt: &Receipt) -> CommandId {
    // The gateway has written it.
    CommandId::parse(&receipt.command).unwrap_or(CommandId([0; 16]))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(super) mod tests {
    use stencil_access::Challenge;

    use super::*;

    const FRESH: &str = "abababababababababababababababab";

    pub(in crate::access) fn note(n: u8) -> Note {
        Box::new(move |place| Receipt {
            chain: place.chain.to_owned(),
            number: place.number,
            previous: place.previous.to_owned(),
            left: place.left,
            at_us: 1,
            gateway: "did:web:hub.example.org".to_owned(),
            challenge: Challenge {
                device: "locker-1".parse().unwrap(),
                command: "open".to_owned(),
                given_us: 1,
                nonce: hex(&[n; 32]),
            },
            right: "urn:uuid:1".to_owned(),
            holder: "0x".to_owned(),
            signature: "0x".to_owned(),
            command: hex(&[n; 16]),
            expires_us: 100,
        })
    }

    pub(in crate::access) fn locker() -> DeviceId {
        "locker-1".parse().unwrap()
    }

    pub(in crate::access) fn open(folder: &Path) -> Receipts {
        Receipts::open(folder, FRESH, 3, None).unwrap().0
    }

    fn texts(receipts: &mut Receipts, now_us: i64) -> (Vec<String>, Vec<String>, Option<Head>) {
        match receipts.next(now_us).unwrap() {
            Some((texts, outcomes, head)) => (texts, outcomes, Some(head)),
            None => (Vec::new(), Vec::new(), None),
        }
    }

    #[test]
    fn they_are_kept_until_the_hub_has_them_and_the_chain_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut receipts = open(dir.path());
        let one = receipts.note(note(1)).unwrap();
        receipts.note(note(2)).unwrap();
        assert_eq!((one.number, one.chain.as_str()), (1, FRESH));
        // Not before it is known what became of them, or it is too late for that.
        assert_eq!(texts(&mut receipts, 99).2, None);
        assert!(receipts.said(&locker(), CommandId([1; 16]), State::Done));
        let (first, outcomes, head) = texts(&mut receipts, 99);
        assert_eq!(
            (first.len(), outcomes.as_slice()),
            (1, ["done".to_owned()].as_slice())
        );
        let other = Head {
            chain: "cd".repeat(16),
            ..head.clone().unwrap()
        };
        assert!(!receipts.held(&other, "").unwrap());
        assert_eq!(receipts.len(), 2);
        let theirs = receipts.theirs().clone();
        let theirs = || [1, 2, 9].map(|n| theirs.has(CommandId([n; 16])));
        assert_eq!(theirs(), [true, true, false]);
        assert!(receipts.held(&head.unwrap(), "").unwrap());
        assert_eq!(
            theirs(),
            [false, true, false],
            "one that the hub has is over"
        );
        let (second, outcomes, head) = texts(&mut receipts, 100 + LATE_US);
        assert_eq!(
            (second.len(), outcomes.as_slice()),
            (1, ["unknown".to_owned()].as_slice())
        );
        let all = [first, second].concat();
        // What the hub has not said that it has comes again after a start.
        let mut again = Receipts::open(dir.path(), "other", 3, Some(99)).unwrap();
        // What was done is not told again.
        assert_eq!(again.1.len(), 1);
        let theirs = again.0.theirs();
        assert!(theirs.has(CommandId([1; 16])) && theirs.has(CommandId([2; 16])));
        let (both, _, same) = texts(&mut again.0, 100 + LATE_US);
        assert_eq!((&both, &same), (&all, &head));
        assert!(again.0.held(&head.clone().unwrap(), "").unwrap());
        assert_eq!(again.0.len(), 0);
        let mut last = open(dir.path());
        assert_eq!(last.head(), &head.unwrap());
        let three = last.note(note(3)).unwrap();
        assert_eq!(three.number, 3);
        assert_eq!(three.previous, hex(&receipt::hash(&all[1])));
    }

    #[test]
    fn what_became_of_them_outlives_the_process_and_reaches_the_hub_also_late() {
        let dir = tempfile::tempdir().unwrap();
        let outcomes = |receipts: &mut Receipts| texts(receipts, 100 + LATE_US).1;
        let mut receipts = open(dir.path());
        for n in 1..=3 {
            receipts.note(note(n)).unwrap();
        }
        let id = |n| CommandId([n; 16]);
        // Of another device's, and of one that nobody has given.
        let other = "locker-2".parse().unwrap();
        assert!(!receipts.said(&other, id(1), State::Done));
        assert!(!receipts.said(&locker(), id(9), State::Done));
        assert!(receipts.said(&locker(), id(1), State::Acknowledged));
        assert_eq!(outcomes(&mut receipts), ["unknown"; 3]);
        assert!(receipts.said(&locker(), id(1), State::Done));
        // Only the first word counts, and as often as it is said it takes no room.
        let file = dir.path().join(outcomes::FILE);
        let length = fs::metadata(&file).unwrap().len();
        for state in [State::Done, State::Failed, State::Expired] {
            assert!(receipts.said(&locker(), id(1), state));
        }
        assert!(receipts.said(&locker(), id(2), State::Expired));
        assert!(receipts.said(&locker(), id(2), State::Failed));
        assert_eq!(fs::metadata(&file).unwrap().len(), 3 * length + 5);
        let told = ["done", "failed", "unknown"];
        assert_eq!(outcomes(&mut open(dir.path())), told);
        // A word that was cut off is lost, and no other with it.
        let whole = fs::read(&file).unwrap();
        for (cut, told) in [(whole.len() - 1, "expired"), (whole.len(), "failed")] {
            fs::write(&file, [&whole[..cut], b""].concat()).unwrap();
            let mut receipts = open(dir.path());
            assert_eq!(outcomes(&mut receipts), ["done", told, "unknown"]);
        }
        // The hub has them, but not what the third one's device has said since: that one is brought again.
        let mut receipts = open(dir.path());
        let (_, _, head) = texts(&mut receipts, 100 + LATE_US);
        let head = head.unwrap();
        assert!(receipts.said(&locker(), id(3), State::Done));
        assert!(receipts.held(&head, "").unwrap());
        assert_eq!((receipts.len(), receipts.head()), (1, &head));
        let (_, again, same) = texts(&mut receipts, 0);
        assert_eq!(
            (again, same.as_ref()),
            (vec!["done".to_owned()], Some(&head))
        );
        assert!(receipts.held(&head, "").unwrap());
        assert_eq!(receipts.len(), 0);
        assert_eq!(fs::metadata(&file).unwrap().len(), 0);
        assert!(!receipts.said(&locker(), id(3), State::Done));
    }

    #[test]
    fn a_file_that_is_cut_at_any_byte_holds_what_is_whole_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut receipts = open(dir.path());
        let begun = receipts.end;
        for n in 1..=3 {
            receipts.note(note(n)).unwrap();
        }
        let ends: Vec<u64> = receipts
            .waiting
            .iter()
            .map(|it| it.at + it.bytes as u64 + 1)
            .collect();
        let whole = fs::read(dir.path().join(FILE)).unwrap();
        for cut in usize::try_from(begun).unwrap()..=whole.len() {
            fs::write(dir.path().join(FILE), &whole[..cut]).unwrap();
            let mut receipts = open(dir.path());
            let there = ends.iter().filter(|end| **end <= cut as u64).count();
            assert_eq!(receipts.len(), there, "cut at {cut}");
            if there < 3 {
                assert_eq!(receipts.note(note(9)).unwrap().number, there as u64 + 1);
                assert_eq!(open(dir.path()).len(), there + 1);
            }
        }
    }

    #[test]
    fn what_is_damaged_is_moved_aside_and_what_is_too_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut receipts = open(dir.path());
        for n in 1..=3 {
            receipts.note(note(n)).unwrap();
        }
        assert!(matches!(receipts.note(note(4)), Err(Error::Full(3))));
        let head = receipts.head().clone();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let second = usize::try_from(receipts.waiting[1].at).unwrap();
        let last = usize::try_from(receipts.waiting[2].at).unwrap();
        // In the middle: the last one is known; in the last: the one before is.
        for (at, number, hash) in [(second, 3, head.hash), (last, 2, String::new())] {
            let mut bytes = whole.clone();
            bytes[at + 20] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let fresh = Receipts::open(dir.path(), "cdcd", 3, None).unwrap().0;
            assert_eq!((fresh.len(), fresh.head().chain.as_str()), (0, "cdcd"));
            assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bytes);
            // Also after a start before anybody was admitted, and once.
            for again in [&fresh, &open(dir.path())] {
                let left = again.left.clone().unwrap();
                assert_eq!((left.chain.as_str(), left.number), (FRESH, number));
                assert!(hash.is_empty() || left.hash == hash);
            }
            let mut fresh = open(dir.path());
            let first = fresh.note(note(5)).unwrap();
            assert_eq!((first.number, first.left.unwrap().number), (1, number));
            assert_eq!(fresh.note(note(6)).unwrap().left, None);
            assert_eq!(open(dir.path()).left, None);
            assert!(!dir.path().join(left::LEFT).exists());
        }
        // A file of which nothing can be read names no chain.
        fs::write(&path, b"nothing\n").unwrap();
        assert_eq!(open(dir.path()).left, None);
    }

    #[test]
    fn a_gateway_that_was_set_back_brings_what_waits_in_a_chain_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut receipts = open(dir.path());
        receipts.note(note(1)).unwrap();
        receipts.note(note(2)).unwrap();
        let own = receipts.held.clone();
        let theirs = |number, hash| Head {
            chain: FRESH.to_owned(),
            number,
            hash: hex(&[hash; 32]),
        };
        // Another of a number that waits here, and later ones than there ever were.
        for (fresh, theirs) in [("cdcd", theirs(2, 9)), ("efef", theirs(7, 9))] {
            let mut receipts = open(dir.path());
            assert!(receipts.held(&theirs, fresh).unwrap());
            assert_eq!(receipts.head().chain, fresh);
            let (texts, _, head) = texts(&mut receipts, 100 + LATE_US);
            let read: Vec<Receipt> = texts.iter().map(|it| Receipt::parse(it).unwrap()).collect();
            assert_eq!(read[0].left.as_ref(), Some(&own));
            assert_eq!((read[1].number, read[1].left.as_ref()), (2, None));
            assert_eq!(read[1].previous, hex(&receipt::hash(&texts[0])));
            assert_eq!(read[1].challenge.nonce, hex(&[2; 32]));
            // The same after a start; what the hub says of the chain before is of no more interest.
            let mut again = open(dir.path());
            assert_eq!((again.head(), again.len()), (head.as_ref().unwrap(), 2));
            for theirs in [receipts.theirs(), again.theirs()] {
                assert!(theirs.has(CommandId([1; 16])) && theirs.has(CommandId([2; 16])));
            }
            assert!(!again.held(&theirs, "0101").unwrap());
            assert!(again.held(&head.unwrap(), "").unwrap());
            assert_eq!(again.len(), 0);
            fs::remove_file(dir.path().join(FILE)).unwrap();
            let mut receipts = open(dir.path());
            receipts.note(note(1)).unwrap();
            receipts.note(note(2)).unwrap();
        }
        // With none that waits the next one says so.
        let mut receipts = open(dir.path());
        let held = receipts.head().clone();
        assert!(receipts.held(&held, "").unwrap());
        assert!(receipts.held(&theirs(2, 9), "cdcd").unwrap());
        let first = open(dir.path()).note(note(3)).unwrap();
        assert_eq!((first.chain.as_str(), first.number), ("cdcd", 1));
        assert_eq!(first.left, Some(held));
    }
}
