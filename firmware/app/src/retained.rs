//! What a device remembers over a reset.
//!
//! Backup SRAM, FRAM or a RAM section that start-up code leaves alone hold it
//! without wear. A board that has flash only stores it in a log of pages
//! ([`Pages`](crate::pages::Pages)).
//!
//! **When it is lost** (or at the very first start) the device draws the number
//! of its boot at random from 1 to [`MAX_FIRST_BOOT`], and counts up from there.
//! Would it begin at 1 again, the hub would hold its new samples for those that
//! it stored under the same numbers before, and throw them away. Boots that are
//! drawn can meet earlier ones by chance only: with `n` boots before the loss
//! and after it taken together, the probability is below `n` / 2^30, one in a
//! million for a thousand boots. A board without any retained memory draws at
//! each start: that two of `n` starts share a number has the probability
//! `n`² / 2^31, one in 2,000 for a thousand starts. Boot numbers are thus names:
//! a later boot may have a lower number.

use heapless::Vec;
use minicbor::data::Type;
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder, decode, encode};
use rand_core::CryptoRng;
use stencil_crypto::link::{RESUMPTION_BYTES, Resumption};
use stencil_crypto::psk::Psk;
use stencil_protocol::batch::PreviousBoot;
use stencil_protocol::command;
use stencil_protocol::id::{Boot, CommandId, Seq};

use crate::commands::{Closed, Commands, Open, shortened};

/// How many boots may wait to be reported. Beyond that a device keeps its boot
/// number over resets, so that none is forgotten.
pub const UNREPORTED_BOOTS: usize = 8;

/// The highest number that a device without retained memory draws for its first
/// boot. Three times as many are left to count up.
pub const MAX_FIRST_BOOT: u32 = 1 << 30;

/// The most that [`State::encode`] writes, in bytes.
pub const MAX_STATE_BYTES: usize = 5_120;

/// The form of the encoded state; a reader refuses others.
const VERSION: u8 = 3;
/// The form before: without keys that were given over the link.
const WITHOUT_KEYS: u8 = 2;
/// The form before that: without what a session can be resumed with too.
const WITHOUT_RESUMPTION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// Memory that survives a reset.
pub trait Retained {
    /// What was stored last, or nothing on a device that never stored or whose
    /// memory was lost: it then goes on with [`State::fresh`]. What it had
    /// measured and not delivered is then lost without a report (the hub shows
    /// it as a gap as far as it heard of it), and a command that it carried out
    /// before is carried out once more if it comes again.
    fn load(&mut self) -> Option<State>;

    /// Stores the state in place of the last one; a reset in the middle leaves
    /// either. Called once for each number that is given, before it is used.
    fn store(&mut self, state: &State);
}

/// A device's memory: where its numbers stand, and its recent commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The boot that runs, or ran last.
    pub boot: Boot,
    /// The highest number that was given in it.
    pub last_given: Seq,
    /// All numbers up to here were acknowledged by the gateway.
    pub acked: Seq,
    /// Unacknowledged numbers up to here were lost in a reset that kept the
    /// boot number (see [`UNREPORTED_BOOTS`]).
    pub lost_through: Seq,
    /// Ended boots that gave numbers, oldest first. The first goes with every
    /// batch; the last one stays here after it was reported.
    pub previous: Vec<PreviousBoot, UNREPORTED_BOOTS>,
    /// Whether the gateway has acknowledged a batch with the first of
    /// `previous`.
    pub reported: bool,
    /// The recent commands.
    pub commands: Commands,
    /// What the next session can be resumed with; secret.
    pub kept: Option<Kept>,
    /// The keys that were given over the link, when there are any; secret.
    pub keys: Option<Keys>,
}

/// What the last session left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The secret.
    pub resumption: Resumption,
    /// When fresh keys were last agreed on, by the gateway's clock; nothing as long
    /// as it has not told the time.
    pub fresh_us: Option<i64>,
}

