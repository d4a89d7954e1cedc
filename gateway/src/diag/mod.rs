//! One set of files for support: what a gateway is, how it is, and what it has logged; no secrets.

mod redact;
mod secrets;

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use stencil_crypto::{
    authority::{Description, Subject, Validity},
    keyfile,
    tls::Identity,
};
use stencil_protocol::moment;

use crate::{
    Options,
    clock::now_us,
    identity::{self, CURRENT, NEXT},
    logs,
};

use redact::redacted;

pub(crate) use {
    redact::Redactor,
    secrets::{Keepers, Secrets},
};

/// How long the running gateway may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of one of its answers.
const MAX_ANSWER: u64 = 1 << 20;
/// The longest file that is looked into.
const MAX_FILE: u64 = 1 << 20;
/// The most names in a list.
const MAX_NAMES: usize = 10_000;

/// The files, by name. `settings` is the configuration as text. Blocks.
#[must_use]
pub fn collect(options: &Options, settings: &str) -> Vec<(String, Vec<u8>)> {
    let data = &options.data_dir;
    let secrets = Keepers::of(options).secrets();
    let redacted = |text: &str| redacted(text, &secrets);
    let mut files = vec![
        ("version.txt".to_owned(), version()),
        ("settings.toml".to_owned(), redacted(settings)),
        ("certificate.txt".to_owned(), certificate(options)),
        ("keys.txt".to_owned(), keys(options)),
        ("mqtt.txt".to_owned(), crate::mqtt::told(&options.mqtt)),
        ("folder.txt".to_owned(), folder(data)),
        ("system.txt".to_owned(), system(data)),
        ("readyz.txt".to_owned(), ask(options.http.listen, "/readyz")),
        (
            "metrics.txt".to_owned(),
            ask(options.http.listen, "/metrics"),
        ),
        (
            "log.txt".to_owned(),
            redacted(&logs::kept(&data.join("log"))),
        ),
    ];
    if let Some(path) = &options.field.mapping {
        files.push(("mapping.yaml".to_owned(), redacted(&text(path))));
    }
    files.extend(desired(&data.join("desired"), redacted));
    files
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect()
}

fn version() -> String {
    format!("stencil gateway {}\n", env!("CARGO_PKG_VERSION"))
}

/// What the certificate says; the key is not looked at but for whether it fits.
fn certificate(options: &Options) -> String {
    let hub = &options.hub;
    let mut out = format!("{}\n", hub.certificate.display());
    let first = match Identity::load(&hub.certificate, &hub.key) {
        Ok(identity) => identity,
        Err(error) => {
            let _ = writeln!(out, "cannot be used: {error}");
            return out;
        }
    };
    describe(&first, &mut out);
    let (Some(Ok(subject)), Some(Ok(of))) = (
        first.chain().first().map(|der| Subject::of(der)),
        first.chain().first().map(|der| Description::of(der)),
    ) else {
        return out;
    };
    for (name, what) in [(CURRENT, "in its place"), (NEXT, "renewed, not used yet")] {
        let path = identity::path(&options.data_dir, name);
        match identity::successor(&path, &of.fingerprint, &subject) {
            Ok(None) => {}
            Ok(Some(pair)) => {
                let _ = writeln!(out, "{what}: {}", path.display());
                describe(&pair, &mut out);
            }
            Err(error) => {
                let _ = writeln!(out, "{} cannot be used: {error}", path.display());
            }
        }
    }
    out
}

fn describe(identity: &Identity, out: &mut String) {
    for der in identity.chain() {
        // Writing to a String cannot fail.
        let _ = match Subject::of(der) {
            Ok(subject) => writeln!(out, "of {subject}"),
            Err(error) => writeln!(out, "of nobody: {error}"),
        };
        let _ = match Validity::of(der) {
            Ok(validity) => writeln!(
                out,
                "valid from {} to {} UTC",
                utc(validity.not_before_s()),
                utc(validity.not_after_s())
            ),
            Err(error) => writeln!(out, "valid: {error}"),
        };
        if let Ok(of) = Description::of(der) {
            let _ = writeln!(out, "serial number {}", of.serial);
        }
    }
}

fn utc(seconds: u64) -> String {
    let us = i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    moment::utc(us)
}

/// For which devices there are keys here, without them.
fn keys(options: &Options) -> String {
    let mut out = format!("files in {}:\n", options.psk_dir.display());
    let mut names: Vec<String> = fs::read_dir(&options.psk_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .take(MAX_NAMES)
        .collect();
    names.sort();
    for name in names {
        let _ = writeln!(out, "{name}");
    }
    let sealed = fs::metadata(options.data_dir.join("keys.sealed"));
    let _ = match sealed {
        Ok(file) => writeln!(out, "of the hub, sealed: {} bytes", file.len()),
        Err(_) => writeln!(out, "of the hub: none"),
    };
    out
}

/// What lies in the data folder: names and sizes, and how much the spool takes.
fn folder(data: &Path) -> String {
    let mut out = String::new();
    let (mut spool, mut left) = (0, MAX_NAMES);
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        for path in entries {
            let Ok(of) = fs::symlink_metadata(&path) else {
                continue;
            };
            if of.is_dir() {
                folders.push(path);
                continue;
            }
            if path.parent().is_some_and(|it| it == data.join("spool")) {
                spool += of.len();
            }
            if left > 0 {
                left -= 1;
                let shown = path.strip_prefix(data).unwrap_or(&path);
                let _ = writeln!(out, "{:>14} {}", of.len(), shown.display());
            }
        }
    }
    let _ = writeln!(out, "the spool takes {spool} bytes");
    out
}

/// What the machine is like: clock, disk, memory.
fn system(data: &Path) -> String {
    let mut out = format!("clock: {} UTC\n", moment::utc(now_us()));
    let _ = match rustix::fs::statvfs(data) {
        Ok(disk) => writeln!(
            out,
            "disk of the data folder: {} of {} bytes free, {} files can be made",
            disk.f_bavail.saturating_mul(disk.f_frsize),
            disk.f_blocks.saturating_mul(disk.f_frsize),
            disk.f_favail,
        ),
        Err(error) => writeln!(out, "disk of the data folder: {error}"),
    };
    for file in [
        "/proc/version",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/meminfo",
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    ] {
        let _ = writeln!(out, "\n{file}\n{}", text(Path::new(file)).trim_end());
    }
    out
}

/// What was desired from afar: the record, and the texts without what is secret in them.
fn desired(folder: &Path, redacted: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    for path in paths.into_iter().take(64) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = path.extension().unwrap_or_default();
        if kind == "yaml" || kind == "json" {
            files.push((format!("desired/{name}"), redacted(&text(&path))));
        }
    }
    files
}

/// A file's text, or why there is none.
fn text(path: &Path) -> String {
    let read = keyfile::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("{}: {error}\n", path.display()),
    }
}

/// What the running gateway answers, or why it does not.
fn ask(address: SocketAddr, path: &str) -> String {
    let asked = (|| {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    })();
    match asked {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("no gateway answers at {address}: {error}\n"),
    }
}
