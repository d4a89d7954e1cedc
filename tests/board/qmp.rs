//! QEMU's machine protocol: a line of JSON each way.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{LIMIT, wait_for};

/// A connection to an emulator.
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects as soon as the emulator listens.
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = wait_for("the emulator", || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut qmp = Self {
            stream: BufReader::new(stream),
        };
        qmp.line();
        qmp.ask("qmp_capabilities", json!({}));
        qmp
    }

    /// What a command returns.
    pub(crate) fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).unwrap();
        loop {
            let mut answer = self.line();
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            if let Some(returned) = answer.get_mut("return") {
                return returned.take();
            }
            // An event.
        }
    }

    /// A word of the machine's memory or registers.
    pub(crate) fn word(&mut self, address: u32) -> u32 {
        let line = format!("xp /1wx {address:#x}");
        let said = self.ask("human-monitor-command", json!({ "command-line": line }));
        let text = said.as_str().unwrap();
        let digits = text.trim().rsplit("0x").next().unwrap();
        u32::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{text:?}"))
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .expect("the emulator answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}
