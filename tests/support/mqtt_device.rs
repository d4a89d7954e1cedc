//! An MQTT device by paho-mqtt, in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The device; its process ends with it.
pub(crate) struct MqttDevice {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl MqttDevice {
    /// One that connects over plain TCP, by the version `3.1.1` or `5`.
    pub(crate) fn plain(port: u16, name: &str, password: &str, version: &str) -> Self {
        Self::start(port, name, password, version, None)
    }

    /// One that connects within TLS.
    pub(crate) fn tls(port: u16, name: &str, password: &str, root: &Path) -> Self {
        Self::start(port, name, password, "3.1.1", Some(root))
    }

    fn start(port: u16, name: &str, password: &str, version: &str, root: Option<&Path>) -> Self {
        let mut child = Command::new(super::python())
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/foreign/mqtt_device.py"
            ))
            .args([&port.to_string(), name, password, version])
            .args(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the device starts");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            input,
            output,
        }
    }

    fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.input, "{command}").expect("the device listens");
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the device answers");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Publishes, and does not wait.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8) -> u64 {
        let answer = self.ask(&json!({ "publish": [topic, payload, qos, false] }));
        answer["id"].as_u64().expect("an id")
    }

    /// Publishes a message that is marked as retained.
    pub(crate) fn publish_retained(&mut self, topic: &str, payload: &str) -> u64 {
        let answer = self.ask(&json!({ "publish": [topic, payload, 1, true] }));
        answer["id"].as_u64().expect("an id")
    }

    /// Whether a message is acknowledged within so many seconds.
    pub(crate) fn is_acknowledged(&mut self, id: u64, within: f64) -> bool {
        let answer = self.ask(&json!({ "acknowledged": id, "within": within }));
        answer["acknowledged"] == true
    }

    /// Publishes with QoS 1, and waits for the PUBACK.
    pub(crate) fn say(&mut self, topic: &str, payload: &str) {
        let id = self.publish(topic, payload, 1);
        assert!(
            self.is_acknowledged(id, 30.0),
            "{topic} {payload}: no PUBACK"
        );
    }

    /// Whether it gets connected within so many seconds, and the last reason that it was told.
    pub(crate) fn is_connected(&mut self, within: f64) -> (bool, String) {
        let answer = self.ask(&json!({ "connected": within }));
        let reason = answer["reason"].as_str().unwrap_or_default();
        (answer["connected"] == true, reason.to_owned())
    }

    /// The codes of the SUBACK.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Value {
        self.ask(&json!({ "subscribe": filter }))["codes"].clone()
    }

    /// From now on it connects there.
    pub(crate) fn connect_to(&mut self, port: u16) {
        self.ask(&json!({ "port": port }));
    }

    /// Cuts its connection.
    pub(crate) fn drop_connection(&mut self) {
        self.ask(&json!({ "drop": true }));
    }
}

impl Drop for MqttDevice {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
