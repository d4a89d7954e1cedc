//! A freezer: one mass of cold air, a compressor with hysteresis, a door.
//!
//! The air approaches a temperature that depends on door and compressor, each
//! with a time constant of its own (first order): it warms slowly through the
//! walls, cools while the compressor runs, and warms fast through an open
//! door. At the usual speed (60 times the real one) an open door lets it pass
//! −12 °C after 3 to 4 seconds on the wall clock.

/// Outside of the freezer, in °C.
const ROOM_DEGC: f64 = 20.0;
/// What the compressor would reach at last, in °C.
const COLDEST_DEGC: f64 = -32.0;
/// The compressor starts above this and stops below that, in °C.
const START_DEGC: f64 = -18.5;
const STOP_DEGC: f64 = -21.0;
/// Time constants in seconds: through the walls, by the compressor, through
/// the open door.
const WALLS_S: f64 = 8.0 * 3_600.0;
const COMPRESSOR_S: f64 = 40.0 * 60.0;
const DOOR_S: f64 = 15.0 * 60.0;
/// Relative humidity in % with closed and with open door, and its constant.
const DRY_PERCENT: f64 = 45.0;
const DAMP_PERCENT: f64 = 75.0;
const HUMIDITY_S: f64 = 3.0 * 60.0;
/// The compressor is looked at this often, in seconds.
const STEP_S: f64 = 2.0;
/// Time beyond this is not stepped through: everything has settled by then.
const LONGEST_S: f64 = 24.0 * 3_600.0;

/// The state of one freezer.
#[derive(Clone, Debug)]
pub(crate) struct Freezer {
    temperature_degc: f64,
    humidity_percent: f64,
    compressor: bool,
    door_open: bool,
}

impl Freezer {
    /// A freezer that has been closed for long.
    pub(crate) fn new(temperature_degc: f64) -> Self {
        Self {
            temperature_degc,
            humidity_percent: DRY_PERCENT,
            compressor: false,
            door_open: false,
        }
    }

    /// Lets `seconds` of the freezer's own time pass.
    pub(crate) fn pass(&mut self, seconds: f64) {
        let mut left_s = seconds.clamp(0.0, LONGEST_S);
        while left_s > 0.0 {
            let step_s = left_s.min(STEP_S);
            self.step(step_s);
            left_s -= step_s;
        }
    }

    fn step(&mut self, seconds: f64) {
        if self.temperature_degc >= START_DEGC {
            self.compressor = true;
        } else if self.temperature_degc <= STOP_DEGC {
            self.compressor = false;
        }
        let (target_degc, constant_s) = match (self.door_open, self.compressor) {
            (true, _) => (ROOM_DEGC, DOOR_S),
            (false, true) => (COLDEST_DEGC, COMPRESSOR_S),
            (false, false) => (ROOM_DEGC, WALLS_S),
        };
        approach(&mut self.temperature_degc, target_degc, constant_s, seconds);
        let target_percent = if self.door_open {
            DAMP_PERCENT
        } else {
            DRY_PERCENT
        };
        approach(
            &mut self.humidity_percent,
            target_percent,
            HUMIDITY_S,
            seconds,
        );
    }

    /// In °C.
    pub(crate) fn temperature_degc(&self) -> f64 {
        self.temperature_degc
    }

    /// In %.
    pub(crate) fn humidity_percent(&self) -> f64 {
        self.humidity_percent
    }

    pub(crate) fn door_is_open(&self) -> bool {
        self.door_open
    }

    /// Returns whether that changed anything.
    pub(crate) fn move_door(&mut self, open: bool) -> bool {
        std::mem::replace(&mut self.door_open, open) != open
    }
}

/// First order: the distance to the target shrinks by e in each constant.
fn approach(value: &mut f64, target: f64, constant_s: f64, seconds: f64) {
    *value = target + (*value - target) * (-seconds / constant_s).exp();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_cold_for_a_day_with_a_closed_door() {
        let mut freezer = Freezer::new(-19.0);
        let (mut starts, mut ran) = (0, false);
        for _ in 0..24 * 60 {
            freezer.pass(60.0);
            assert!(
                (-21.6..-18.0).contains(&freezer.temperature_degc()),
                "{freezer:?}"
            );
            starts += u32::from(freezer.compressor && !ran);
            ran = freezer.compressor;
        }
        assert!((20..200).contains(&starts), "{starts}");
    }

    #[test]
    fn an_open_door_passes_the_limit_within_four_seconds_at_sixty_times_the_speed() {
        for start_degc in [-21.0, -18.5] {
            let mut freezer = Freezer::new(start_degc);
            assert!(freezer.move_door(true));
            freezer.pass(2.0 * 60.0);
            assert!(freezer.temperature_degc() < -12.0);
            freezer.pass(2.0 * 60.0);
            assert!(freezer.temperature_degc() > -12.0);
            assert!(freezer.humidity_percent() > 55.0);
        }
    }

    #[test]
    fn recovers_when_the_door_is_closed() {
        let mut freezer = Freezer::new(-5.0);
        freezer.pass(30.0 * 60.0);
        assert!(freezer.temperature_degc() < -15.0);
    }

    #[test]
    fn the_step_width_makes_no_difference() {
        let (mut once, mut often) = (Freezer::new(-19.3), Freezer::new(-19.3));
        once.pass(600.0);
        (0..300).for_each(|_| often.pass(2.0));
        assert!((once.temperature_degc() - often.temperature_degc()).abs() < 1e-9);
    }
}
