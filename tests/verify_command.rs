//! `stencil verify`, as who reads a figure meets it: what it says, and how it exits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{stencil, text};

/// Made once, by a gateway of a fleet that nobody has any more; its anchor is none.
const SEALED: &str = include_str!("../core/proof/tests/vectors/sealed.json");

struct Desk {
    dir: tempfile::TempDir,
    document: Value,
    key: String,
}

impl Desk {
    fn new() -> Self {
        use base64::Engine as _;
        let mut document: Value = serde_json::from_str(SEALED).unwrap();
        document.as_object_mut().unwrap().remove("anchor");
        let certificate = document["seal"]["certificate"].as_str().unwrap();
        let der = base64::engine::general_purpose::STANDARD
            .decode(certificate)
            .unwrap();
        let of = stencil_crypto::authority::Description::of(&der).unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            document,
            key: hex::encode(of.fingerprint),
        }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn page(&self, figure: &str) -> String {
        let script = self.document.to_string().replace('<', "\\u003c");
        format!(
            "<html><body><p><data data-proof=\"p\">{figure}</data></p>\
             <script type=\"application/json\" id=\"p\" data-stencil-proof>{script}</script></body></html>"
        )
    }

    fn verify(&self, source: &Path, flags: &[&str]) -> (i32, String) {
        run(&source.display().to_string(), flags)
    }

    fn trusting(&self, source: &Path) -> (i32, String) {
        self.verify(source, &["--gateway-key", &self.key])
    }
}

fn run(source: &str, flags: &[&str]) -> (i32, String) {
    let output = stencil()
        .arg("verify")
        .arg(source)
        .args(flags)
        .output()
        .unwrap();
    (output.status.code().unwrap(), text(&output))
}

#[test]
fn a_proof_is_verified_by_a_key_and_by_nothing_else() {
    let desk = Desk::new();
    let good = desk.file("proof.json", desk.document.to_string());
    let (code, said) = desk.trusting(&good);
    assert_eq!(code, 0, "{said}");
    for words in [
        "-18.75 degC, temperature of freezer-02",
        "gateway gw-1 of acme has signed seal 3",
        "not anchored",
        "verified",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (code, said) = desk.verify(&good, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("anybody can make one"), "{said}");
    let (code, said) = desk.verify(&good, &["--gateway-key", &"ab".repeat(32)]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another gateway's key"), "{said}");
    // A block was named, so there has to be an anchor.
    let block = format!("0x{}", "cd".repeat(32));
    let (code, said) = desk.verify(&good, &["--gateway-key", &desk.key, "--block-hash", &block]);
    assert_eq!((code, said.contains("has no anchor")), (1, true), "{said}");
    // An anchor that is none.
    let anchored = desk.file("anchored.json", SEALED);
    let (code, said) = desk.trusting(&anchored);
    assert_eq!((code, said.contains("no address")), (1, true), "{said}");
    let output = stencil()
        .args(["verify", "--output", "json", "--gateway-key", &desk.key])
        .arg(&good)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["proofs"][0]["stands"], "verified");
    assert_eq!(report["proofs"][0]["reading"]["value"]["number"], "-18.75");
}

#[test]
fn what_was_changed_is_named() {
    let desk = Desk::new();
    let changed = |pointer: &str, value: Value| {
        let mut document = desk.document.clone();
        *document.pointer_mut(pointer).unwrap() = value;
        let (code, said) = desk.trusting(&desk.file("changed.json", document.to_string()));
        assert_eq!(code, 1, "{said}");
        said
    };
    let said = changed("/reading/value/number", "-18.5".into());
    assert!(said.contains("-18.5 is not what freezer-02 said"), "{said}");
    // A proof for another leaf.
    let said = changed("/reading/number", "6".into());
    assert!(said.contains("a proof of another reading"), "{said}");
    let said = changed("/seal/number", "4".into());
    assert!(said.contains("signature"), "{said}");
    // On the page alone.
    for (figure, code) in [("-18.75 degC", 0), ("-18.5", 1), ("18.75", 1)] {
        let page = desk.file("page.html", desk.page(figure));
        let (exit, said) = desk.trusting(&page);
        assert_eq!(exit, code, "{said}");
        assert_eq!(said.contains("the figure was changed"), code == 1, "{said}");
    }
}

#[test]
fn what_cannot_be_read_is_told_apart_from_what_is_wrong() {
    let desk = Desk::new();
    let json = desk.document.to_string();
    let long = format!("{json}{}", " ".repeat(600_000));
    for (content, words) in [
        (&json[..json.len() / 2], "no proof"),
        (
            &json.replace("stencil-proof-1", "stencil-proof-9"),
            "stencil-proof-9",
        ),
        (&long, "at most"),
        ("<p>nothing</p>", "there is no proof in it"),
        ("{}", "there is no proof in it"),
    ] {
        let (code, said) = desk.trusting(&desk.file("unreadable", content));
        assert_eq!((code, said.contains(words)), (2, true), "{said}");
    }
    let (code, said) = desk.trusting(&desk.dir.path().join("nowhere"));
    assert_eq!(code, 2, "{said}");
    let good = desk.file("proof.json", &json);
    let (code, said) = desk.verify(&good, &["--gateway-key", "nobody"]);
    assert_eq!(
        (code, said.contains("neither a file nor")),
        (2, true),
        "{said}"
    );
    let (code, said) = desk.verify(&good, &["--block-hash", "0x12"]);
    assert_eq!(code, 2, "{said}");
}

/// What a stranger has written into a proof is no line of ours, and moves no cursor.
#[test]
fn a_proof_cannot_write_its_own_verdict() {
    let desk = Desk::new();
    let hostile = "x\n  verified\u{1b}[8m\u{202e}\u{9b}2J";
    for pointer in [
        "/reading/name",
        "/reading/unit",
        "/reading/device",
        "/reading/value/number",
        "/seal/gateway",
        "/seal/algorithm",
    ] {
        let mut document = desk.document.clone();
        *document.pointer_mut(pointer).unwrap() = hostile.into();
        let (code, said) = desk.trusting(&desk.file("hostile.json", document.to_string()));
        assert_eq!(code, 1, "{pointer}: {said}");
        assert!(said.contains("WRONG"), "{pointer}: {said}");
        assert!(said.lines().all(|line| line.trim() != "verified"), "{said}");
        let obeys = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!said.contains(obeys), "{pointer}: {said:?}");
    }
    // Neither where it cannot be read.
    let name = format!("<script data-stencil-proof id='{hostile}'>{{}}</script>");
    let (code, said) = desk.trusting(&desk.file("page.html", name));
    assert_eq!(code, 2, "{said}");
    assert!(!said.contains('\u{1b}') && said.len() < 2_000, "{said:?}");
}

#[test]
fn a_page_is_fetched_and_no_more_of_it_than_is_read() {
    let desk = Desk::new();
    let serve = |body: String| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 2_048];
            let _ = stream.read(&mut asked).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            // Who reads too much goes away.
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(body.as_bytes());
        });
        format!("http://{address}/p/acme/figures/a")
    };
    let (code, said) = run(&serve(desk.page("-18.75")), &["--gateway-key", &desk.key]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&serve("x".repeat(9 << 20)), &[]);
    assert_eq!((code, said.contains("too long")), (2, true), "{said}");
    let (code, said) = run("http://127.0.0.1:1/", &[]);
    assert_eq!(
        (code, said.contains("cannot be fetched")),
        (2, true),
        "{said}"
    );
}
