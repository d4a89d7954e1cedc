//! The output that commands switch: LED 0 of the board.

use core::convert::Infallible;

use embedded_hal::digital::{ErrorType, OutputPin};

use crate::registers::fpgaio::LEDS;

const LED: u32 = 1;

/// The pin.
pub(crate) struct Led(());

impl Led {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl ErrorType for Led {
    type Error = Infallible;
}

impl OutputPin for Led {
    fn set_high(&mut self) -> Result<(), Infallible> {
        LEDS.write(LEDS.read() | LED);
        Ok(())
    }

    fn set_low(&mut self) -> Result<(), Infallible> {
        LEDS.write(LEDS.read() & !LED);
        Ok(())
    }
}
