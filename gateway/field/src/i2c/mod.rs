//! Sensors on an I²C bus of the gateway's own machine (Linux, `/dev/i2c-*`), by drivers over
//! embedded-hal. What is tested is all but the kernel's bus: the drivers read models of chips.

mod bus;
mod poll;

use embedded_hal::{
    delay::DelayNs,
    i2c::{ErrorKind, I2c},
};
use sht4x::{Address, Precision, Sht4x};

pub(crate) use self::{
    bus::Linux,
    poll::{Poller, try_all},
};
use crate::{
    Fault,
    mapping::{Chip, Driver, Quantity},
};

/// What a chip measured.
pub(crate) type Measured = Vec<(Quantity, f64)>;

/// Measures once. Blocks for the chip's conversion time, some 10 ms.
fn measure<B: I2c, D: DelayNs>(bus: &mut B, delay: &mut D, chip: Chip) -> Result<Measured, Fault> {
    match chip.driver {
        Driver::Sht4x => {
            let address = match chip.address {
                0x45 => Address::Address0x45,
                0x46 => Address::Address0x46,
                _ => Address::Address0x44,
            };
            let mut sensor = Sht4x::new_with_address(bus, address);
            let measured = sensor.measure(Precision::High, delay);
            let measured = measured.map_err(|error| match error {
                sht4x::Error::I2c(error) => failed(&error, chip.address),
                _ => Fault::Nonsense("its checksum is wrong".to_owned()),
            })?;
            let humidity: f64 = measured.humidity_percent().to_num();
            Ok(vec![
                (
                    Quantity::Temperature,
                    measured.temperature_celsius().to_num(),
                ),
                // The conversion formula reaches beyond 0 and 100 % at the edges of the range; the
                // data sheet (section 4.6) says to crop.
                (Quantity::Humidity, humidity.clamp(0.0, 100.0)),
            ])
        }
    }
}

fn failed<E: embedded_hal::i2c::Error>(error: &E, address: u8) -> Fault {
    match error.kind() {
        ErrorKind::NoAcknowledge(_) => Fault::NoAcknowledge { address },
        _ => Fault::Bus(format!("{error:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU32};

    use stencil_firmware::model::{Air, Fault as Broken, ModelDelay, Sht4xModel};

    use super::*;

    fn read(fault: Broken, address: u8, humidity_percent: f64) -> Result<Measured, Fault> {
        let elapsed = Arc::new(AtomicU32::new(0));
        let air = move || Air {
            temperature_degc: 21.5,
            humidity_percent,
            fault,
        };
        let mut model = Sht4xModel::new(7, air, Arc::clone(&elapsed));
        let chip = Chip {
            driver: Driver::Sht4x,
            address,
        };
        measure(&mut model, &mut ModelDelay::new(elapsed), chip)
    }

    #[test]
    fn a_chip_is_measured_to_a_hundredth() {
        let measured = read(Broken::None, 0x44, 55.0).unwrap();
        let [
            (Quantity::Temperature, temperature),
            (Quantity::Humidity, humidity),
        ] = measured[..]
        else {
            panic!("{measured:?}");
        };
        assert!((temperature - 21.5).abs() < 0.01, "{temperature}");
        assert!((humidity - 55.0).abs() < 0.01, "{humidity}");
        // At the edges of its range the formula goes beyond what there is.
        assert_eq!(read(Broken::None, 0x44, 119.0).unwrap()[1].1, 100.0);
        assert_eq!(read(Broken::None, 0x44, -6.0).unwrap()[1].1, 0.0);
    }

    #[test]
    fn a_chip_that_is_away_and_one_whose_checksum_is_wrong_are_told_apart() {
        let away = read(Broken::Absent, 0x44, 50.0).unwrap_err();
        assert_eq!(away, Fault::NoAcknowledge { address: 0x44 });
        assert!(away.to_string().contains("0x44"), "{away}");
        // At another address nobody answers.
        let elsewhere = read(Broken::None, 0x45, 50.0).unwrap_err();
        assert_eq!(elsewhere, Fault::NoAcknowledge { address: 0x45 });
        let noisy = read(Broken::Noisy, 0x44, 50.0).unwrap_err();
        assert!(noisy.to_string().contains("checksum"), "{noisy}");
    }
}
