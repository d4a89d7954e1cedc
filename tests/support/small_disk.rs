//! A file system with little room, for processes that shall run out of it.
//!
//! It is mounted in a mount namespace of its own, so that nobody else sees it, that nothing stays
//! behind when a test is killed, and that one who may make user namespaces need not be root.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A small file system at a place that only [`SmallDisk::enter`]ed processes see.
pub(crate) struct SmallDisk {
    holder: Child,
    /// When this closes, the holder ends, and with it the file system.
    _until: ChildStdin,
    seen_from_here: PathBuf,
    at: PathBuf,
    user: bool,
}

impl SmallDisk {
    /// Mounts one of so many KiB over the folder `at`; nothing where that cannot be done.
    pub(crate) fn mount(at: &Path, kib: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let user = !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        if user {
            command.arg("--map-root-user");
        }
        let script = format!("mount -t tmpfs -o size={kib}k tmpfs \"$1\" && echo mounted && cat");
        let mut holder = command
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = [0; 8];
        if holder.stdout.take()?.read_exact(&mut said).is_err() {
            let _ = holder.wait();
            eprintln!("left out: no small file system can be mounted here");
            return None;
        }
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let seen_from_here = root.join(at.strip_prefix("/").unwrap());
        Some(Self {
            _until: holder.stdin.take()?,
            holder,
            seen_from_here,
            at: at.to_owned(),
            user,
        })
    }

    /// The same command, on this disk.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if self.user {
            entered.args(["--user", "--preserve-credentials"]);
        }
        entered
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entered.env(name, value),
                None => entered.env_remove(name),
            };
        }
        entered.stdin(Stdio::null());
        entered
    }

    /// The file system's root, as this process sees it.
    pub(crate) fn path(&self) -> &Path {
        &self.seen_from_here
    }

    /// Somebody else's file takes all the room that is left, but for so many KiB.
    pub(crate) fn fill_but(&self, kib: u64) {
        let status = rustix::fs::statvfs(self.path()).unwrap();
        let free = (status.f_bavail * status.f_frsize).saturating_sub(kib * 1024);
        let mut file = std::fs::File::create(self.filler()).unwrap();
        let chunk = [1; 4096];
        for _ in 0..free / 4096 {
            file.write_all(&chunk).unwrap();
        }
    }

    /// Nothing can be written to it any more, or again. Nobody may have a file of it open.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let status = self.remount(read_only).status();
        assert!(status.unwrap().success(), "read_only: {read_only}");
    }

    /// The command that does it, for another thread.
    pub(crate) fn remount(&self, read_only: bool) -> Command {
        let how = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        let mut mount = Command::new("mount");
        mount.args(["-o", how]).arg(&self.at);
        self.enter(&mount)
    }

    /// Puts an empty disk that is read-only over a folder of it, under the feet of who has it open.
    pub(crate) fn cover(&self, folder: &Path) {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "ro", "tmpfs"]).arg(folder);
        assert!(self.enter(&mount).status().unwrap().success());
    }

    /// Takes it away again.
    pub(crate) fn uncover(&self, folder: &Path) {
        let status = self.enter(Command::new("umount").arg(folder)).status();
        assert!(status.unwrap().success());
    }

    /// Somebody else's file goes.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path().join("somebody-else")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
