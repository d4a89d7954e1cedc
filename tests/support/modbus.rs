//! Modbus devices by pymodbus, in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The peer; its process ends with it.
pub(crate) struct ModbusPeer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    first: Value,
}

/// The function that reads a table.
pub(crate) const COILS: u8 = 1;
pub(crate) const DISCRETE: u8 = 2;
pub(crate) const HOLDING: u8 = 3;
pub(crate) const INPUT: u8 = 4;

impl ModbusPeer {
    /// On a free TCP port.
    pub(crate) fn tcp() -> Self {
        Self::start("tcp")
    }

    /// At the other end of a line.
    pub(crate) fn rtu() -> Self {
        Self::start("rtu")
    }

    fn start(kind: &str) -> Self {
        let python = std::env::var_os("STENCIL_TEST_PYTHON")
            .map(PathBuf::from)
            .expect(
                "STENCIL_TEST_PYTHON names a Python with pymodbus; `cargo xtask test` sets it up",
            );
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let script = ["tests", "../../tests"]
            .map(|tests| root.join(tests).join("foreign/modbus_peer.py"))
            .into_iter()
            .find(|script| script.exists())
            .expect("the peer's script");
        let mut child = Command::new(python)
            .arg(script)
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the peer starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut peer = Self {
            child,
            input,
            output,
            first: Value::Null,
        };
        peer.first = peer.line();
        peer
    }

    /// The connection in a mapping.
    pub(crate) fn connection(&self) -> String {
        match (self.first["port"].as_u64(), self.first["path"].as_str()) {
            (Some(port), _) => format!("modbus-tcp: \"127.0.0.1:{port}\""),
            (None, Some(path)) => format!("modbus-rtu: {{ path: {path}, baud: 19200 }}"),
            (None, None) => panic!("{}", self.first),
        }
    }

    /// Port or path.
    pub(crate) fn place(&self) -> String {
        match (self.first["port"].as_u64(), self.first["path"].as_str()) {
            (Some(port), _) => format!("127.0.0.1:{port}"),
            (None, path) => path.expect("a path").to_owned(),
        }
    }

    /// Puts values into registers.
    pub(crate) fn set(&mut self, unit: u8, function: u8, address: u16, values: &[u16]) {
        self.tell(&json!({ "set": [unit, function, address, values] }));
    }

    /// Puts values into coils or discrete inputs.
    pub(crate) fn set_bits(&mut self, unit: u8, function: u8, address: u16, values: &[bool]) {
        self.tell(&json!({ "set": [unit, function, address, values] }));
    }

    /// How a unit behaves from now on.
    pub(crate) fn mode(&mut self, unit: u8, mode: &str, argument: u16) {
        self.tell(&json!({ "mode": [unit, mode, argument] }));
    }

    /// Whether it takes connections; those that there are end when it doesn't.
    pub(crate) fn listen(&mut self, listens: bool) {
        self.tell(&json!({ "listen": listens }));
    }

    /// Bytes that nobody has asked for.
    pub(crate) fn noise(&mut self, hex: &str) {
        self.tell(&json!({ "noise": hex }));
    }

    /// How many requests a unit has had.
    pub(crate) fn requests(&mut self, unit: u8) -> u64 {
        self.tell(&json!({ "requests": unit }))["done"]
            .as_u64()
            .expect("a count")
    }

    fn tell(&mut self, command: &Value) -> Value {
        let input = self.input.as_mut().expect("it runs");
        writeln!(input, "{command}").expect("it reads");
        self.line()
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the peer said {line:?}: {error}"))
    }
}

impl Drop for ModbusPeer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// The two registers of a floating point number, high word first.
pub(crate) fn f32_words(value: f32) -> [u16; 2] {
    let [a, b, c, d] = value.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}
