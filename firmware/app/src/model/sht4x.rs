//! The Sensirion SHT4x as seen from its I²C bus: commands, conversion times,
//! words with CRC-8 (data sheet, sections 4.2 to 4.6). The heater is missing.

use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering};

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

const ADDRESS: u8 = 0x44;
const MEASURE_HIGH: u8 = 0xfd;
const MEASURE_MEDIUM: u8 = 0xf6;
const MEASURE_LOW: u8 = 0xe0;
const SERIAL_NUMBER: u8 = 0x89;
const SOFT_RESET: u8 = 0x94;

/// Time that passes while a driver waits, in microseconds, shared between the
/// driver's delay and the chip (an `Arc`, or a `&'static`). Nothing really
/// waits.
#[derive(Clone, Copy, Debug)]
pub struct ModelDelay<T>(T);

impl<T: Deref<Target = AtomicU32>> ModelDelay<T> {
    /// A delay that moves `elapsed_us` on.
    pub fn new(elapsed_us: T) -> Self {
        Self(elapsed_us)
    }
}

impl<T: Deref<Target = AtomicU32>> DelayNs for ModelDelay<T> {
    fn delay_ns(&mut self, ns: u32) {
        self.0.fetch_add(ns.div_ceil(1_000), Ordering::Relaxed);
    }
}

/// What is wrong with the chip or its wires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The chip does not answer.
    Absent,
    /// Bits flip on the wire: checksums do not match.
    Noisy,
    /// It gives the last good conversion for ever.
    Stuck,
}

/// What surrounds the chip at the moment of a conversion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Air {
    /// In °C; the chip reaches from -45 to 130.
    pub temperature_degc: f64,
    /// Relative humidity in %.
    pub humidity_percent: f64,
    /// What is wrong meanwhile.
    pub fault: Fault,
}

/// The chip did not acknowledge: nobody at this address, an unknown command,
/// or nothing to read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAcknowledged;

impl embedded_hal::i2c::Error for NotAcknowledged {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown)
    }
}

/// The chip, alone on its bus. `A` tells its surroundings when asked.
#[derive(Debug)]
pub struct Sht4xModel<A, T> {
    air: A,
    elapsed_us: T,
    serial: u32,
    busy_from_us: u32,
    busy_us: u32,
    answer: Option<[u8; 6]>,
    last_good: Option<[u8; 6]>,
}

impl<A: FnMut() -> Air, T: Deref<Target = AtomicU32>> Sht4xModel<A, T> {
    /// A chip with this serial number.
    pub fn new(serial: u32, air: A, elapsed_us: T) -> Self {
        Self {
            air,
            elapsed_us,
            serial,
            busy_from_us: 0,
            busy_us: 0,
            answer: None,
            last_good: None,
        }
    }

    fn command(&mut self, bytes: &[u8]) -> Result<(), NotAcknowledged> {
        let &[command] = bytes else {
            return Err(NotAcknowledged);
        };
        if self.is_busy() {
            return Err(NotAcknowledged);
        }
        let air = (self.air)();
        if air.fault == Fault::Absent {
            return Err(NotAcknowledged);
        }
        // The longest durations of table 5 in the data sheet.
        self.busy_us = match command {
            MEASURE_HIGH => 8_300,
            MEASURE_MEDIUM => 4_500,
            MEASURE_LOW => 1_600,
            SERIAL_NUMBER => 100,
            SOFT_RESET => 1_000,
            _ => return Err(NotAcknowledged),
        };
        self.busy_from_us = self.elapsed_us.load(Ordering::Relaxed);
        self.answer = match command {
            SOFT_RESET => None,
            SERIAL_NUMBER => {
                let [a, b, c, d] = self.serial.to_be_bytes();
                Some(words([a, b], [c, d]))
            }
            _ => Some(self.convert(air)),
        };
        Ok(())
    }

    fn convert(&mut self, air: Air) -> [u8; 6] {
        if let (Fault::Stuck, Some(last)) = (air.fault, self.last_good) {
            return last;
        }
        let temperature = raw((air.temperature_degc + 45.0) / 175.0);
        let humidity = raw((air.humidity_percent + 6.0) / 125.0);
        let mut answer = words(temperature.to_be_bytes(), humidity.to_be_bytes());
        self.last_good = Some(answer);
        if air.fault == Fault::Noisy {
            answer[1] ^= 0x10;
        }
        answer
    }

    fn is_busy(&self) -> bool {
        let waited_us = self
            .elapsed_us
            .load(Ordering::Relaxed)
            .wrapping_sub(self.busy_from_us);
        waited_us < self.busy_us
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), NotAcknowledged> {
        if self.is_busy() {
            return Err(NotAcknowledged);
        }
        self.busy_us = 0;
        let answer = self.answer.take().ok_or(NotAcknowledged)?;
        // Beyond the last word the bus is high.
        let bytes = answer.into_iter().chain(core::iter::repeat(0xff));
        out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(())
    }
}

impl<A, T> ErrorType for Sht4xModel<A, T> {
    type Error = NotAcknowledged;
}

impl<A: FnMut() -> Air, T: Deref<Target = AtomicU32>> I2c for Sht4xModel<A, T> {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), NotAcknowledged> {
        if address != ADDRESS {
            return Err(NotAcknowledged);
        }
        operations
            .iter_mut()
            .try_for_each(|operation| match operation {
                Operation::Write(bytes) => self.command(bytes),
                Operation::Read(out) => self.read(out),
            })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within 0 to 65,535"
)]
fn raw(share: f64) -> u16 {
    // Half up by hand: `round` needs the standard library.
    (share.clamp(0.0, 1.0) * 65_535.0 + 0.5) as u16
}

fn words(first: [u8; 2], second: [u8; 2]) -> [u8; 6] {
    [
        first[0],
        first[1],
        crc8(first),
        second[0],
        second[1],
        crc8(second),
    ]
}

/// CRC-8 with polynomial 0x31 and start 0xff (data sheet, section 4.4).
fn crc8(word: [u8; 2]) -> u8 {
    word.into_iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| {
            (crc << 1) ^ (0x31 & (crc >> 7).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_data_sheet() {
        assert_eq!(crc8([0xbe, 0xef]), 0x92);
    }

    #[test]
    fn a_measurement_is_there_only_after_its_conversion_time() {
        let elapsed = AtomicU32::new(u32::MAX - 5_000); // wraps meanwhile
        let air = || Air {
            temperature_degc: 25.0,
            humidity_percent: 50.0,
            fault: Fault::None,
        };
        let mut chip = Sht4xModel::new(7, air, &elapsed);
        let mut out = [0; 6];
        assert_eq!(
            I2c::read(&mut chip, ADDRESS, &mut out),
            Err(NotAcknowledged)
        );
        I2c::write(&mut chip, ADDRESS, &[MEASURE_HIGH]).unwrap();
        assert_eq!(
            I2c::read(&mut chip, ADDRESS, &mut out),
            Err(NotAcknowledged)
        );
        ModelDelay::new(&elapsed).delay_us(8_300);
        I2c::read(&mut chip, ADDRESS, &mut out).unwrap();
        // 25 °C is 0.4 of the range, 50 % is 0.448.
        assert_eq!(
            out,
            words(26_214_u16.to_be_bytes(), 29_360_u16.to_be_bytes())
        );
        assert_eq!(
            I2c::write(&mut chip, ADDRESS, &[0x39]),
            Err(NotAcknowledged)
        );
        assert_eq!(
            I2c::write(&mut chip, 0x45, &[MEASURE_HIGH]),
            Err(NotAcknowledged)
        );
    }
}
