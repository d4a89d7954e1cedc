//! The boards of the three kinds of device: which chips sit where.

use std::convert::Infallible;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use embedded_hal::digital::{ErrorType, InputPin, OutputPin};
use stencil_firmware::actuator::Actuator;
use stencil_firmware::model::{Air, Fault, ModelDelay, Sht4xModel};
use stencil_firmware::sensor::{Error as SensorError, Reading, Sensor};
use stencil_firmware::{DigitalInput, DigitalOutput, Sht4x};
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::Value;

use super::kind::Kind;
use super::world::World;

/// What is wrong with a device's sensors, and until when.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<(Fault, Instant)>>);

impl Health {
    /// Breaks the sensors for a while.
    pub(crate) fn break_for(&self, fault: Fault, duration: Duration) {
        let until = Instant::now() + duration;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, until));
    }

    fn now(&self) -> Fault {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((fault, until)) if Instant::now() < until => fault,
            _ => Fault::None,
        }
    }
}

/// A place in the world at which a board is built in.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// From 0 within its kind.
    pub(crate) index: usize,
    pub(crate) device: DeviceId,
    pub(crate) world: Arc<World>,
    pub(crate) health: Arc<Health>,
}

impl Place {
    /// The board's sensors and actuator, as after a reset.
    pub(crate) fn instruments(&self) -> (Instruments, Switch) {
        match self.kind {
            Kind::Freezer => {
                let door = DigitalInput::new(
                    "door",
                    Contact {
                        place: self.clone(),
                        last: false,
                    },
                );
                (Instruments::Freezer(self.climate(), door), Switch::None)
            }
            Kind::Lock => {
                let contact = Contact {
                    place: self.clone(),
                    last: false,
                };
                let bolt = DigitalOutput::new(Bolt(self.clone()));
                (
                    Instruments::Lock(DigitalInput::new("bolt", contact)),
                    Switch::Bolt(bolt),
                )
            }
            Kind::Room => (Instruments::Room(self.climate()), Switch::None),
        }
    }

    fn climate(&self) -> Climate {
        let elapsed_us = Arc::new(AtomicU32::new(0));
        let place = self.clone();
        let air: AirSource = Box::new(move || place.air());
        let serial = u32::try_from(self.index).unwrap_or(u32::MAX);
        let chip = Sht4xModel::new(serial, air, Arc::clone(&elapsed_us));
        Sht4x::new(chip, ModelDelay::new(elapsed_us))
    }

    fn air(&self) -> Air {
        let air = match self.kind {
            Kind::Freezer => self.world.freezer_air(self.index),
            Kind::Lock | Kind::Room => self.world.room_air(self.index),
        };
        let (temperature_degc, humidity_percent) = air.unwrap_or((20.0, 50.0));
        Air {
            temperature_degc,
            humidity_percent,
            fault: self.health.now(),
        }
    }
}

type AirSource = Box<dyn FnMut() -> Air + Send>;
type Climate = Sht4x<Sht4xModel<AirSource, Arc<AtomicU32>>, ModelDelay<Arc<AtomicU32>>>;

/// The sensors of a board.
pub(crate) enum Instruments {
    /// `temperature`, `humidity`, `door`.
    Freezer(Climate, DigitalInput<Contact>),
    /// `bolt`.
    Lock(DigitalInput<Contact>),
    /// `temperature`, `humidity`.
    Room(Climate),
}

impl Sensor for Instruments {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), SensorError> {
        match self {
            Instruments::Freezer(climate, door) => {
                let measured = climate.measure(out);
                measured.and(door.measure(out))
            }
            Instruments::Lock(bolt) => bolt.measure(out),
            Instruments::Room(climate) => climate.measure(out),
        }
    }
}

/// What a board switches.
pub(crate) enum Switch {
    /// A lock's bolt.
    Bolt(DigitalOutput<Bolt>),
    /// Nothing.
    None,
}

impl Actuator for Switch {
    fn apply(
        &mut self,
        name: &str,
        argument: Option<Value<'_>>,
        now_us: u64,
    ) -> Result<(), &'static str> {
        match self {
            Switch::Bolt(bolt) => bolt.apply(name, argument, now_us),
            Switch::None => ().apply(name, argument, now_us),
        }
    }

    fn poll(&mut self, now_us: u64) -> Option<u64> {
        match self {
            Switch::Bolt(bolt) => bolt.poll(now_us),
            Switch::None => None,
        }
    }
}

/// The input that tells whether a door is open, or a bolt is shot.
pub(crate) struct Contact {
    place: Place,
    last: bool,
}

/// The wire to the contact is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

impl embedded_hal::digital::Error for Broken {
    fn kind(&self) -> embedded_hal::digital::ErrorKind {
        embedded_hal::digital::ErrorKind::Other
    }
}

impl ErrorType for Contact {
    type Error = Broken;
}

impl InputPin for Contact {
    fn is_high(&mut self) -> Result<bool, Broken> {
        match self.place.health.now() {
            Fault::Stuck => return Ok(self.last),
            // A contact has no checksum: noise on it is seen as silence.
            Fault::Absent | Fault::Noisy => return Err(Broken),
            Fault::None => {}
        }
        let Place {
            world, index, kind, ..
        } = &self.place;
        let high = match kind {
            Kind::Lock => world.is_bolted(*index),
            Kind::Freezer | Kind::Room => world.door_is_open(*index),
        };
        self.last = high.ok_or(Broken)?;
        Ok(self.last)
    }

    fn is_low(&mut self) -> Result<bool, Broken> {
        self.is_high().map(|high| !high)
    }
}

/// The output that drives a lock's bolt.
pub(crate) struct Bolt(Place);

impl ErrorType for Bolt {
    type Error = Infallible;
}

impl OutputPin for Bolt {
    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.world.move_bolt(self.0.index, true, &self.0.device);
        Ok(())
    }

    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.world.move_bolt(self.0.index, false, &self.0.device);
        Ok(())
    }
}
