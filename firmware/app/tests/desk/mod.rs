//! A device on a desk: the application with parts that a test holds in hand.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use stencil_crypto::Psk;
use stencil_firmware::actuator::Actuator;
use stencil_firmware::sensor::{Error as SensorError, Reading, Sensor, Taken};
use stencil_firmware::{
    App, Board, Clock, Config, Parts, Poll, Retained, Slots, Stamp, State, Witness,
};
use stencil_protocol::command::{Command, State as CommandState};
use stencil_protocol::id::{Boot, CommandId, DeviceId, Seq};
use stencil_protocol::sample::Value;

use crate::peer::{Dice, Peer};

pub const DEVICE: &str = "freezer-07";
/// Where the gateway's clock stands when the device's first boot begins.
pub const EPOCH_US: i64 = 1_700_000_000_000_000;

pub fn psk() -> Psk {
    Psk::from_bytes(*b"0123456789abcdef0123456789abcdef").unwrap()
}

/// Bytes in both directions, and whether the other end is gone.
#[derive(Default)]
pub struct Pipe {
    pub up: VecDeque<u8>,
    pub down: VecDeque<u8>,
    pub closed: bool,
    /// How many bytes the link takes before it stalls.
    pub room: Option<usize>,
}

#[derive(Clone, Default)]
pub struct Wire(pub Rc<RefCell<Pipe>>);

impl ErrorType for Wire {
    type Error = Infallible;
}
impl ReadReady for Wire {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        let pipe = self.0.borrow();
        Ok(pipe.closed || !pipe.down.is_empty())
    }
}
impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let mut pipe = self.0.borrow_mut();
        let count = out.len().min(pipe.down.len());
        out.iter_mut()
            .zip(pipe.down.drain(..count))
            .for_each(|(to, from)| *to = from);
        Ok(count)
    }
}
impl WriteReady for Wire {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.borrow().room != Some(0))
    }
}
impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let mut pipe = self.0.borrow_mut();
        let count = bytes.len().min(pipe.room.unwrap_or(usize::MAX));
        pipe.up.extend(&bytes[..count]);
        if let Some(room) = &mut pipe.room {
            *room -= count;
        }
        Ok(count)
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What a test sees of a device, across its resets.
#[derive(Default)]
pub struct Seen {
    /// Each number that was given, with its value and stamp.
    pub given: Vec<(Boot, Seq, f64, Stamp)>,
    pub executed: Vec<(CommandId, String)>,
    pub acknowledged: Vec<(Boot, Seq)>,
    pub offset_us: Option<i64>,
    /// What is in retained memory, as bytes.
    pub retained: Vec<u8>,
    pub stores: u32,
    pub clock_us: u64,
    /// When each measurement began, by the counter.
    pub measured_us: Vec<u64>,
    pub next_value: f64,
    pub values_per_measure: u32,
}

#[derive(Clone)]
pub struct Hands(pub Rc<RefCell<Seen>>);

impl Sensor for Hands {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), SensorError> {
        let count = self.0.borrow().values_per_measure;
        let now_us = self.0.borrow().clock_us;
        self.0.borrow_mut().measured_us.push(now_us);
        for _ in 0..count {
            let value = {
                let mut seen = self.0.borrow_mut();
                seen.next_value += 1.0;
                seen.next_value
            };
            out(Reading {
                name: "temperature",
                value: Value::Number(value),
                unit: Some("degC"),
                taken: Taken::Now,
            });
        }
        Ok(())
    }
}
impl Actuator for Hands {
    fn apply(&mut self, name: &str, _: Option<Value<'_>>, _: u64) -> Result<(), &'static str> {
        if name == "jam" {
            Err("the bolt is jammed")
        } else {
            Ok(())
        }
    }
}
impl Retained for Hands {
    fn load(&mut self) -> Option<State> {
        State::decode(&self.0.borrow().retained).ok()
    }
    fn store(&mut self, state: &State) {
        let mut bytes = [0; stencil_firmware::retained::MAX_STATE_BYTES];
        let length = state.encode(&mut bytes).unwrap();
        let mut seen = self.0.borrow_mut();
        seen.retained = bytes[..length].to_vec();
        seen.stores += 1;
    }
}
impl Clock for Hands {
    fn monotonic_us(&mut self) -> u64 {
        self.0.borrow().clock_us
    }
}
impl Witness for Hands {
    fn given(&mut self, boot: Boot, seq: Seq, reading: &Reading<'_>, stamp: Stamp) {
        let Value::Number(value) = reading.value else {
            panic!("a number")
        };
        self.0.borrow_mut().given.push((boot, seq, value, stamp));
    }
    fn time_known(&mut self, _: Boot, offset_us: i64) {
        self.0.borrow_mut().offset_us = Some(offset_us);
    }
    fn executed(&mut self, _: Boot, command: &Command<'_>, _: CommandState, _: i64) {
        self.0
            .borrow_mut()
            .executed
            .push((command.id, command.name.to_owned()));
    }
    fn acknowledged(&mut self, boot: Boot, through: Seq) {
        self.0.borrow_mut().acknowledged.push((boot, through));
    }
}

pub struct DeskBoard;
impl Board for DeskBoard {
    type Sensor = Hands;
    type Actuator = Hands;
    type Link = Wire;
    type Retained = Hands;
    type Clock = Hands;
    type Rng = Dice;
    type Witness = Hands;
}

/// The device, its link, and the gateway at the other end.
pub struct Desk<const BUFFER: usize, U: Slots = ()> {
    pub app: App<DeskBoard, BUFFER, U>,
    pub seen: Rc<RefCell<Seen>>,
    pub wire: Wire,
    pub peer: Peer,
    pub config: Config,
    /// Bytes to the gateway get lost.
    pub up_lost: bool,
    /// Bytes to the device get lost.
    pub down_lost: bool,
    /// The time on the wall since the first boot.
    pub wall_us: i64,
    /// Whether the power has gone in this poll: nothing of it is heard then.
    pub dark: Option<Box<dyn Fn() -> bool>>,
    boots: u64,
}

pub fn config() -> Config {
    let mut config = Config::new(DeviceId::parse(DEVICE).unwrap(), psk());
    config.sample_interval_us = 100_000;
    config.batch_delay_us = 50_000;
    config.resend_us = 400_000;
    config.handshake_us = 1_000_000;
    config.keep_alive_us = 5_000_000;
    config
}

impl<const BUFFER: usize> Desk<BUFFER> {
    pub fn new(config: Config) -> Self {
        Self::with_slots(config, ())
    }

