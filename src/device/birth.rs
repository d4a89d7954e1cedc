//! `stencil device birth`: what a factory gives a device.

use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use qrcode::{Color, EcLevel, QrCode};
use serde_json::json;
use stencil_crypto::claim::ClaimCode;
use stencil_crypto::seal::{self, Place, PublicKey, Purpose};
use stencil_crypto::{Psk, keyfile, rng};
use stencil_protocol::id::DeviceId;

use crate::output::{self, Format, say};

/// The most devices that are made at once.
const MAX_DEVICES: u32 = 10_000;
/// The most devices whose codes are drawn on the terminal.
const MAX_DRAWN: usize = 3;
/// A public key in hexadecimal digits, with room for white space.
const MAX_KEY_FILE: usize = 4_096;
/// Light modules around a code, as scanners want them.
const QUIET: usize = 4;

/// Which devices to make, and for which hub.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The hub's public key: seal.pub of the folder `keys` in its data folder.
    #[arg(long, value_name = "FILE")]
    hub_key: PathBuf,
    /// The folder to write; there must be none, or an empty one.
    #[arg(long)]
    out: PathBuf,
    /// Where people reach the hub over HTTPS: the codes then open its page for claiming.
    #[arg(long, value_parser = address)]
    url: Option<String>,
    /// Makes so many devices, and numbers them.
    #[arg(long, conflicts_with = "ids", requires = "prefix",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DEVICES)))]
    count: Option<u32>,
    /// What their names begin with; a number from 1 follows.
    #[arg(long)]
    prefix: Option<String>,
    /// The devices' names.
    #[arg(required_unless_present = "count")]
    ids: Vec<String>,
}

/// Runs it.
pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<ExitCode> {
    let ids = names(&args)?;
    let key = crate::bounded::text(&args.hub_key, MAX_KEY_FILE)?;
    let key = PublicKey::from_hex(&key)
        .with_context(|| format!("{} holds no public key of a hub", args.hub_key.display()))?;
    let out = &args.out;
    let is_free = match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    anyhow::ensure!(
        is_free,
        "{} is not empty: births are never written over; name another folder with --out",
        out.display()
    );
    let (psks, labels) = (out.join("psk"), out.join("labels"));
    // Labels show codes, and codes claim devices.
    for folder in [&psks, &labels] {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
    }
    let mut births = "identity,code_sha256,sealed_psk\r\n".to_owned();
    let mut made = Vec::with_capacity(ids.len());
    for id in &ids {
        let (psk, code) = (
            Psk::generate(&mut rng::Os),
            ClaimCode::generate(&mut rng::Os),
        );
        let place = Place {
            device: id.as_str(),
            ..Place::default()
        };
        let sealed = seal::seal_one(&key, Purpose::Birth, place, &psk, &mut rng::Os)?;
        // Writing to a String cannot fail.
        let _ = write!(
            births,
            "{id},{},{}\r\n",
            hex::encode(code.digest()),
            URL_SAFE_NO_PAD.encode(sealed)
        );
        let psk_file = psks.join(format!("{id}.psk"));
        psk.save(&psk_file)?;
        let code = code.reveal();
        let label = labels.join(format!("{id}.svg"));
        let drawn = draw(&target(args.url.as_deref(), &code))?;
        keyfile::write(&label, svg(&drawn, id, &code).as_bytes())?;
        made.push((id, code, psk_file, label, drawn));
    }
    let file = out.join("births.csv");
    keyfile::write(&file, births.as_bytes())?;
    match format {
        Format::Json => {
            let devices: Vec<_> = made
                .iter()
                .map(|(id, code, psk, label, _)| {
                    json!({ "identity": id, "claim_code": **code, "psk": psk, "label": label })
                })
                .collect();
            output::json(&json!({ "births": file, "devices": devices }))?;
        }
        Format::Text => {
            for (id, code, _, _, drawn) in &made {
                if made.len() <= MAX_DRAWN {
                    say!("{}", terminal(drawn));
                }
                say!("{id}  {}", **code);
            }
            say!(
                "keys for the devices: {}; labels: {}; for who runs the hub: {}",
                psks.display(),
                labels.display(),
                file.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(args: &Args) -> anyhow::Result<Vec<DeviceId>> {
    let texts = match (args.count, &args.prefix) {
        (Some(count), Some(prefix)) => {
            let width = count.to_string().len();
            (1..=count)
                .map(|n| format!("{prefix}{n:0width$}"))
                .collect()
        }
        _ => args.ids.clone(),
    };
    let mut ids = Vec::with_capacity(texts.len());
    for text in &texts {
        let id = DeviceId::parse(text)
            .with_context(|| format!("`{}` is no device id", output::escaped(text)))?;
        ids.push(id);
    }
    let mut sorted: Vec<&DeviceId> = ids.iter().collect();
    sorted.sort();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        anyhow::bail!("{} is there twice", twice[0]);
    }
    Ok(ids)
}

/// What the code says: the page for claiming with the code behind its `#`, which no server is sent;
/// or the code alone.
/// An address that a phone may open.
fn address(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| format!("no address: {error}"))?;
    let is_plain = url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        "https" | "http" if url.has_host() && is_plain => Ok(text.to_owned()),
        "https" | "http" => Err("an address without `?` and `#`".to_owned()),
        other => Err(format!("`{other}:` opens no hub; https://HOST does")),
    }
}

fn target(url: Option<&str>, code: &str) -> String {
    match url {
        Some(url) => format!("{}/claim#{code}", url.trim_end_matches('/')),
        None => code.to_owned(),
    }
}

/// The modules of a code, row by row, with the light ones around it.
struct Drawn {
    width: usize,
    dark: Vec<bool>,
}

fn draw(text: &str) -> anyhow::Result<Drawn> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .context("the address is too long for a code")?;
    let inner = code.width();
    let width = inner + 2 * QUIET;
    let mut dark = vec![false; width * width];
    for (at, color) in code.to_colors().into_iter().enumerate() {
        let (x, y) = (at % inner + QUIET, at / inner + QUIET);
        if let Some(module) = dark.get_mut(y * width + x) {
            *module = color == Color::Dark;
        }
    }
    Ok(Drawn { width, dark })
}