/// The keys that a device was given over the link.
///
/// It goes back to the key before only as long as no session has come of the new
/// one: who learned the old key could else have it used again, by refusing the new
/// one in the gateway's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key that the device was provisioned with. Once it has another one, what it
    /// was given in place of this one is of no use.
    pub instead_of: Psk,
    /// The one that is used, if not the one that it was provisioned with.
    pub in_force: Option<Given>,
    /// One that no session has come of yet.
    pub next: Option<Given>,
}

/// A key that was given over the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which of the device's keys it is.
    pub generation: u64,
    /// The key.
    pub key: Psk,
}

impl Keys {
    /// Those of a device that uses the key that it was provisioned with.
    pub(crate) fn none(provisioned: &Psk) -> Self {
        Self {
            instead_of: provisioned.clone(),
            in_force: None,
            next: None,
        }
    }

    /// Takes a key. Returns whether it is another one than those that are there.
    pub(crate) fn give(&mut self, given: Given) -> bool {
        let known = self.newest() == &given.key || self.before() == Some(&given.key);
        if !known {
            self.next = Some(given);
        }
        !known
    }

    /// The key to try first.
    pub(crate) fn newest(&self) -> &Psk {
        let given = self.next.as_ref().or(self.in_force.as_ref());
        given.map_or(&self.instead_of, |given| &given.key)
    }

    /// The one to try when that is refused.
    pub(crate) fn before(&self) -> Option<&Psk> {
        self.next.as_ref()?;
        let given = self.in_force.as_ref();
        Some(given.map_or(&self.instead_of, |given| &given.key))
    }

    /// A session has come of this key. Returns whether that drops the one before it.
    pub(crate) fn used(&mut self, key: &Psk) -> bool {
        let used = self.next.take_if(|next| next.key == *key);
        let is_new = used.is_some();
        self.in_force = used.or(self.in_force.take());
        is_new
    }
}

impl State {
    /// The state of a device that never ran, or does not know that it did: its
    /// first boot is drawn from 1 to [`MAX_FIRST_BOOT`]. The randomness has to
    /// differ from start to start and from that of the same device before.
    #[must_use]
    pub fn fresh<R: CryptoRng>(rng: &mut R) -> State {
        State::new(Boot(rng.next_u32() % MAX_FIRST_BOOT))
    }

    /// The state in which `boot` has given no number yet, and nothing is known
    /// of others.
    #[must_use]
    pub fn new(boot: Boot) -> State {
        Self {
            boot,
            last_given: Seq(0),
            acked: Seq(0),
            lost_through: Seq(0),
            previous: Vec::new(),
            reported: false,
            commands: Commands::default(),
            kept: None,
            keys: None,
        }
    }
}

/// Why bytes are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The checksum is wrong: torn or worn memory.
    #[error("the retained state has a wrong checksum")]
    Checksum,
    /// Another version of the firmware wrote it.
    #[error("the retained state is not of version {VERSION}")]
    Version,
    /// The fields are not those of a state.
    #[error("the retained state has wrong fields")]
    Shape,
    /// The output buffer is smaller than the state.
    #[error("the buffer is too small: {MAX_STATE_BYTES} bytes always do")]
    Space,
}

impl State {
    /// The state with which the next boot starts: a new boot number, the
    /// ended boot noted for the report, interrupted commands failed.
    #[must_use]
    pub fn next_boot(mut self) -> State {
        self.begin_boot();
        self
    }

    /// [`State::next_boot`] in place: a state is five kilobytes.
    pub(crate) fn begin_boot(&mut self) {
        self.commands.interrupted();
        let ended = PreviousBoot {
            boot: self.boot,
            last: self.last_given,
            acked: self.acked,
        };
        if self.last_given > Seq(0) {
            if self.reported && self.previous.len() == 1 {
                self.previous.clear();
                self.reported = false;
            }
            if self.previous.push(ended).is_err() {
                self.lost_through = self.last_given;
                return;
            }
        }
        self.boot = Boot(self.boot.0.saturating_add(1));
        self.last_given = Seq(0);
        self.acked = Seq(0);
        self.lost_through = Seq(0);
    }

