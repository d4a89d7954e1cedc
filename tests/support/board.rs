//! A device that runs the real firmware application over a real link, whose power a test can cut
//! at any of its steps.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stencil_crypto::Psk;
use stencil_crypto::rng::Os;
use stencil_firmware::actuator::Actuator;
use stencil_firmware::retained::MAX_STATE_BYTES;
use stencil_firmware::sensor::{Error as SensorError, Reading, Sensor};
use stencil_firmware::{App, Board, Clock, Config, LinkState, Parts, Retained, State};
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::Value;

/// Between two looks at the link.
const LOOK: Duration = Duration::from_millis(5);

/// What outlives the device's resets, and what a test holds in hand.
#[derive(Default)]
struct Body {
    retained: Mutex<Vec<u8>>,
    /// How often each command was carried out, by its name and argument.
    done: Mutex<BTreeMap<(String, String), u32>>,
    /// Steps until the power goes; negative: it stays.
    steps_left: AtomicI64,
    /// Nothing that is done now has any effect.
    dark: AtomicBool,
    /// It is to be off.
    unplugged: AtomicBool,
    resets: AtomicI64,
    ended: AtomicBool,
    address: Mutex<Option<SocketAddr>>,
}

impl Body {
    /// One step at which the power may go; false if it is gone.
    fn step(&self) -> bool {
        if self.steps_left.load(Ordering::SeqCst) >= 0
            && self.steps_left.fetch_sub(1, Ordering::SeqCst) == 0
        {
            self.dark.store(true, Ordering::SeqCst);
        }
        !self.dark.load(Ordering::SeqCst)
    }
}

/// The device.
pub(crate) struct BoardDevice {
    body: Arc<Body>,
    thread: Option<JoinHandle<()>>,
}

impl BoardDevice {
    /// Switches it on. It looks for its gateway until it is switched off.
    pub(crate) fn on(device: &str, psk: Psk) -> Self {
        let body = Arc::new(Body::default());
        body.steps_left.store(-1, Ordering::SeqCst);
        let device = DeviceId::parse(device).unwrap();
        let its = Arc::clone(&body);
        let thread = std::thread::spawn(move || live(&its, &device, &psk));
        Self {
            body,
            thread: Some(thread),
        }
    }

    /// Where its gateway is now.
    pub(crate) fn find(&self, gateway: SocketAddr) {
        *self.body.address.lock().unwrap() = Some(gateway);
    }

    /// The power goes at the n-th step from now on, and comes back.
    pub(crate) fn cut_after(&self, steps: i64) {
        self.body.steps_left.store(steps, Ordering::SeqCst);
    }

    /// Switches it off, or on again.
    pub(crate) fn unplug(&self, unplugged: bool) {
        self.body.unplugged.store(unplugged, Ordering::SeqCst);
    }

    /// How often it has started anew.
    pub(crate) fn resets(&self) -> i64 {
        self.body.resets.load(Ordering::SeqCst)
    }

    /// How often commands with this argument were carried out.
    pub(crate) fn did(&self, argument: i64) -> u32 {
        let (done, argument) = (self.done(), argument.to_string());
        let with = done.iter().filter(|((_, with), _)| *with == argument);
        with.map(|(_, times)| times).sum()
    }

    /// How often each command was carried out, by its name and argument.
    pub(crate) fn done(&self) -> BTreeMap<(String, String), u32> {
        self.body.done.lock().unwrap().clone()
    }
}

impl Drop for BoardDevice {
    fn drop(&mut self) {
        self.body.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn live(body: &Arc<Body>, device: &DeviceId, psk: &Psk) {
    while !body.ended.load(Ordering::SeqCst) {
        if body.unplugged.load(Ordering::SeqCst) {
            pause();
            continue;
        }
        body.dark.store(false, Ordering::SeqCst);
        body.resets.fetch_add(1, Ordering::SeqCst);
        boot(body, device, psk);
    }
}

/// One life, until the power goes.
fn boot(body: &Arc<Body>, device: &DeviceId, psk: &Psk) {
    let mut config = Config::new(device.clone(), psk.clone());
    config.resend_us = 500_000;
    config.handshake_us = 2_000_000;
    config.keep_alive_us = 2_000_000;
    let part = || Part(Arc::clone(body));
    let parts = Parts {
        sensor: part(),
        actuator: part(),
        retained: part(),
        clock: Since(Instant::now()),
        rng: Os,
        witness: (),
    };
    let mut app: App<Desk, 16_384> = App::new(config, parts);
    let gone = || {
        body.dark.load(Ordering::SeqCst)
            || body.unplugged.load(Ordering::SeqCst)
            || body.ended.load(Ordering::SeqCst)
    };
    while !gone() {
        if app.poll().link == LinkState::Down {
            let address = *body.address.lock().unwrap();
            let stream = address.and_then(|it| TcpStream::connect(it).ok());
            if let Some(stream) = stream {
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                app.link_up(Wire(stream, Arc::clone(body)));
            }
        }
        pause();
    }
}

// A device lives by the clock.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(LOOK);
}

struct Desk;

impl Board for Desk {
    type Sensor = Part;
    type Actuator = Part;
    type Link = Wire;
    type Retained = Part;
    type Clock = Since;
    type Rng = Os;
    type Witness = ();
}

struct Part(Arc<Body>);

impl Sensor for Part {
    fn measure(&mut self, _: &mut dyn FnMut(Reading<'_>)) -> Result<(), SensorError> {
        Ok(())
    }
}

impl Actuator for Part {
    fn apply(&mut self, name: &str, with: Option<Value<'_>>, _: u64) -> Result<(), &'static str> {
        let argument = match with {
            Some(Value::Integer(argument)) => argument.to_string(),
            Some(Value::Text(argument)) => argument.to_owned(),
            _ => return Ok(()),
        };
        if self.0.step() {
            let command = (name.to_owned(), argument);
            *self.0.done.lock().unwrap().entry(command).or_default() += 1;
        }
        Ok(())
    }
}

impl Retained for Part {
    fn load(&mut self) -> Option<State> {
        State::decode(&self.0.retained.lock().unwrap()).ok()
    }

    fn store(&mut self, state: &State) {
        if self.0.step() {
            let mut bytes = vec![0; MAX_STATE_BYTES];
            let length = state.encode(&mut bytes).unwrap();
            bytes.truncate(length);
            *self.0.retained.lock().unwrap() = bytes;
        }
    }
}

struct Since(Instant);

impl Clock for Since {
    fn monotonic_us(&mut self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// A socket that says nothing more when the power is gone.
struct Wire(TcpStream, Arc<Body>);

#[derive(Debug)]
struct Broken;

impl embedded_io::Error for Broken {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::BrokenPipe
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the link is gone")
    }
}

impl std::error::Error for Broken {}

impl embedded_io::ErrorType for Wire {
    type Error = Broken;
}

impl embedded_io::ReadReady for Wire {
    fn read_ready(&mut self) -> Result<bool, Broken> {
        let mut one = [0];
        match self.0.peek(&mut one) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(Broken),
        }
    }
}

impl embedded_io::Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        self.0.read(out).map_err(|_| Broken)
    }
}

impl embedded_io::WriteReady for Wire {
    fn write_ready(&mut self) -> Result<bool, Broken> {
        Ok(true)
    }
}

impl embedded_io::Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        if !self.1.step() {
            return Err(Broken);
        }
        let mut sent = 0;
        while sent < bytes.len() {
            match self.0.write(&bytes[sent..]) {
                Ok(0) => return Err(Broken),
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause(),
                Err(_) => return Err(Broken),
            }
        }
        Ok(sent)
    }

    fn flush(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}
