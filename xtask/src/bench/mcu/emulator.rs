//! The emulated board and its gateway; both end when they are dropped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::shell;

/// How long the emulator may take to listen, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway without a hub: it keeps what it is told in its spool.
pub(super) struct Gateway {
    child: Child,
    address: SocketAddr,
    key: PathBuf,
    _said: BufReader<ChildStdout>,
}

impl Gateway {
    /// Makes a gateway's folder below `home`, a device's key, and starts the gateway.
    pub(super) fn start(stencil: &Path, home: &Path, device: &str) -> anyhow::Result<Self> {
        let hub = home.join("hub");
        let folder = home.join("gateway");
        let run = |arguments: &[&str], paths: &[(&str, &Path)]| {
            let mut command = Command::new(stencil);
            command.args(arguments).stdout(Stdio::null());
            for (flag, path) in paths {
                command.arg(flag).arg(path);
            }
            shell::run_quietly(&mut command)
        };
        run(
            &["hub", "init", "--tenant", "bench", "--output", "json"],
            &[("--data-dir", &hub)],
        )?;
        // Nobody listens there: the hub is no part of what is measured.
        run(
            &[
                "hub",
                "add-gateway",
                "--tenant",
                "bench",
                "bench",
                "--hub",
                "127.0.0.1:9",
            ],
            &[("--data-dir", &hub), ("--out", &folder)],
        )?;
        let keys = folder.join("psk");
        run(&["gateway", "add-device", device], &[("--psk-dir", &keys)])?;
        let mut child = Command::new(stencil)
            .args(["--log", "error", "gateway", "--output", "json", "--config"])
            .arg(folder.join("gateway.toml"))
            .env("STENCIL_GATEWAY_LINK__TCP", r#"["127.0.0.1:0"]"#)
            .env("STENCIL_GATEWAY_HTTP__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the gateway")?;
        let mut said = BufReader::new(child.stdout.take().context("the gateway's output")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).context("what the gateway said")?;
        let address = told["link"][0].as_str().context("the gateway's address")?;
        Ok(Self {
            address: address.parse()?,
            key: keys.join(format!("{device}.psk")),
            child,
            _said: said,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the device's key.
    pub(super) fn key(&self) -> &Path {
        &self.key
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A board that runs an image, an instruction a nanosecond.
pub(super) struct Emulator {
    child: Child,
    qmp: BufReader<UnixStream>,
    dump: PathBuf,
    log: PathBuf,
}

impl Emulator {
    pub(super) fn start(
        image: &Path,
        home: &Path,
        flash: &Path,
        gateway: SocketAddr,
    ) -> anyhow::Result<Self> {
        let socket = home.join("qmp");
        let log = home.join("board.log");
        let child = Command::new("qemu-system-arm")
            .args([
                "-machine",
                "mps2-an386",
                "-cpu",
                "cortex-m4",
                "-icount",
                "shift=0",
            ])
            .args(["-display", "none", "-monitor", "none", "-nodefaults"])
            .args(["-device", "tmp105,address=0x48"])
            .arg("-semihosting-config")
            .arg(format!(
                "enable=on,target=native,arg=fw,arg=flash={}",
                flash.display()
            ))
            .arg("-chardev")
            .arg(format!(
                "socket,id=line,host={},port={}",
                gateway.ip(),
                gateway.port()
            ))
            .args(["-serial", "chardev:line", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .arg("-kernel")
            .arg(image)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("qemu-system-arm")?;
        let until = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error).context("the emulator does not listen"),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut emulator = Self {
            child,
            qmp: BufReader::new(stream),
            dump: home.join("memory.bin"),
            log,
        };
        emulator.line()?;
        emulator.ask("qmp_capabilities", &json!({}))?;
        Ok(emulator)
    }

    /// Bytes of the machine's memory.
    pub(super) fn memory(&mut self, at: u32, length: u32) -> anyhow::Result<Vec<u8>> {
        let arguments = json!({ "val": at, "size": length, "filename": self.dump });
        self.ask("pmemsave", &arguments)?;
        Ok(std::fs::read(&self.dump)?)
    }

    /// What it said on its standard error.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> anyhow::Result<()> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.qmp.get_mut(), "{request}")?;
        loop {
            let answer = self.line()?;
            if answer.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = answer.get("error") {
                bail!("{command}: {error}");
            }
            // An event.
        }
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        let read = self.qmp.read_line(&mut line)?;
        if read == 0 {
            bail!("the emulator has ended: {}", self.said());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