    /// Whether an ended boot waits to be reported.
    pub fn has_report(&self) -> bool {
        !self.previous.is_empty() && !self.reported
    }

    /// The gateway has acknowledged a batch that carried `report`.
    pub(crate) fn confirm_report(&mut self, report: &PreviousBoot) {
        if self.previous.first() == Some(report) {
            if self.previous.len() > 1 {
                self.previous.remove(0);
            } else {
                self.reported = true;
            }
        }
    }

    /// Writes the state with its version and a checksum.
    ///
    /// # Errors
    /// [`Error::Space`] when `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let (body, _) = out
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .and_then(|length| out.split_at_mut_checked(length))
            .ok_or(Error::Space)?;
        let mut encoder = Encoder::new(Cursor::new(body));
        self.write(&mut encoder).map_err(|_| Error::Space)?;
        let length = encoder.writer().position();
        let (body, rest) = out.split_at_mut(length);
        rest[..CHECKSUM_BYTES].copy_from_slice(&crc32c(body).to_le_bytes());
        Ok(length + CHECKSUM_BYTES)
    }

    /// Reads what [`State::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are torn, of another version, or not a state.
    pub fn decode(bytes: &[u8]) -> Result<State, Error> {
        let mut state = State::new(Boot(0));
        state.read(bytes)?;
        Ok(state)
    }

    /// Reads what [`State::encode`] wrote into a [new](State::new) state.
    fn read(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (body, checksum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(Error::Checksum)?;
        if crc32c(body).to_le_bytes() != *checksum {
            return Err(Error::Checksum);
        }
        let mut decoder = Decoder::new(body);
        let version = decoder.u8().map_err(|_| Error::Shape)?;
        if ![WITHOUT_RESUMPTION, WITHOUT_KEYS, VERSION].contains(&version) {
            return Err(Error::Version);
        }
        self.read_fields(&mut decoder).map_err(|_| Error::Shape)?;
        if version != WITHOUT_RESUMPTION {
            self.kept = Kept::read(&mut decoder).map_err(|_| Error::Shape)?;
        }
        if version == VERSION {
            self.keys = Keys::read(&mut decoder).map_err(|_| Error::Shape)?;
        }
        Ok(())
    }

    fn write(&self, e: &mut Encoder<Cursor<&mut [u8]>>) -> Result<(), encode::Error<EndOfSlice>> {
        e.u8(VERSION)?;
        e.u32(self.boot.0)?
            .u64(self.last_given.0)?
            .u64(self.acked.0)?
            .u64(self.lost_through.0)?;
        e.bool(self.reported)?;
        e.array(self.previous.len() as u64)?;
        for ended in &self.previous {
            e.u32(ended.boot.0)?.u64(ended.last.0)?.u64(ended.acked.0)?;
        }
        e.i64(self.commands.forgotten_us)?;
        e.array(self.commands.open.len() as u64)?;
        for open in &self.commands.open {
            e.bytes(&open.id.0)?
                .i64(open.expires_us)?
                .u8(state_code(open.state))?;
            e.i64(open.taken_us)?
                .i64(open.ended_us)?
                .str(&open.detail)?
                .bool(open.tell_taken)?;
        }
        e.array(self.commands.closed.len() as u64)?;
        for closed in &self.commands.closed {
            e.bytes(&closed.id.0)?.i64(closed.expires_us)?;
            e.u8(state_code(closed.state))?.i64(closed.ended_us)?;
        }
        match &self.kept {
            None => e.null()?,
            Some(kept) => {
                e.bytes(kept.resumption.to_bytes().as_ref())?;
                match kept.fresh_us {
                    None => e.null()?,
                    Some(fresh_us) => e.i64(fresh_us)?,
                }
            }
        };
        match &self.keys {
            None => e.null()?,
            Some(keys) => {
                e.bytes(keys.instead_of.reveal())?;
                Given::write(keys.in_force.as_ref(), e)?;
                Given::write(keys.next.as_ref(), e)?
            }
        };
        Ok(())
    }

    fn read_fields(&mut self, d: &mut Decoder<'_>) -> Result<(), decode::Error> {
        self.boot = Boot(d.u32()?);
        self.last_given = Seq(d.u64()?);
        self.acked = Seq(d.u64()?);
        self.lost_through = Seq(d.u64()?);
        self.reported = d.bool()?;
        let full = |_| decode::Error::message("more entries than fit");
        for _ in 0..length(d)? {
            let ended = PreviousBoot {
                boot: Boot(d.u32()?),
                last: Seq(d.u64()?),
                acked: Seq(d.u64()?),
            };
            self.previous.push(ended).map_err(|_| full(()))?;
        }
        self.commands.forgotten_us = d.i64()?;
        for _ in 0..length(d)? {
            let open = Open {
                id: command_id(d)?,
                expires_us: d.i64()?,
                state: state_of(d.u8()?)?,
                taken_us: d.i64()?,
                ended_us: d.i64()?,
                detail: shortened(d.str()?),
                tell_taken: d.bool()?,
                taken_sent: false,
                ended_sent: false,
            };
            self.commands.open.push(open).map_err(|_| full(()))?;
        }
        for _ in 0..length(d)? {
            let closed = Closed {
                id: command_id(d)?,
                expires_us: d.i64()?,
                state: state_of(d.u8()?)?,
                ended_us: d.i64()?,
                echo: false,
            };
            self.commands.closed.push(closed).map_err(|_| full(()))?;
        }
        Ok(())
    }
}

