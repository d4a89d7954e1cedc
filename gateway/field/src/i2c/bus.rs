//! A bus that can be opened and measured on: the kernel's, or a model's in tests.

use std::{io, path::PathBuf, sync::Arc};

use embedded_hal::{
    delay::DelayNs,
    i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation},
};
use linux_embedded_hal::{Delay, I2cdev, i2cdev::linux::LinuxI2CError};

use super::{Measured, measure};
use crate::{Fault, mapping::Chip};

/// `EREMOTEIO`: what many controllers say when a chip does not acknowledge, though the kernel's own
/// list of codes does not have it (Documentation/i2c/fault-codes).
const REMOTE_IO: i32 = 121;

/// An open bus.
pub(crate) trait Bus: Send {
    /// Measures once. Blocks.
    fn measure(&mut self, chip: Chip) -> Result<Measured, Fault>;
}

/// What opens a bus.
pub(crate) trait Open: Send + Sync + 'static {
    /// Opens it. Blocks.
    fn open(&self) -> Result<Box<dyn Bus>, Fault>;
}

/// A bus with what waits for conversions on it.
pub(crate) struct Wire<B, D> {
    pub(crate) bus: B,
    pub(crate) delay: D,
}

impl<B: I2c + Send, D: DelayNs + Send> Bus for Wire<B, D> {
    fn measure(&mut self, chip: Chip) -> Result<Measured, Fault> {
        measure(&mut self.bus, &mut self.delay, chip)
    }
}

/// The kernel's bus.
pub(crate) struct Linux(pub(crate) PathBuf);

impl Open for Linux {
    fn open(&self) -> Result<Box<dyn Bus>, Fault> {
        let bus = I2cdev::new(&self.0).map_err(|error| {
            let error = match error {
                LinuxI2CError::Errno(code) => io::Error::from_raw_os_error(code),
                LinuxI2CError::Io(error) => error,
            };
            let to: Arc<str> = self.0.display().to_string().into();
            match error.kind() {
                io::ErrorKind::NotFound => Fault::Connect {
                    to,
                    why: "there is no such file: enable the bus, and load the module i2c-dev"
                        .into(),
                },
                io::ErrorKind::PermissionDenied => Fault::Connect {
                    to,
                    why: "permission denied: buses mostly belong to the group i2c".into(),
                },
                _ => match error.raw_os_error() {
                    // No such ioctl: it is a file of something else.
                    Some(25) => Fault::Connect {
                        to,
                        why: "it is no I²C bus".into(),
                    },
                    _ => Fault::connect(&to, &error),
                },
            }
        })?;
        Ok(Box::new(Wire {
            bus: Kernel(bus),
            delay: Delay,
        }))
    }
}

/// The kernel's bus, with the code of a chip that does not acknowledge understood.
struct Kernel(I2cdev);

/// Why a transaction failed.
struct Failed(linux_embedded_hal::I2CError);

impl std::fmt::Debug for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl embedded_hal::i2c::Error for Failed {
    fn kind(&self) -> ErrorKind {
        let code = match self.0.inner() {
            LinuxI2CError::Errno(code) => Some(*code),
            LinuxI2CError::Io(error) => error.raw_os_error(),
        };
        match code {
            Some(REMOTE_IO) => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            _ => self.0.kind(),
        }
    }
}

impl ErrorType for Kernel {
    type Error = Failed;
}

impl I2c for Kernel {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Failed> {
        I2c::transaction(&mut self.0, address, operations).map_err(Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &str) -> String {
        match Linux(path.into()).open() {
            Ok(_) => "opened".to_owned(),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn a_bus_that_is_none_is_told() {
        let missing = opened("/dev/i2c-no-such-bus");
        assert!(missing.contains("/dev/i2c-no-such-bus"), "{missing}");
        assert!(missing.contains("there is no such file"), "{missing}");
        let other = opened("/dev/null");
        assert!(other.contains("no I²C bus"), "{other}");
    }

    #[test]
    fn what_controllers_say_of_a_chip_that_is_away_is_understood() {
        use embedded_hal::i2c::Error as _;
        for code in [REMOTE_IO, 6] {
            let failed = Failed(LinuxI2CError::Errno(code).into());
            assert!(
                matches!(failed.kind(), ErrorKind::NoAcknowledge(_)),
                "{code}"
            );
        }
        let busy = Failed(LinuxI2CError::Errno(16).into());
        assert_eq!(busy.kind(), ErrorKind::Bus);
    }
}