impl Drawn {
    fn is_dark(&self, x: usize, y: usize) -> bool {
        self.dark.get(y * self.width + x).copied().unwrap_or(false)
    }
}

/// Two rows of modules a line; light on dark as terminals mostly are, so that dark is left out.
fn terminal(drawn: &Drawn) -> String {
    let mut text = String::new();
    for y in (0..drawn.width).step_by(2) {
        for x in 0..drawn.width {
            let lower = y + 1 < drawn.width && !drawn.is_dark(x, y + 1);
            text.push(match (!drawn.is_dark(x, y), lower) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        text.push('\n');
    }
    text
}

/// A label to print: the code to scan, the name, the code to type.
fn svg(drawn: &Drawn, id: &DeviceId, code: &str) -> String {
    let (width, height) = (drawn.width, drawn.width + 8);
    let mut path = String::new();
    for y in 0..width {
        for x in (0..width).filter(|x| drawn.is_dark(*x, y)) {
            let _ = write!(path, "M{x} {y}h1v1h-1z");
        }
    }
    let middle = width / 2;
    let (name_y, code_y) = (width + 1, width + 5);
    // An id and a code hold no character that means something in XML.
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}mm\" height=\"{height}mm\"><rect width=\"100%\" height=\"100%\" \
         fill=\"#fff\"/><path d=\"{path}\"/><g font-family=\"monospace\" text-anchor=\"middle\" \
         font-size=\"2.6\"><text x=\"{middle}\" y=\"{name_y}\">{id}</text>\
         <text x=\"{middle}\" y=\"{code_y}\">{code}</text></g></svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn args(out: &Path, key: &Path, ids: &[&str]) -> Args {
        Args {
            hub_key: key.to_owned(),
            out: out.to_owned(),
            url: Some("https://hub.example/".to_owned()),
            count: None,
            prefix: None,
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn a_birth_is_sealed_to_its_hub_and_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let (out, key_file) = (dir.path().join("factory"), dir.path().join("seal.pub"));
        let hub = seal::SecretKey::generate(&mut rng::Os);
        std::fs::write(&key_file, hub.public_key().to_hex()).unwrap();
        run(args(&out, &key_file, &["sn-1", "sn-2"]), Format::Json).unwrap();

        let births = std::fs::read_to_string(out.join("births.csv")).unwrap();
        let row: Vec<&str> = births.lines().nth(1).unwrap().split(',').collect();
        let place = Place {
            device: "sn-1",
            ..Place::default()
        };
        let sealed = URL_SAFE_NO_PAD.decode(row[2]).unwrap();
        let psk = hub.open_one(Purpose::Birth, place, &sealed).unwrap();
        assert_eq!(psk, Psk::load(out.join("psk/sn-1.psk")).unwrap());
        let label = std::fs::read_to_string(out.join("labels/sn-1.svg")).unwrap();
        let code = label
            .split("</text>")
            .nth(1)
            .unwrap()
            .rsplit('>')
            .next()
            .unwrap();
        let digest = ClaimCode::parse(code).unwrap().digest();
        assert_eq!(row[1], hex::encode(digest));

        let again = run(args(&out, &key_file, &["sn-3"]), Format::Json).unwrap_err();
        assert!(again.to_string().contains("is not empty"), "{again}");
        let twice = run(args(dir.path(), &key_file, &["a", "a"]), Format::Json).unwrap_err();
        assert!(twice.to_string().contains("a is there twice"), "{twice}");
    }

    #[test]
    fn what_is_scanned_tells_no_server_the_code() {
        assert_eq!(target(None, "AB"), "AB");
        for wrong in [
            "javascript:alert(1)",
            "hub.example",
            "https://hub.example/?a",
            "https://h/#x",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(address("https://hub.example:8443/hub").is_ok());
        let url = target(Some("https://hub.example/"), "AB");
        assert_eq!(url, "https://hub.example/claim#AB");
        let drawn = draw(&url).unwrap();
        assert_eq!(terminal(&drawn).lines().count(), drawn.width.div_ceil(2));
    }
}