impl Kept {
    fn read(d: &mut Decoder<'_>) -> Result<Option<Kept>, decode::Error> {
        if is_null(d)? {
            return Ok(None);
        }
        let bytes: &[u8; RESUMPTION_BYTES] = d
            .bytes()?
            .try_into()
            .map_err(|_| decode::Error::message("a resumption of another length"))?;
        let fresh_us = if is_null(d)? { None } else { Some(d.i64()?) };
        // A suite that this firmware knows no more: the next handshake settles it.
        let resumption = Resumption::from_bytes(bytes).ok();
        Ok(resumption.map(|resumption| Kept {
            resumption,
            fresh_us,
        }))
    }
}

impl Keys {
    fn read(d: &mut Decoder<'_>) -> Result<Option<Keys>, decode::Error> {
        if is_null(d)? {
            return Ok(None);
        }
        Ok(Some(Keys {
            instead_of: psk(d)?,
            in_force: Given::read(d)?,
            next: Given::read(d)?,
        }))
    }
}

impl Given {
    fn write<'e, 'b>(
        given: Option<&Self>,
        e: &'e mut Encoder<Cursor<&'b mut [u8]>>,
    ) -> Result<&'e mut Encoder<Cursor<&'b mut [u8]>>, encode::Error<EndOfSlice>> {
        match given {
            None => e.null(),
            Some(given) => e.u64(given.generation)?.bytes(given.key.reveal()),
        }
    }

    fn read(d: &mut Decoder<'_>) -> Result<Option<Given>, decode::Error> {
        if is_null(d)? {
            return Ok(None);
        }
        Ok(Some(Given {
            generation: d.u64()?,
            key: psk(d)?,
        }))
    }
}

/// Whether there is nothing in this place, which is then passed.
fn is_null(d: &mut Decoder<'_>) -> Result<bool, decode::Error> {
    let null = d.datatype()? == Type::Null;
    if null {
        d.null()?;
    }
    Ok(null)
}

fn psk(d: &mut Decoder<'_>) -> Result<Psk, decode::Error> {
    Psk::from_slice(d.bytes()?).map_err(|_| decode::Error::message("no key"))
}

fn length(d: &mut Decoder<'_>) -> Result<u64, decode::Error> {
    d.array()?
        .ok_or_else(|| decode::Error::message("a list without a length"))
}

