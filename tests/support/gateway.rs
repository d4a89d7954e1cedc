//! A gateway process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use serde_json::Value;
use stencil_crypto::Psk;

use super::http;
use super::process::Process;
use super::small_disk::SmallDisk;
use super::{Device, Hub, stencil, succeed, wait_for};

/// A gateway's folder, and its process when it runs.
pub(crate) struct Gateway {
    process: Option<Process>,
    folder: PathBuf,
    disk: Option<SmallDisk>,
}

impl Gateway {
    /// Makes a gateway of the tenant `acme` that listens on free ports; it does not run yet.
    pub(crate) fn add(hub: &Hub, name: &str) -> Self {
        let folder = hub.add_gateway("acme", name);
        let file = folder.join("gateway.toml");
        let mut settings: toml::Table = toml::from_str(&read(&file)).unwrap();
        settings["link"]["tcp"] = vec!["127.0.0.1:0"].into();
        settings["http"]["listen"] = "127.0.0.1:0".into();
        settings["hub"]["max_backoff_ms"] = 500.into();
        std::fs::write(&file, toml::to_string(&settings).unwrap()).unwrap();
        Self {
            process: None,
            folder,
            disk: None,
        }
    }

    /// One whose folder is there already.
    pub(crate) fn over(folder: &Path) -> Self {
        Self {
            process: None,
            folder: folder.to_owned(),
            disk: None,
        }
    }

    /// From its next start on it accepts links at this address.
    pub(crate) fn listen_at(&self, address: SocketAddr) {
        self.change(|settings| settings["link"]["tcp"] = vec![address.to_string()].into());
    }

    /// From its next start on it serves this serial line, and no TCP.
    pub(crate) fn set_serial(&self, path: &Path) {
        let mut line = toml::Table::new();
        line.insert("path".to_owned(), path.display().to_string().into());
        self.change(|settings| {
            let link = settings["link"].as_table_mut().unwrap();
            link.insert("tcp".to_owned(), toml::Value::Array(Vec::new()));
            link.insert("serial".to_owned(), vec![line].into());
        });
    }

    /// From its next start on it takes images that these keys have signed.
    pub(crate) fn set_trust(&self, keys: &Path) {
        self.change(|settings| {
            let mut images = toml::Table::new();
            images.insert("trust".to_owned(), keys.display().to_string().into());
            settings.insert("images".to_owned(), images.into());
        });
    }

    /// From its next start on it reads the field devices of this mapping, which lies in its folder.
    pub(crate) fn set_mapping(&self, yaml: &str) -> PathBuf {
        self.write_mapping(yaml);
        self.change(|settings| {
            let mut field = toml::Table::new();
            field.insert("mapping".to_owned(), "mapping.yaml".into());
            settings.insert("field".to_owned(), field.into());
        });
        self.folder.join("mapping.yaml")
    }

    /// From its next start on it listens for MQTT devices, so protected, on a free port.
    pub(crate) fn listen_for_mqtt(&self, security: &[&str]) {
        self.change(|settings| {
            let listeners: Vec<toml::Value> = security
                .iter()
                .map(|security| {
                    let mut listener = toml::Table::new();
                    listener.insert("listen".to_owned(), "127.0.0.1:0".into());
                    listener.insert("security".to_owned(), (*security).into());
                    listener.into()
                })
                .collect();
            let mqtt = settings["mqtt"].as_table_mut().unwrap();
            mqtt.insert("listeners".to_owned(), listeners.into());
        });
    }

    /// Where MQTT devices connect: that many of the listeners come before it.
    pub(crate) fn mqtt_port(&self, index: usize) -> u16 {
        let address: SocketAddr = self.said()["mqtt"][index]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        address.port()
    }

    /// Makes an MQTT client; gives its password.
    pub(crate) fn add_client(&self, name: &str) -> String {
        let mut command = stencil();
        command
            .args(["gateway", "add-client", name, "--clients"])
            .arg(self.folder.join("mqtt-clients"));
        let said = succeed(&mut command);
        said.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Puts another mapping into the place of the one before.
    pub(crate) fn write_mapping(&self, yaml: &str) {
        std::fs::write(self.folder.join("mapping.yaml"), yaml).unwrap();
    }

    /// SIGHUP: it reads its mapping again.
    pub(crate) fn hang_up(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::HUP);
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = stencil();
        command
            .args(["gateway", "--output", "json", "--config"])
            .arg(self.folder.join("gateway.toml"));
        command
    }

