//! Texas Instruments' TMP105.

use embedded_hal::i2c::I2c;
use stencil_protocol::sample::Value;

use super::{Error, Reading, Sensor, Taken};

/// Registers (data sheet SBOS648, section 8.6).
const TEMPERATURE: u8 = 0;
const CONFIGURATION: u8 = 1;
/// 12 bits, converting all the time (R1 and R0 set, SD clear).
const TWELVE_BITS: u8 = 0b0110_0000;
const STEPS_PER_DEGREE: f64 = 16.0;

/// A TMP105 on an I²C bus: `temperature` in `degC`, in steps of a sixteenth.
#[derive(Debug)]
pub struct Tmp105<I> {
    bus: I,
    address: u8,
    configured: bool,
}

impl<I: I2c> Tmp105<I> {
    /// The sensor at `address`, 0x48 to 0x4f.
    pub fn new(bus: I, address: u8) -> Self {
        Self {
            bus,
            address,
            configured: false,
        }
    }

    fn steps(&mut self) -> Result<i16, I::Error> {
        if !self.configured {
            self.bus
                .write(self.address, &[CONFIGURATION, TWELVE_BITS])?;
            self.configured = true;
        }
        let mut register = [0; 2];
        self.bus
            .write_read(self.address, &[TEMPERATURE], &mut register)?;
        // The value is left-justified in the register.
        Ok(i16::from_be_bytes(register) >> 4)
    }
}

impl<I: I2c> Sensor for Tmp105<I> {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), Error> {
        let Ok(steps) = self.steps() else {
            // It may have lost its power, and with it its configuration.
            self.configured = false;
            return Err(Error::Bus);
        };
        out(Reading {
            name: "temperature",
            value: Value::Number(f64::from(steps) / STEPS_PER_DEGREE),
            unit: Some("degC"),
            taken: Taken::Now,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::{ErrorKind, ErrorType, Operation};

    use super::*;

    /// The chip's registers; it does not answer while `absent`.
    struct Chip {
        register: [u8; 2],
        configuration: u8,
        absent: bool,
    }
    impl ErrorType for Chip {
        type Error = ErrorKind;
    }
    impl I2c for Chip {
        fn transaction(
            &mut self,
            address: u8,
            steps: &mut [Operation<'_>],
        ) -> Result<(), ErrorKind> {
            assert_eq!(address, 0x48);
            if self.absent {
                return Err(ErrorKind::Other);
            }
            match steps {
                [Operation::Write([CONFIGURATION, value])] => self.configuration = *value,
                [Operation::Write([TEMPERATURE]), Operation::Read(out)] => {
                    // At power-up it gives 9 bits.
                    let mask = if self.configuration == TWELVE_BITS {
                        0xf0
                    } else {
                        0x80
                    };
                    out.copy_from_slice(&[self.register[0], self.register[1] & mask]);
                }
                _ => panic!("unknown transaction"),
            }
            Ok(())
        }
    }

    fn read(sensor: &mut Tmp105<Chip>, register: [u8; 2]) -> Result<f64, Error> {
        sensor.bus.register = register;
        let mut value = None;
        sensor.measure(&mut |reading| {
            assert_eq!((reading.name, reading.unit), ("temperature", Some("degC")));
            let Value::Number(number) = reading.value else {
                panic!("a number")
            };
            value = Some(number);
        })?;
        Ok(value.unwrap())
    }

    #[test]
    fn reads_the_data_sheets_examples() {
        let chip = Chip {
            register: [0; 2],
            configuration: 0,
            absent: false,
        };
        let mut sensor = Tmp105::new(chip, 0x48);
        // Table 8-5 of the data sheet.
        for (register, degrees) in [
            ([0x7f, 0xf0], 127.9375),
            ([0x19, 0x00], 25.0),
            ([0x00, 0x40], 0.25),
            ([0xff, 0xc0], -0.25),
            ([0xe7, 0x00], -25.0),
            ([0xc9, 0x00], -55.0),
        ] {
            assert_eq!(read(&mut sensor, register), Ok(degrees));
        }
    }

    #[test]
    fn is_configured_again_after_it_was_away() {
        let chip = Chip {
            register: [0; 2],
            configuration: 0,
            absent: true,
        };
        let mut sensor = Tmp105::new(chip, 0x48);
        assert_eq!(read(&mut sensor, [0x19, 0x10]), Err(Error::Bus));
        sensor.bus.absent = false;
        assert_eq!(read(&mut sensor, [0x19, 0x10]), Ok(25.0625));
        sensor.bus.absent = true;
        assert_eq!(read(&mut sensor, [0x19, 0x10]), Err(Error::Bus));
        (sensor.bus.absent, sensor.bus.configuration) = (false, 0);
        assert_eq!(read(&mut sensor, [0x19, 0x10]), Ok(25.0625));
    }
}
