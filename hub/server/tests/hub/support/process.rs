//! A hub in a process of its own, so that it can be killed and starved.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use stencil_server::Service;

use super::options;

const DATA: &str = "STENCIL_TEST_DATA";
/// A device of which the process erases all at its start.
const ERASE: &str = "STENCIL_TEST_ERASE";
const READY: &str = "hub listens on ";

/// What runs in the process: this test binary, asked for this test only.
#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Ok(data_dir) = std::env::var(DATA) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut running = Service::start(options(Path::new(&data_dir))).await.unwrap();
        let addresses = running.addresses();
        println!("\n{READY}{} {}", addresses.strict, addresses.http);
        if let Ok(device) = std::env::var(ERASE) {
            let (tenant, device) = (super::tenant("acme"), super::device(&device));
            let erased = running.hub().erase_device(&tenant, &device);
            erased.await.unwrap();
        }
        let error = running.failed().await;
        panic!("{error}");
    });
}

/// A hub process; killed when dropped.
pub(crate) struct HubProcess {
    child: Child,
    /// MQTT over strict TLS.
    pub(crate) strict: SocketAddr,
    /// The HTTP API.
    pub(crate) http: SocketAddr,
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl HubProcess {
    /// Starts one over a directory that was prepared; `crash` is where it dies, if anywhere.
    pub(crate) fn start(data_dir: &Path, crash: &str) -> Self {
        Self::start_with(data_dir, crash, &[])
    }

    /// As [`HubProcess::start`]; it erases a device of the first tenant at once.
    pub(crate) fn start_erasing(data_dir: &Path, crash: &str, device: &str) -> Self {
        Self::start_with(data_dir, crash, &[(ERASE, device)])
    }

    fn start_with(data_dir: &Path, crash: &str, variables: &[(&str, &str)]) -> Self {
        // A file that may not grow is to be an error, as a full disk is, not a signal.
        let mut child = Command::new("/bin/sh")
            .args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "support::process::child",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(DATA, data_dir)
            .env("STENCIL_CRASH", crash)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (strict, http) = lines
            .map_while(Result::ok)
            .find_map(|line| {
                let (strict, http) = line.strip_prefix(READY)?.split_once(' ')?;
                Some((strict.parse().unwrap(), http.parse().unwrap()))
            })
            .expect("the child says where it listens");
        Self {
            child,
            strict,
            http,
        }
    }

    /// Lets no file of it grow beyond so many bytes; `None`: as far as the disk allows.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).unwrap();
    }

    /// Waits for its death by SIGKILL.
    pub(crate) fn died(mut self) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{status}");
    }
}
