//! The SHT4x driver against the chip's registers, and what faults come to.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::AtomicU32;

use stencil_firmware::model::{Air, Fault, ModelDelay, Sht4xModel};
use stencil_firmware::sensor::Error;
use stencil_firmware::{Sensor, Sht4x};
use stencil_protocol::sample::Value;

fn measure(sensor: &mut impl Sensor) -> Result<Vec<(String, f64, Option<String>)>, Error> {
    let mut values = Vec::new();
    sensor.measure(&mut |reading| {
        let Value::Number(value) = reading.value else {
            panic!("a number")
        };
        values.push((
            reading.name.to_owned(),
            value,
            reading.unit.map(str::to_owned),
        ));
    })?;
    Ok(values)
}

#[test]
fn gives_temperature_and_humidity_and_tells_faults() {
    let air = Rc::new(Cell::new(Air {
        temperature_degc: -19.25,
        humidity_percent: 47.5,
        fault: Fault::None,
    }));
    let elapsed_us = AtomicU32::new(0);
    let surroundings = Rc::clone(&air);
    let chip = Sht4xModel::new(3, move || surroundings.get(), &elapsed_us);
    let mut sensor = Sht4x::new(chip, ModelDelay::new(&elapsed_us));

    let values = measure(&mut sensor).unwrap();
    let [(name, degc, unit), (other, percent, sign)] = &values[..] else {
        panic!("two values")
    };
    assert_eq!(
        (name.as_str(), unit.as_deref()),
        ("temperature", Some("degC"))
    );
    assert_eq!((other.as_str(), sign.as_deref()), ("humidity", Some("%")));
    // The chip's resolution: 175 °C and 125 % in 65,535 steps.
    assert!((degc + 19.25).abs() < 0.01, "{degc}");
    assert!((percent - 47.5).abs() < 0.01, "{percent}");

    let warmer = Air {
        temperature_degc: 5.0,
        ..air.get()
    };
    air.set(Air {
        fault: Fault::Stuck,
        ..warmer
    });
    assert_eq!(measure(&mut sensor).unwrap(), values);
    air.set(Air {
        fault: Fault::Absent,
        ..warmer
    });
    assert_eq!(measure(&mut sensor), Err(Error::Bus));
    air.set(Air {
        fault: Fault::Noisy,
        ..warmer
    });
    assert_eq!(measure(&mut sensor), Err(Error::Checksum));
    air.set(warmer);
    assert!((measure(&mut sensor).unwrap()[0].1 - 5.0).abs() < 0.01);
    // Beyond the range the humidity is cropped, as the data sheet says.
    air.set(Air {
        humidity_percent: 109.0,
        ..warmer
    });
    assert_eq!(measure(&mut sensor).unwrap()[1].1, 100.0);
}
