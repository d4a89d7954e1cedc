//! What a device is born with: its name, its key and its settings, in one erase
//! block of flash.
//!
//! The maker writes the block before the device leaves the bench
//! (`cargo xtask provision` does it for an emulated board) and a board reads it at
//! each start. The block holds the key in clear: a product locks the region against
//! reading by a debugger (STM32 RDP, nRF APPROTECT), or keeps it in a secure element.
//!
//! ```text
//! "STN1" ‖ length u16 LE ‖ map ‖ CRC-32C u32 LE     (over all before it)
//! map = { 0: device, 1: psk: bytes .size 32, ? 2: sample interval, ? 3: batch delay,
//!         ? 4: resend, ? 5: handshake, ? 6: keep alive }      (times in µs)
//! ```

use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder, decode, encode};
use stencil_crypto::psk::{PSK_BYTES, Psk};
use stencil_protocol::id::DeviceId;

use crate::config::Config;
use crate::retained::crc32c;

/// The most that [`Provision::encode`] writes, in bytes; a block of this size does.
pub const MAX_PROVISION_BYTES: usize = 256;

const MAGIC: [u8; 4] = *b"STN1";
const HEAD_BYTES: usize = MAGIC.len() + 2;
const CHECKSUM_BYTES: usize = 4;

/// What is written at the bench; times in microseconds, 0 for the application's own.
pub struct Provision<'a> {
    /// The name under which the device is enrolled.
    pub device: &'a DeviceId,
    /// The key that it shares with its gateway.
    pub psk: &'a [u8; PSK_BYTES],
    /// See [`Config::sample_interval_us`].
    pub sample_interval_us: u64,
    /// See [`Config::batch_delay_us`].
    pub batch_delay_us: u64,
    /// See [`Config::resend_us`].
    pub resend_us: u64,
    /// See [`Config::handshake_us`].
    pub handshake_us: u64,
    /// See [`Config::keep_alive_us`].
    pub keep_alive_us: u64,
}

/// Why a block does not tell who the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was ever written, or something else.
    #[error("the block holds no provision: the device has not been given its name and key")]
    Blank,
    /// The checksum is wrong: torn or worn.
    #[error("the provision has a wrong checksum")]
    Checksum,
    /// The fields are not those of a provision.
    #[error("the provision has wrong fields: a name, a key that is not all zeros, times above 0")]
    Shape,
    /// The output buffer is too small.
    #[error("the buffer is too small: {MAX_PROVISION_BYTES} bytes always do")]
    Space,
}

impl Provision<'_> {
    /// Writes the block's bytes; says how many.
    ///
    /// # Errors
    /// [`Error::Space`] when `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let body = out
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .and_then(|end| out.get_mut(HEAD_BYTES..end))
            .ok_or(Error::Space)?;
        let mut encoder = Encoder::new(Cursor::new(body));
        self.write(&mut encoder).map_err(|_| Error::Space)?;
        let length = encoder.writer().position();
        let field = u16::try_from(length).map_err(|_| Error::Space)?;
        out[..MAGIC.len()].copy_from_slice(&MAGIC);
        out[MAGIC.len()..HEAD_BYTES].copy_from_slice(&field.to_le_bytes());
        let (sealed, rest) = out.split_at_mut(HEAD_BYTES + length);
        rest[..CHECKSUM_BYTES].copy_from_slice(&crc32c(sealed).to_le_bytes());
        Ok(HEAD_BYTES + length + CHECKSUM_BYTES)
    }

    fn write(&self, e: &mut Encoder<Cursor<&mut [u8]>>) -> Result<(), encode::Error<EndOfSlice>> {
        let times = self.times();
        let set = times.iter().filter(|time_us| **time_us > 0).count() as u64;
        e.map(2 + set)?
            .u8(0)?
            .str(self.device.as_str())?
            .u8(1)?
            .bytes(self.psk)?;
        for (key, time_us) in (2..).zip(times) {
            if time_us > 0 {
                e.u8(key)?.u64(time_us)?;
            }
        }
        Ok(())
    }

    fn times(&self) -> [u64; 5] {
        [
            self.sample_interval_us,
            self.batch_delay_us,
            self.resend_us,
            self.handshake_us,
            self.keep_alive_us,
        ]
    }
}

