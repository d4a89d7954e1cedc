//! The device application on an emulated Cortex-M4, against a real gateway and a real hub: what
//! the sensor is set to is what the hub shows, commands switch the output, nothing is lost, a new
//! image arrives though the power is cut, and a board that crashed tells why.
//!
//! Needs QEMU (`qemu-system-arm`, which `cargo xtask tools` installs) and Rust's target
//! thumbv7em-none-eabihf, for which the image is built first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr, reason = "what failed is shown with its log")]

#[path = "../support/mod.rs"]
mod support;

mod crashes;
#[path = "../../xtask/src/board/elf.rs"]
#[allow(dead_code, reason = "the chores use the others")]
mod elf;
mod gdb;
mod image;
#[path = "../../firmware/boards/mps2-an386/src/layout.rs"]
#[allow(dead_code, reason = "the board uses the others")]
mod layout;
mod machine;
mod qmp;
mod readings;
mod starts;
mod updates;

use std::path::{Path, PathBuf};

use image::Maker;
use machine::Machine;
use serde_json::Value;
use support::{Gateway, Hub, wait_for};

const DEVICE: &str = "m4-01";

/// A hub, a gateway, and a board that is provisioned for it.
struct Bench {
    hub: Hub,
    gateway: Gateway,
    machine: Machine,
    /// Whose images hub, gateway and board take.
    maker: Maker,
    /// How often the board's power was cut.
    cuts: usize,
}

impl Bench {
    /// Starts everything; the board measures this often, and reaches the gateway over TCP.
    fn start(interval_ms: u64, noise: &Path) -> Self {
        let (hub, mut gateway, home, maker) = Self::prepare(interval_ms);
        gateway.start();
        let machine = Machine::start(&home, noise, &machine::Line::Tcp(gateway.address()));
        Self {
            hub,
            gateway,
            machine,
            maker,
            cuts: 0,
        }
    }

    /// As [`Bench::start`] over a serial line.
    fn start_on_serial_line(interval_ms: u64, noise: &Path) -> Self {
        let (hub, mut gateway, home, maker) = Self::prepare(interval_ms);
        let mut machine = Machine::start(&home, noise, &machine::Line::Terminal);
        gateway.set_serial(&machine.line());
        gateway.start();
        Self {
            hub,
            gateway,
            machine,
            maker,
            cuts: 0,
        }
    }

    fn prepare(interval_ms: u64) -> (Hub, Gateway, PathBuf, Maker) {
        let hub = Hub::start(&[]);
        let gateway = Gateway::add(&hub, "gw-1");
        gateway.add_device(DEVICE);
        let home = hub.dir.path().join("board");
        std::fs::create_dir_all(&home).unwrap();
        let key = gateway.folder().join("psk").join(format!("{DEVICE}.psk"));
        let flash = home.join("flash.bin");
        machine::provision(&flash, DEVICE, &key, interval_ms);
        let mut maker = Maker::new();
        machine::install(&flash, &mut maker, 1, machine::TRIAL_SECONDS);
        let mut trust = hub.command(&["image", "trust"]);
        support::succeed(trust.arg(maker.trust()));
        gateway.set_trust(&maker.trust());
        (hub, gateway, home, maker)
    }

    /// Waits until the board's reports of why it started, oldest first, are so many.
    fn wait_for_resets(&self, count: usize) -> Vec<String> {
        let path = format!("/api/v1/devices/{DEVICE}/series/reset?limit=100");
        wait_for(&format!("{count} resets"), || {
            let answer = self.hub.get(&path);
            let page: Value = serde_json::from_str(&answer.body).ok()?;
            let told: Vec<String> = page["items"]
                .as_array()?
                .iter()
                .map(|point| point["value"].as_str().unwrap_or_default().to_owned())
                .collect();
            assert!(told.len() <= count, "{told:?}");
            (told.len() == count).then_some(told)
        })
    }
}
