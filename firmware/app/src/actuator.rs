//! What a device switches.

use embedded_hal::digital::OutputPin;
use stencil_protocol::sample::Value;

/// Something that a command acts on.
pub trait Actuator {
    /// Carries out the command `name` at `now_us` of the board's clock. Comes
    /// back at once: what takes time is begun here and ended in [`poll`].
    ///
    /// [`poll`]: Actuator::poll
    ///
    /// # Errors
    /// What went wrong and what would be right, at most 64 bytes; it reaches
    /// whoever sent the command.
    fn apply(
        &mut self,
        name: &str,
        argument: Option<Value<'_>>,
        now_us: u64,
    ) -> Result<(), &'static str>;

    /// Ends what is due to end. Returns when it wants to be called next.
    fn poll(&mut self, now_us: u64) -> Option<u64> {
        let _ = now_us;
        None
    }
}

/// The actuator of a device that has none: every command fails.
impl Actuator for () {
    fn apply(&mut self, _: &str, _: Option<Value<'_>>, _: u64) -> Result<(), &'static str> {
        Err("this device has nothing to switch")
    }
}

/// A pulse without an argument lasts this long.
const PULSE_MS: i64 = 500;
/// The longest pulse.
const MAX_PULSE_MS: i64 = 60_000;

/// A pin that drives a relay, a lamp, or a lock's bolt.
///
/// | command | argument | effect |
/// |---|---|---|
/// | `on`, `lock` | | high |
/// | `off`, `unlock` | | low |
/// | `pulse` | milliseconds, 1 to 60,000 (500) | high, then low again |
#[derive(Debug)]
pub struct DigitalOutput<P> {
    pin: P,
    pulse_ends_us: Option<u64>,
}

impl<P: OutputPin> DigitalOutput<P> {
    /// An output on `pin`, left as it is until the first command.
    pub fn new(pin: P) -> Self {
        Self {
            pin,
            pulse_ends_us: None,
        }
    }

    fn drive(&mut self, high: bool) -> Result<(), &'static str> {
        let driven = if high {
            self.pin.set_high()
        } else {
            self.pin.set_low()
        };
        driven.map_err(|_| "the output pin cannot be driven")
    }
}

impl<P: OutputPin> Actuator for DigitalOutput<P> {
    fn apply(
        &mut self,
        name: &str,
        argument: Option<Value<'_>>,
        now_us: u64,
    ) -> Result<(), &'static str> {
        match name {
            "on" | "lock" | "off" | "unlock" => {
                if argument.is_some() {
                    return Err("on, off, lock and unlock take no argument");
                }
                self.drive(matches!(name, "on" | "lock"))?;
                self.pulse_ends_us = None;
            }
            "pulse" => {
                let ms = match argument {
                    None => PULSE_MS,
                    Some(Value::Integer(ms)) if (1..=MAX_PULSE_MS).contains(&ms) => ms,
                    Some(_) => return Err("pulse takes milliseconds, an integer of 1 to 60000"),
                };
                self.drive(true)?;
                let duration_us = u64::try_from(ms).unwrap_or(0) * 1_000;
                self.pulse_ends_us = Some(now_us.saturating_add(duration_us));
            }
            _ => return Err("unknown command: know on, off, lock, unlock, pulse"),
        }
        Ok(())
    }

    fn poll(&mut self, now_us: u64) -> Option<u64> {
        let ends = self.pulse_ends_us?;
        // A pin that fails to go low is tried again at each poll.
        if now_us >= ends && self.drive(false).is_ok() {
            self.pulse_ends_us = None;
        }
        self.pulse_ends_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use embedded_hal::digital::ErrorType;

    #[derive(Default)]
    struct Pin(bool);
    impl ErrorType for Pin {
        type Error = Infallible;
    }
    impl OutputPin for Pin {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0 = false;
            Ok(())
        }
        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0 = true;
            Ok(())
        }
    }

    #[test]
    fn locks_and_unlocks() {
        let mut bolt = DigitalOutput::new(Pin::default());
        bolt.apply("lock", None, 0).unwrap();
        assert!(bolt.pin.0);
        bolt.apply("unlock", None, 1).unwrap();
        assert!(!bolt.pin.0);
    }

    #[test]
    fn a_pulse_ends_by_itself() {
        let mut relay = DigitalOutput::new(Pin::default());
        relay
            .apply("pulse", Some(Value::Integer(20)), 1_000)
            .unwrap();
        assert!(relay.pin.0);
        assert_eq!(relay.poll(20_999), Some(21_000));
        assert!(relay.pin.0);
        assert_eq!(relay.poll(21_000), None);
        assert!(!relay.pin.0);
    }

    #[test]
    fn says_what_would_be_right() {
        let mut relay = DigitalOutput::new(Pin::default());
        assert!(
            relay
                .apply("explode", None, 0)
                .unwrap_err()
                .contains("know on")
        );
        for bad in [Value::Integer(0), Value::Integer(60_001), Value::Bool(true)] {
            assert!(
                relay
                    .apply("pulse", Some(bad), 0)
                    .unwrap_err()
                    .contains("60000")
            );
        }
        assert!(relay.apply("on", Some(Value::Bool(true)), 0).is_err());
        assert!(!relay.pin.0);
    }
}