/// Reads the settings from a block's first bytes; what follows them is ignored.
///
/// # Errors
/// When the block is blank, torn, or tells no name and key.
pub fn config(block: &[u8]) -> Result<Config, Error> {
    let rest = block.strip_prefix(&MAGIC).ok_or(Error::Blank)?;
    let (length, rest) = rest.split_first_chunk().ok_or(Error::Checksum)?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (body, rest) = rest.split_at_checked(length).ok_or(Error::Checksum)?;
    let checksum = rest.first_chunk().ok_or(Error::Checksum)?;
    if crc32c(&block[..HEAD_BYTES + length]) != u32::from_le_bytes(*checksum) {
        return Err(Error::Checksum);
    }
    read(body).ok().flatten().ok_or(Error::Shape)
}

fn read(body: &[u8]) -> Result<Option<Config>, decode::Error> {
    let mut d = Decoder::new(body);
    let (mut device, mut psk, mut times) = (None, None, [0; 5]);
    for _ in 0..d.map()?.unwrap_or(0) {
        match d.u8()? {
            0 => device = DeviceId::parse(d.str()?).ok(),
            1 => psk = Psk::from_slice(d.bytes()?).ok(),
            key @ 2..7 => times[usize::from(key) - 2] = d.u64()?,
            _ => d.skip()?,
        }
    }
    let (Some(device), Some(psk)) = (device, psk) else {
        return Ok(None);
    };
    let mut config = Config::new(device, psk);
    for (setting, time_us) in [
        &mut config.sample_interval_us,
        &mut config.batch_delay_us,
        &mut config.resend_us,
        &mut config.handshake_us,
        &mut config.keep_alive_us,
    ]
    .into_iter()
    .zip(times)
    {
        if time_us > 0 {
            *setting = time_us;
        }
    }
    Ok(Some(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(psk: [u8; 32]) -> ([u8; MAX_PROVISION_BYTES], usize) {
        let device = DeviceId::parse("m4-01").unwrap();
        let provision = Provision {
            device: &device,
            psk: &psk,
            sample_interval_us: 20_000,
            batch_delay_us: 0,
            resend_us: u64::MAX,
            handshake_us: 0,
            keep_alive_us: 7,
        };
        let mut block = [0xff; MAX_PROVISION_BYTES];
        let length = provision.encode(&mut block).unwrap();
        let mut short = block;
        assert_eq!(
            provision.encode(&mut short[..length - 1]),
            Err(Error::Space)
        );
        (block, length)
    }

    #[test]
    fn what_was_written_is_read_and_the_rest_has_its_defaults() {
        let config = config(&written([7; 32]).0).unwrap();
        let defaults = Config::new(
            DeviceId::parse("m4-01").unwrap(),
            Psk::from_bytes([7; 32]).unwrap(),
        );
        assert_eq!(config.device, defaults.device);
        assert_eq!(
            (config.sample_interval_us, config.batch_delay_us),
            (20_000, defaults.batch_delay_us)
        );
        assert_eq!((config.resend_us, config.keep_alive_us), (u64::MAX, 7));
        assert_eq!(config.handshake_us, defaults.handshake_us);
    }

    #[test]
    fn a_longest_name_fits() {
        let device = DeviceId::parse(&"d".repeat(stencil_protocol::id::MAX_BYTES)).unwrap();
        let provision = Provision {
            device: &device,
            psk: &[1; 32],
            sample_interval_us: u64::MAX,
            batch_delay_us: u64::MAX,
            resend_us: u64::MAX,
            handshake_us: u64::MAX,
            keep_alive_us: u64::MAX,
        };
        let mut block = [0; MAX_PROVISION_BYTES];
        provision.encode(&mut block).unwrap();
        assert_eq!(config(&block).unwrap().device, device);
    }

    #[test]
    fn what_was_not_written_so_is_told() {
        assert_eq!(config(&[0xff; 64]).err(), Some(Error::Blank));
        assert_eq!(config(b"STN1").err(), Some(Error::Checksum));
        assert_eq!(config(&written([0; 32]).0).err(), Some(Error::Shape));
        let (block, length) = written([7; 32]);
        for at in MAGIC.len()..length {
            let mut bad = block;
            bad[at] ^= 1;
            assert_eq!(config(&bad).err(), Some(Error::Checksum), "byte {at}");
        }
        for end in MAGIC.len()..length {
            assert_eq!(config(&block[..end]).err(), Some(Error::Checksum), "{end}");
        }
    }
}