    /// Changes its settings, from its next start on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut toml::Table)) {
        let file = self.folder.join("gateway.toml");
        let mut settings: toml::Table = toml::from_str(&read(&file)).unwrap();
        change(&mut settings);
        std::fs::write(&file, toml::to_string(&settings).unwrap()).unwrap();
    }

    /// Moves its folder; it must not run.
    pub(crate) fn move_to(&mut self, folder: &Path) {
        std::fs::rename(&self.folder, folder).unwrap();
        folder.clone_into(&mut self.folder);
    }

    /// Puts its spool on a disk of so many KiB; false where such a disk can't be had.
    pub(crate) fn on_small_disk(&mut self, kib: u32) -> bool {
        self.disk = SmallDisk::mount(&self.folder.join("data"), kib);
        self.disk.is_some()
    }

    /// The disk that it was put on.
    pub(crate) fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("it is on a small disk")
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Whether it has ended by itself within this time.
    pub(crate) fn ended_within(&mut self, time: std::time::Duration) -> bool {
        self.process
            .as_mut()
            .expect("it was started")
            .ended_within(time)
    }

    /// Starts it with these variables.
    pub(crate) fn start_with(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        if let Some(disk) = &self.disk {
            command = disk.enter(&command);
        }
        self.process = Some(Process::start(
            &mut command,
            &self.folder.join("gateway.log"),
        ));
    }

    /// Bytes that it has read since its start, from whatever file or socket.
    pub(crate) fn bytes_read(&self) -> u64 {
        let pid = self.process.as_ref().expect("it runs").pid();
        let text = read(Path::new(&format!("/proc/{pid}/io")));
        let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        line.expect("rchar").parse().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process.as_mut().expect("it runs").stop()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its spool's segments lie.
    pub(crate) fn spool(&self) -> PathBuf {
        self.folder.join("data/spool")
    }

    /// Makes a device's key.
    pub(crate) fn add_device(&self, device: &str) -> Psk {
        let mut command = stencil();
        command
            .args(["gateway", "add-device", device, "--psk-dir"])
            .arg(self.folder.join("psk"));
        Psk::load(succeed(&mut command).trim()).unwrap()
    }

    /// Links a device.
    pub(crate) fn link(&self, device: &str, psk: &Psk) -> Device {
        Device::link(self.address(), device, psk)
    }

    /// Where devices link.
    pub(crate) fn address(&self) -> SocketAddr {
        self.said()["link"][0].as_str().unwrap().parse().unwrap()
    }

    /// From its next start on it lets holders of rights command its devices, at a free port.
    pub(crate) fn listen_for_holders(&self) {
        self.change(|settings| {
            let mut access = toml::Table::new();
            access.insert("listen".to_owned(), "127.0.0.1:0".into());
            settings.insert("access".to_owned(), access.into());
        });
    }

    /// Where holders of rights ask.
    pub(crate) fn access(&self) -> SocketAddr {
        self.said()["access"].as_str().unwrap().parse().unwrap()
    }

    /// Where its health and metrics are.
    pub(crate) fn http(&self) -> SocketAddr {
        self.said()["http"].as_str().unwrap().parse().unwrap()
    }

    /// A number of its `/metrics`, without the name's prefix.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.port(), "/metrics", None).body;
        let line = format!("stencil_gateway_{name} ");
        let value = text
            .lines()
            .find_map(|metric| metric.strip_prefix(&line)?.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in:\n{text}"))
    }

    /// Waits until a number of its metrics is as it should be.
    pub(crate) fn wait_for_metric(&self, name: &str, is_right: impl Fn(u64) -> bool) {
        wait_for(&format!("the metric {name}"), || {
            is_right(self.metric(name)).then_some(())
        });
    }

    /// Waits until `/readyz` has all these words.
    pub(crate) fn wait_until_it_says(&self, words: &[&str]) -> String {
        wait_for(&format!("/readyz to say {words:?}"), || {
            let body = http::get(self.port(), "/readyz", None).body;
            words.iter().all(|word| body.contains(word)).then_some(body)
        })
    }

    /// Waits for a line of the log that has all these words, and gives it.
    pub(crate) fn wait_for_log(&self, words: &[&str]) -> String {
        self.process.as_ref().expect("it runs").wait_for_log(words)
    }

    /// Nothing has panicked.
    pub(crate) fn is_sound(&self) {
        let log = read(&self.folder.join("gateway.log"));
        assert!(!log.contains("panicked"), "{log}");
    }

    fn said(&self) -> &Value {
        &self.process.as_ref().expect("it runs").said
    }

    fn port(&self) -> u16 {
        let address: SocketAddr = self.said()["http"].as_str().unwrap().parse().unwrap();
        address.port()
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