    /// RAM is lost, retained memory stays; the counter starts anew.
    pub fn reboot(&mut self) {
        self.reboot_with(());
    }

    /// A reset in which retained memory is lost too.
    pub fn lose_memory(&mut self) {
        self.seen.borrow_mut().retained.clear();
        self.reboot();
    }
}

impl<const BUFFER: usize, U: Slots> Desk<BUFFER, U> {
    pub fn with_slots(config: Config, slots: U) -> Self {
        let seen = Rc::new(RefCell::new(Seen {
            values_per_measure: 1,
            ..Seen::default()
        }));
        let app = start(&config, &seen, 0, slots);
        let mut desk = Self {
            app,
            seen,
            wire: Wire::default(),
            peer: Peer::new(psk(), 99),
            config,
            up_lost: false,
            down_lost: false,
            wall_us: 0,
            dark: None,
            boots: 0,
        };
        desk.connect();
        desk
    }

    /// A new byte link, as after a reconnect.
    pub fn connect(&mut self) {
        self.wire = Wire::default();
        self.peer.forget();
        self.app.link_up(self.wire.clone());
    }

    /// As `reboot`, with the slots as the loader leaves them.
    pub fn reboot_with(&mut self, slots: U) {
        self.boots += 1;
        self.seen.borrow_mut().clock_us = 0;
        self.app = start(&self.config, &self.seen, self.boots, slots);
        self.connect();
    }

    /// Lets time pass in steps of 10 ms, both ends working.
    pub fn run_ms(&mut self, ms: u64) -> Poll {
        let mut poll = self.step();
        for _ in 0..ms / 10 {
            self.seen.borrow_mut().clock_us += 10_000;
            self.wall_us += 10_000;
            poll = self.step();
        }
        poll
    }

    /// One poll of the device, then one look of the gateway.
    pub fn step(&mut self) -> Poll {
        self.peer.now_us = EPOCH_US + self.wall_us;
        let poll = self.app.poll();
        let mut up: Vec<u8> = self.wire.0.borrow_mut().up.drain(..).collect();
        if self.dark.as_ref().is_some_and(|dark| dark()) {
            up.clear();
        }
        if !self.up_lost {
            self.peer.feed(&up);
        }
        let down = self.peer.take_out();
        if !self.down_lost {
            self.wire.0.borrow_mut().down.extend(down);
        }
        if poll.link == stencil_firmware::LinkState::Down {
            self.connect();
        }
        poll
    }
}

fn start<const BUFFER: usize, U: Slots>(
    config: &Config,
    seen: &Rc<RefCell<Seen>>,
    boot: u64,
    slots: U,
) -> App<DeskBoard, BUFFER, U> {
    let hands = || Hands(Rc::clone(seen));
    let parts = Parts {
        sensor: hands(),
        actuator: hands(),
        retained: hands(),
        clock: hands(),
        rng: Dice(1_000 + boot),
        witness: hands(),
    };
    App::with_slots(config.clone(), parts, slots)
}