fn command_id(d: &mut Decoder<'_>) -> Result<CommandId, decode::Error> {
    let bytes = d.bytes()?;
    let id = bytes
        .try_into()
        .map_err(|_| decode::Error::message("a command id of 16 bytes"))?;
    Ok(CommandId(id))
}

fn state_code(state: command::State) -> u8 {
    match state {
        command::State::Done => 1,
        command::State::Failed => 2,
        command::State::Expired => 3,
        _ => 0,
    }
}

fn state_of(code: u8) -> Result<command::State, decode::Error> {
    match code {
        0 => Ok(command::State::Acknowledged),
        1 => Ok(command::State::Done),
        2 => Ok(command::State::Failed),
        3 => Ok(command::State::Expired),
        _ => Err(decode::Error::message("an unknown command state")),
    }
}

/// CRC-32C bit by bit: small rather than fast.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !crc32c_more(!0, bytes)
}

fn crc32c_more(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// Checks an encoded state that comes in parts.
pub(crate) struct Checksum(u32);

impl Default for Checksum {
    fn default() -> Self {
        Self(!0)
    }
}

impl Checksum {
    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0 = crc32c_more(self.0, part);
    }

    /// Whether all that came ends with its checksum.
    pub(crate) fn is_right(&self) -> bool {
        // The CRC of a message with its own CRC behind it is the same for each message.
        !self.0 == 0x4867_4bc7
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_protocol::command::Command;
    use stencil_protocol::id::DeviceId;

    fn ran(boot: u32, last: u64, acked: u64) -> State {
        State {
            last_given: Seq(last),
            acked: Seq(acked),
            ..State::new(Boot(boot))
        }
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut whole = Checksum::default();
        whole.add(b"1234");
        whole.add(b"56789");
        assert!(!whole.is_right());
        whole.add(&0xe306_9283_u32.to_le_bytes());
        assert!(whole.is_right());
    }

    #[test]
    fn the_largest_state_fits_and_comes_back() {
        let mut state = ran(u32::MAX, u64::MAX, u64::MAX);
        state.lost_through = Seq(u64::MAX);
        state.commands.forgotten_us = i64::MIN;
        for boot in 0..8 {
            let ended = PreviousBoot {
                boot: Boot(u32::MAX - boot),
                last: Seq(u64::MAX),
                acked: Seq(u64::MAX - 1),
            };
            state.previous.push(ended).unwrap();
        }
        for id in 0..64 {
            let command = Command {
                id: CommandId([id; 16]),
                device: DeviceId::parse("d").unwrap(),
                name: "lock",
                argument: None,
                expires_us: i64::MAX,
            };
            state.commands.admit(&command, i64::MAX - 1);
            state
                .commands
                .end(command.id, Err(&"x".repeat(64)), i64::MAX);
            if id < 48 {
                state.commands.confirm(command.id, command::State::Failed);
            }
        }
        assert_eq!(
            (state.commands.open.len(), state.commands.closed.len()),
            (16, 48)
        );
        let mut secret = [0xab; RESUMPTION_BYTES];
        secret[..2].copy_from_slice(&[0, 1]);
        state.kept = Some(Kept {
            resumption: Resumption::from_bytes(&secret).unwrap(),
            fresh_us: Some(i64::MIN),
        });
        let given = |byte| Given {
            generation: u64::MAX,
            key: Psk::from_bytes([byte; 32]).unwrap(),
        };
        state.keys = Some(Keys {
            instead_of: given(1).key,
            in_force: Some(given(2)),
            next: Some(given(3)),
        });
        let mut bytes = [0; MAX_STATE_BYTES];
        let length = state.encode(&mut bytes).unwrap();
        assert_eq!(State::decode(&bytes[..length]).unwrap(), state);
        assert_eq!(state.encode(&mut bytes[..length - 1]), Err(Error::Space));
    }

    #[test]
    fn what_the_firmware_before_wrote_is_read() {
        let state = ran(1, 2, 1);
        let mut bytes = [0; 200];
        let length = state.encode(&mut bytes).unwrap();
        // It wrote its version, and no null for what it did not keep.
        for (version, nulls) in [(WITHOUT_KEYS, 1), (WITHOUT_RESUMPTION, 2)] {
            let mut before = bytes[..length - CHECKSUM_BYTES - nulls].to_vec();
            before[0] = version;
            before.extend(crc32c(&before).to_le_bytes());
            assert_eq!(State::decode(&before).as_ref(), Ok(&state));
        }
    }

    #[test]
    fn torn_or_foreign_bytes_are_told() {
        let mut bytes = [0; 200];
        let length = ran(1, 2, 1).encode(&mut bytes).unwrap();
        bytes[2] ^= 1;
        assert_eq!(State::decode(&bytes[..length]), Err(Error::Checksum));
        assert_eq!(State::decode(&[]), Err(Error::Checksum));
        let mut other = [9, 0, 0, 0, 0];
        let sum = crc32c(&other[..1]).to_le_bytes();
        other[1..].copy_from_slice(&sum);
        assert_eq!(State::decode(&other), Err(Error::Version));
    }

    /// Gives the same number each time.
    struct Stuck(u32);
    impl rand_core::TryRng for Stuck {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(u64::from(self.0))
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            out.fill(self.0.to_le_bytes()[0]);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Stuck {}

    #[test]
    fn the_first_boot_is_drawn_so_that_many_can_follow() {
        for (drawn, first) in [
            (0, 1),
            (41, 42),
            (MAX_FIRST_BOOT - 1, MAX_FIRST_BOOT),
            (MAX_FIRST_BOOT, 1),
            (u32::MAX, MAX_FIRST_BOOT),
        ] {
            let state = State::fresh(&mut Stuck(drawn)).next_boot();
            assert_eq!((state.boot, state.last_given), (Boot(first), Seq(0)));
            assert!(!state.has_report());
            assert_eq!(state.next_boot().boot, Boot(first + 1));
        }
    }

    #[test]
    fn a_boot_that_gave_no_number_needs_no_report() {
        let state = State::new(Boot(0)).next_boot();
        assert_eq!((state.boot, state.has_report()), (Boot(1), false));
        assert_eq!(state.next_boot().boot, Boot(2));
    }

    #[test]
    fn each_boot_is_reported_and_the_last_report_stays() {
        let state = ran(3, 10, 7).next_boot();
        assert_eq!(state.boot, Boot(4));
        assert!(state.has_report());
        let mut state = State {
            last_given: Seq(5),
            acked: Seq(1),
            ..state
        }
        .next_boot();
        let first = PreviousBoot {
            boot: Boot(3),
            last: Seq(10),
            acked: Seq(7),
        };
        let second = PreviousBoot {
            boot: Boot(4),
            last: Seq(5),
            acked: Seq(1),
        };
        assert_eq!(state.previous, [first, second]);
        state.confirm_report(&second); // not the one that is being told
        state.confirm_report(&first);
        assert_eq!(state.previous, [second]);
        assert!(state.has_report());
        state.confirm_report(&second);
        assert_eq!(state.previous, [second]);
        assert!(!state.has_report());
        let state = State {
            last_given: Seq(2),
            ..state
        }
        .next_boot();
        assert_eq!(state.previous.len(), 1);
        assert_eq!(state.previous[0].boot, Boot(5));
    }

    #[test]
    fn no_boot_is_forgotten_when_too_many_wait() {
        let mut state = State::new(Boot(0));
        for _ in 0..8 {
            state = state.next_boot();
            state.last_given = Seq(6);
        }
        let state = state.next_boot();
        assert_eq!((state.boot, state.previous.len()), (Boot(9), 8));
        let state = State {
            last_given: Seq(4),
            acked: Seq(1),
            ..state
        }
        .next_boot();
        assert_eq!((state.boot, state.last_given), (Boot(9), Seq(4)));
        assert_eq!((state.acked, state.lost_through), (Seq(1), Seq(4)));
    }
}
