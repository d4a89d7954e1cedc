//! What surrounds the devices: freezers with doors, bolts, rooms. Time in it
//! runs `speed` times as fast as on the wall.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use stencil_protocol::id::DeviceId;

use super::freezer::Freezer;
use crate::device::now_us;
use crate::journal::{Journal, Line};
use crate::random::Random;

/// A day of a room, in seconds.
const DAY_S: f64 = 24.0 * 3_600.0;

/// Everything that is simulated and shared.
pub(crate) struct World {
    speed: f64,
    cells: Vec<Mutex<Cell>>,
    bolts: Vec<Mutex<bool>>,
    rooms: Vec<Mutex<Room>>,
}

struct Cell {
    freezer: Freezer,
    seen: Instant,
    noise: Random,
    journal: Arc<Journal>,
}

struct Room {
    started: Instant,
    phase: f64,
    noise: Random,
}

impl World {
    /// A world of `journals.len()` freezers, of locks and rooms.
    pub(crate) fn new(
        speed: f64,
        seed: u64,
        journals: Vec<Arc<Journal>>,
        locks: usize,
        rooms: usize,
    ) -> Self {
        let seen = Instant::now();
        let mut random = Random::new(seed, "world");
        let cells = journals
            .into_iter()
            .enumerate()
            .map(|(index, journal)| {
                let freezer = Freezer::new(random.between(-20.5, -18.8));
                let noise = Random::new(seed, &format!("freezer {index}"));
                Mutex::new(Cell {
                    freezer,
                    seen,
                    noise,
                    journal,
                })
            })
            .collect();
        let rooms = (0..rooms)
            .map(|index| {
                let noise = Random::new(seed, &format!("room {index}"));
                Mutex::new(Room {
                    started: seen,
                    phase: random.share(),
                    noise,
                })
            })
            .collect();
        let bolts = (0..locks).map(|_| Mutex::new(false)).collect();
        Self {
            speed,
            cells,
            bolts,
            rooms,
        }
    }

    /// Temperature in °C and humidity in % in a freezer, now.
    pub(crate) fn freezer_air(&self, index: usize) -> Option<(f64, f64)> {
        let mut cell = held(self.cells.get(index)?);
        self.advance(&mut cell);
        let Cell { freezer, noise, .. } = &mut *cell;
        Some(freezer_air(freezer, noise))
    }

    /// Temperature in °C and humidity in % in a room, now: a day's swing.
    pub(crate) fn room_air(&self, index: usize) -> Option<(f64, f64)> {
        let mut room = held(self.rooms.get(index)?);
        let days = room.started.elapsed().as_secs_f64() * self.speed / DAY_S;
        let days = days + room.phase;
        Some(room_air(days, &mut room.noise))
    }

    /// Whether the door of a freezer is open.
    pub(crate) fn door_is_open(&self, index: usize) -> Option<bool> {
        Some(held(self.cells.get(index)?).freezer.door_is_open())
    }

    /// Whether a bolt is shot.
    pub(crate) fn is_bolted(&self, index: usize) -> Option<bool> {
        Some(*held(self.bolts.get(index)?))
    }

    /// Someone opens the door of a freezer, and its bolt before.
    pub(crate) fn open_door(&self, index: usize) {
        if let Some(bolt) = self.bolts.get(index) {
            *held(bolt) = false;
        }
        self.move_door(index, true, "someone");
    }

    /// Someone closes the door of a freezer.
    pub(crate) fn close_door(&self, index: usize) {
        self.move_door(index, false, "someone");
    }

    /// The lock `by` shoots its bolt or draws it; shot, it pulls the door of
    /// the freezer with the same number shut.
    pub(crate) fn move_bolt(&self, index: usize, shot: bool, by: &DeviceId) {
        if let Some(bolt) = self.bolts.get(index) {
            *held(bolt) = shot;
        }
        if shot {
            self.move_door(index, false, by.as_str());
        }
    }

    fn move_door(&self, index: usize, open: bool, by: &str) {
        let Some(cell) = self.cells.get(index) else {
            return;
        };
        let mut cell = held(cell);
        self.advance(&mut cell);
        if cell.freezer.move_door(open) {
            cell.journal.note(&Line::Door {
                open,
                by: by.into(),
                at_us: now_us(),
            });
            tracing::info!(freezer = index + 1, open, by, "door");
        }
    }

    fn advance(&self, cell: &mut Cell) {
        let now = Instant::now();
        cell.freezer
            .pass(now.saturating_duration_since(cell.seen).as_secs_f64() * self.speed);
        cell.seen = now;
    }
}

/// Temperature in °C and humidity in % in a freezer.
pub(super) fn freezer_air(freezer: &Freezer, noise: &mut Random) -> (f64, f64) {
    let temperature = freezer.temperature_degc() + noise.between(-0.05, 0.05);
    let humidity = freezer.humidity_percent() + noise.between(-0.3, 0.3);
    (temperature, humidity)
}

/// Temperature in °C and humidity in % in a room whose day begins with each whole of `days`.
pub(super) fn room_air(days: f64, noise: &mut Random) -> (f64, f64) {
    let swing = (days * std::f64::consts::TAU).sin();
    let temperature = 21.0 + 1.8 * swing + noise.between(-0.05, 0.05);
    let humidity = 45.0 - 6.0 * swing + noise.between(-0.3, 0.3);
    (temperature, humidity)
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
