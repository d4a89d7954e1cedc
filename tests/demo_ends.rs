//! How the demo ends when something is wrong: nothing of it is left, and it says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{LIMIT, stencil, wait_for};

/// More than an end takes on a slow machine, and far less than the demo's own limits.
const SOON: Duration = Duration::from_secs(15);

/// Plays on addresses of chance, so that tests don't meet at the usual ones.
const ONCE: [&str; 3] = ["--once", "--seconds", "600"];

/// A demo that plays for longer than a test.
struct Demo {
    child: Child,
    lines: Receiver<String>,
}

impl Demo {
    fn start(data: &Path, flags: &[&str]) -> Self {
        let mut child = stencil()
            .args(["demo", "--data-dir"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| to.send(line))
        });
        Self { child, lines }
    }

    fn wait_for_line(&self, words: &str) {
        let mut told = Vec::new();
        while !told
            .last()
            .is_some_and(|line: &String| line.contains(words))
        {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => told.push(line),
                Err(error) => panic!("{error}: no {words:?} in {told:#?}"),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        wait_for("the demo's end", || child.try_wait().unwrap()).code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The demo's parts: processes whose command line names its folder, by their ids.
fn parts(demo: u32, data: &Path) -> Vec<(i32, String)> {
    let data = data.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        // One that has ended meanwhile has no command line.
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains(&data) && u32::try_from(id) != Ok(demo) {
            found.push((id, line.replace('\0', " ")));
        }
    }
    found
}

fn part(parts: &[(i32, String)], settings: &str) -> Pid {
    let (id, _) = parts
        .iter()
        .find(|(_, line)| line.contains(settings))
        .expect("a part of this name");
    Pid::from_raw(*id).unwrap()
}

#[test]
fn its_parts_end_by_themselves_when_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let mut demo = Demo::start(&data, &ONCE);
    demo.wait_for_line("are switched on");
    let id = demo.child.id();
    // The last one may not show its command line yet.
    wait_for("six parts", || (parts(id, &data).len() == 6).then_some(()));
    demo.signal(Signal::KILL);
    demo.code();
    let killed = Instant::now();
    wait_for("the end of all parts", || {
        parts(id, &data).is_empty().then_some(())
    });
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
}

#[test]
fn a_second_ctrl_c_ends_it_at_once_even_when_the_hub_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let mut demo = Demo::start(&data, &[]);
    demo.wait_for_line("linked");
    let id = demo.child.id();
    kill_process(part(&parts(id, &data), "/hub.toml"), Signal::STOP).unwrap();
    let begun = Instant::now();
    demo.signal(Signal::INT);
    demo.wait_for_line("a second Ctrl-C kills");
    // One that follows too closely counts as the first.
    let status = wait_for("the demo's end", || {
        demo.signal(Signal::INT);
        demo.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(130));
    wait_for("the end of all parts", || {
        parts(id, &data).is_empty().then_some(())
    });
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_hub_that_can_not_start_is_told_of_with_its_whole_error() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let mut demo = Demo::start(&data, &ONCE);
    demo.wait_for_line("the hub is up");
    demo.signal(Signal::INT);
    assert_eq!(demo.code(), Some(2), "stopped before the end");
    let key = data.join("hub/server/server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let begun = Instant::now();
    let again = stencil()
        .args(["demo", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    let said = support::text(&again);
    assert!(begun.elapsed() < SOON, "{:?}: {said}", begun.elapsed());
    assert_eq!(again.status.code(), Some(2), "{said}");
    assert!(
        said.contains("hub ended before it was ready") && said.contains("server.key"),
        "{said}"
    );
}

#[test]
fn a_part_that_ends_again_and_again_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let mut demo = Demo::start(&data, &ONCE);
    demo.wait_for_line("linked");
    fs::write(data.join("receiver.toml"), "nonsense = 1\n").unwrap();
    let receiver = part(&parts(demo.child.id(), &data), "/receiver.toml");
    kill_process(receiver, Signal::KILL).unwrap();
    demo.wait_for_line("receiver ended (exit code 2)");
    demo.wait_for_line("a part ends again and again");
    demo.wait_for_line("stencil: receiver ended 6 times");
    assert_eq!(demo.code(), Some(2));
}
