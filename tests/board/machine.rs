//! The emulated board.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::json;
use stencil_firmware::provision::{MAX_PROVISION_BYTES, Provision};
use stencil_protocol::id::DeviceId;

use crate::image::{Maker, programs};
use crate::layout;
use crate::qmp::Qmp;
use crate::support::wait_for;

/// What the flash has.
const FLASH_BYTES: usize = (layout::BLOCK * layout::BLOCKS) as usize;
/// How long a new image may take to talk to its gateway.
pub(crate) const TRIAL_SECONDS: u32 = 60;
/// The register of the board's LEDs.
const LEDS: u32 = 0x4002_8000;

/// The other end of the board's UART.
pub(crate) enum Line {
    /// A gateway's TCP listener.
    Tcp(SocketAddr),
    /// A pseudo-terminal; [`Machine::line`] says which.
    Terminal,
}

/// A running board; it loses its power when this is dropped.
pub(crate) struct Machine {
    child: Child,
    home: PathBuf,
    noise: PathBuf,
    backend: String,
    /// The emulator's own interface.
    pub(crate) qmp: Qmp,
}

/// Writes a new flash with the device's name, key and settings.
pub(crate) fn provision(flash: &Path, device: &str, key: &Path, interval_ms: u64) {
    let digits = std::fs::read_to_string(key).unwrap();
    let psk: Vec<u8> = hex::decode(digits.trim()).unwrap();
    let mut block = [0; MAX_PROVISION_BYTES];
    let length = Provision {
        device: &DeviceId::parse(device).unwrap(),
        psk: psk[..].try_into().unwrap(),
        sample_interval_us: interval_ms * 1_000,
        batch_delay_us: 100_000,
        resend_us: 0,
        handshake_us: 0,
        keep_alive_us: 0,
    }
    .encode(&mut block)
    .unwrap();
    let mut bytes = vec![0xff; FLASH_BYTES];
    bytes[..length].copy_from_slice(&block[..length]);
    std::fs::write(flash, bytes).unwrap();
}

/// Puts the application, signed by this maker, into slot A, as from the factory.
pub(crate) fn install(flash: &Path, maker: &mut Maker, sequence: u64, trial_seconds: u32) {
    let image = maker.application(sequence);
    let mut bytes = std::fs::read(flash).unwrap();
    bytes[layout::LAYOUT.journal as usize..].fill(0xff);
    let mut put = |at: u32, content: &[u8]| {
        bytes[at as usize..][..content.len()].copy_from_slice(content);
    };
    put(
        layout::IDENTITY_FROM,
        &maker.identity(trial_seconds).encode(),
    );
    put(layout::LAYOUT.slots[0], &image.package);
    std::fs::write(flash, bytes).unwrap();
}

/// The emulator with the board's loader, its flash `flash.bin` in `home`, and this noise source.
pub(crate) fn emulator(home: &Path, noise: &Path) -> Command {
    let flash = home.join("flash.bin");
    let mut command = Command::new("qemu-system-arm");
    command
        .args(["-machine", "mps2-an386", "-cpu", "cortex-m4"])
        .args(["-display", "none", "-monitor", "none", "-nodefaults"])
        .args(["-device", "tmp105,address=0x48,id=sensor"])
        .arg("-semihosting-config")
        .arg(format!(
            "enable=on,target=native,arg=fw,arg=flash={},arg=noise={}",
            flash.display(),
            noise.display()
        ))
        .arg("-kernel")
        .arg(&programs().boot)
        .stdin(Stdio::null());
    command
}

/// Starts a board that is expected to end by itself.
pub(crate) fn until_it_ends(home: &Path, noise: &Path) -> Output {
    let mut child = emulator(home, noise)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("qemu-system-arm starts; `cargo xtask tools` installs it");
    // It may run on if it does not refuse.
    let mut ended = false;
    for _ in 0..200 {
        if child.try_wait().unwrap().is_some() {
            ended = true;
            break;
        }
        #[allow(clippy::disallowed_methods, reason = "another process is watched")]
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    if !ended {
        let _ = child.kill();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended, "the board runs: {output:?}");
    output
}

impl Machine {
    /// Powers the board on.
    pub(crate) fn start(home: &Path, noise: &Path, line: &Line) -> Self {
        let backend = match line {
            Line::Tcp(address) => format!(
                "socket,id=line,host={},port={},reconnect=1",
                address.ip(),
                address.port()
            ),
            Line::Terminal => "pty,id=line".to_owned(),
        };
        let (child, qmp) = power_on(home, noise, &backend);
        Self {
            child,
            home: home.to_owned(),
            noise: noise.to_owned(),
            backend,
            qmp,
        }
    }

    /// The power goes (SIGKILL).
    pub(crate) fn switch_off(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The power comes back.
    pub(crate) fn switch_on(&mut self) {
        (self.child, self.qmp) = power_on(&self.home, &self.noise, &self.backend);
    }

    /// Its flash.
    pub(crate) fn flash(&self) -> PathBuf {
        self.home.join("flash.bin")
    }

    /// What it has said on the host's console since it was made.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.home.join("board.log")).unwrap()
    }

    /// Sets the air around the sensor.
    pub(crate) fn set_temperature(&mut self, degrees: f64) {
        #[allow(clippy::cast_possible_truncation, reason = "a few tens of thousands")]
        let millidegrees = (degrees * 1_000.0).round() as i64;
        let sensor = json!({
            "path": "/machine/peripheral/sensor",
            "property": "temperature",
            "value": millidegrees,
        });
        self.qmp.ask("qom-set", sensor);
    }

    /// Waits until the output is so.
    pub(crate) fn wait_for_led(&mut self, lit: bool) {
        wait_for("the LED", || self.is_lit().eq(&lit).then_some(()));
    }

    /// Whether the output is on.
    pub(crate) fn is_lit(&mut self) -> bool {
        self.qmp.word(LEDS) & 1 == 1
    }

    /// The pseudo-terminal at the other end of the UART.
    pub(crate) fn line(&mut self) -> PathBuf {
        let devices = self.qmp.ask("query-chardev", json!({}));
        let line = devices.as_array().unwrap().iter();
        let names = line.filter_map(|device| device["filename"].as_str());
        let path = names.filter_map(|name| name.strip_prefix("pty:")).next();
        path.expect("a pseudo-terminal").into()
    }

    /// The socket of the debugger's stub.
    pub(crate) fn stub(&self) -> PathBuf {
        stub(&self.home)
    }
}

fn power_on(home: &Path, noise: &Path, backend: &str) -> (Child, Qmp) {
    let socket = home.join("qmp");
    // Of the machine before, which would be taken for this one's.
    let _ = std::fs::remove_file(&socket);
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(home.join("board.log"))
        .unwrap();
    let child = emulator(home, noise)
        .args(["-chardev", backend, "-serial", "chardev:line"])
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .arg("-gdb")
        .arg(format!("unix:{},server=on,wait=off", stub(home).display()))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("qemu-system-arm starts; `cargo xtask tools` installs it");
    (child, Qmp::connect(&socket))
}

fn stub(home: &Path) -> PathBuf {
    home.join("gdb")
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.join("board.log"));
            eprintln!("the board: {}", log.unwrap_or_default());
        }
    }
}
