//! What a device measures with.

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::InputPin;
use embedded_hal::i2c::I2c;
use stencil_protocol::sample::Value;

mod tmp105;

pub use tmp105::Tmp105;

/// When a reading was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Just now: the application writes its own time on it.
    Now,
    /// At a time that the sensor knows better, in microseconds since the Unix
    /// epoch: a logger that is read out later, a recording that is replayed.
    At(i64),
}

/// One value of one measurement, before it has a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading<'a> {
    /// The series, such as `temperature`; at most 64 bytes.
    pub name: &'a str,
    /// The value; numbers are finite.
    pub value: Value<'a>,
    /// The unit, such as `degC`; at most 16 bytes.
    pub unit: Option<&'a str>,
    /// When it was taken.
    pub taken: Taken,
}

/// Why a sensor gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bus did not answer.
    #[error("the sensor does not answer on its bus")]
    Bus,
    /// The answer's checksum is wrong.
    #[error("the sensor's answer has a wrong checksum")]
    Checksum,
    /// The pin cannot be read.
    #[error("the input pin cannot be read")]
    Pin,
}

/// A source of readings.
pub trait Sensor {
    /// Takes one measurement and hands each of its values to `out`. May block
    /// for the sensor's conversion time (9 ms for an SHT4x), not longer.
    ///
    /// # Errors
    /// When the sensor cannot be read; values handed out before stay.
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), Error>;
}

/// Two sensors read together. Both are read even if the first fails.
impl<A: Sensor, B: Sensor> Sensor for (A, B) {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), Error> {
        let first = self.0.measure(out);
        let second = self.1.measure(out);
        first.and(second)
    }
}

/// A Sensirion SHT40, SHT41 or SHT45 on an I²C bus: `temperature` in `degC`
/// and `humidity` in `%`.
#[derive(Debug)]
pub struct Sht4x<I, D> {
    driver: sht4x::Sht4x<I, D>,
    delay: D,
}

impl<I: I2c, D: DelayNs> Sht4x<I, D> {
    /// The sensor at its usual address, 0x44.
    pub fn new(bus: I, delay: D) -> Self {
        Self {
            driver: sht4x::Sht4x::new(bus),
            delay,
        }
    }
}

impl<I: I2c, D: DelayNs> Sensor for Sht4x<I, D> {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), Error> {
        let measured = self
            .driver
            .measure(sht4x::Precision::High, &mut self.delay)
            .map_err(|e| match e {
                sht4x::Error::Crc => Error::Checksum,
                _ => Error::Bus,
            })?;
        out(Reading {
            name: "temperature",
            value: Value::Number(measured.temperature_celsius().to_num()),
            unit: Some("degC"),
            taken: Taken::Now,
        });
        // The conversion formula reaches beyond 0 and 100 % at the edges of
        // the range; the data sheet (section 4.6) says to crop.
        let humidity: f64 = measured.humidity_percent().to_num();
        out(Reading {
            name: "humidity",
            value: Value::Number(humidity.clamp(0.0, 100.0)),
            unit: Some("%"),
            taken: Taken::Now,
        });
        Ok(())
    }
}

/// A switch: a door contact, a bolt. High is `true`.
#[derive(Debug)]
pub struct DigitalInput<P> {
    name: &'static str,
    pin: P,
}

impl<P: InputPin> DigitalInput<P> {
    /// A switch that is reported as the series `name`.
    pub fn new(name: &'static str, pin: P) -> Self {
        Self { name, pin }
    }
}

impl<P: InputPin> Sensor for DigitalInput<P> {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), Error> {
        let high = self.pin.is_high().map_err(|_| Error::Pin)?;
        out(Reading {
            name: self.name,
            value: Value::Bool(high),
            unit: None,
            taken: Taken::Now,
        });
        Ok(())
    }
}
