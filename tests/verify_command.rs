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

/// What nothing that is hashed has in it is not told as verified.
#[test]
fn what_an_anchor_says_beside_its_evidence_is_told_as_not_checked() {
    let desk = Desk::new();
    let anchored: Value =
        serde_json::from_str(include_str!("../fuzz/seeds/proof/anchored.json")).unwrap();
    let certificate = anchored["seal"]["certificate"].as_str().unwrap();
    let der =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, certificate).unwrap();
    let of = stencil_crypto::authority::Description::of(&der).unwrap();
    let key = hex::encode(of.fingerprint);
    let block = anchored["anchor"]["block_hash"].as_str().unwrap();
    let flags = ["--gateway-key", &key, "--block-hash", block];
    let verify =
        |document: &Value| desk.verify(&desk.file("anchored.json", document.to_string()), &flags);
    let (code, said) = verify(&anchored);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("not checked: the anchor's `transaction` and `seals`"),
        "{said}"
    );
    for (field, value) in [
        ("number", 9_999.into()),
        ("end", 9_999.into()),
        ("previous", "ab".repeat(32).into()),
        ("transaction_index", 9_999.into()),
        ("block_number", 9_999.into()),
    ] {
        let mut changed = anchored.clone();
        changed["anchor"][field] = value;
        let (code, said) = verify(&changed);
        assert_eq!(code, 1, "{field}: {said}");
    }
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
    let said = changed("/reading/salt", "ab".repeat(32).into());
    assert!(said.contains("or the salt is another leaf's"), "{said}");
    // A proof for another leaf.
    let said = changed("/reading/number", "6".into());
    assert!(said.contains("a proof of another reading"), "{said}");
    let said = changed("/seal/number", "4".into());
    assert!(said.contains("signature"), "{said}");
    // It rounds to what was measured, and is not what may be printed as verified.
    let said = changed("/reading/value/number", "-18.7500000000000001".into());
    assert!(said.contains("is written \"-18.75\""), "{said}");
    let page = desk.file("page.html", desk.page("-18.7500000000000001"));
    let (exit, said) = desk.trusting(&page);
    assert_eq!((exit, said.contains("was changed")), (1, true), "{said}");
    let fields = format!(
        "{{\"value\":-18.7500000000000001,\"proof\":{}}}",
        desk.document
    );
    let entry = desk.file("entry.json", format!("{{\"fields\":{fields}}}"));
    let (exit, said) = desk.trusting(&entry);
    assert_eq!((exit, said.contains("was changed")), (1, true), "{said}");
    // On the page alone.
    for (figure, code) in [("-18.75 degC", 0), ("-18.5", 1), ("18.75", 1)] {
        let page = desk.file("page.html", desk.page(figure));
        let (exit, said) = desk.trusting(&page);
        assert_eq!(exit, code, "{said}");
        assert_eq!(said.contains("the figure was changed"), code == 1, "{said}");
    }
}

/// Whoever changes a figure knows how the page is checked, too.
#[test]
fn a_figure_that_is_marked_and_not_proven_is_told_by_name() {
    let desk = Desk::new();
    let page = desk.page("-18.75");
    let with = |more: &str| page.replace("</body>", &format!("{more}</body>"));
    let second = "<data data-proof=\"second_proof\">-4.0</data>";
    let many = "<data data-proof=\"p\">-18.75</data> ".repeat(256);
    for (text, words) in [
        (with(second), "marked as proven by \"second_proof\""),
        (with(&many), "more than 256 marked figures"),
        (
            desk.page("-18.75<data></data>00 degF"),
            "holds \"<data>\": it has to be text alone",
        ),
        (
            desk.page("-18.75</datalist>00 (times 1000)"),
            "holds \"</datalist>\"",
        ),
        (
            desk.page("< -4.0 degC, never >-18.75"),
            "it has to be text alone",
        ),
        (
            with("<noscript><b data-proof=p>1</b></noscript>"),
            "is inside of <noscript>",
        ),
        (
            page.replace("<data ", "<data hidden "),
            "an attribute \"hidden\"",
        ),
        (
            page.replace("<p>", "<p hidden>"),
            "is inside of <p hidden>, where it may not be shown",
        ),
        (
            page.replace("<p>", "<details><p>")
                .replace("</p>", "</p></details>"),
            "is inside of <details> that is not open",
        ),
        (
            page.replace("</data>", "</data>9"),
            "put an ordinary space between",
        ),
    ] {
        let path = desk.file("page.html", &text);
        let (code, said) = desk.trusting(&path);
        assert_eq!((code, said.contains("WRONG")), (1, true), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("verified:"), "{said}");
    }
    let path = desk.file("page.html", with(second));
    let output = stencil()
        .args(["verify", "--output", "json", "--gateway-key", &desk.key])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["wrong"].as_str().unwrap().contains("second_proof"));
    // An entry says by a field's name that there is a proof.
    let mut entry = serde_json::json!({ "fields": {
        "value": -18.75, "proof": desk.document, "second": -4.0, "second_proof": null,
    } });
    let (code, said) = desk.trusting(&desk.file("entry.json", entry.to_string()));
    assert_eq!(
        (code, said.contains("\"second_proof\" is null")),
        (1, true),
        "{said}"
    );
    entry["fields"]
        .as_object_mut()
        .unwrap()
        .remove("second_proof");
    let (code, said) = desk.trusting(&desk.file("entry.json", entry.to_string()));
    assert_eq!(code, 0, "{said}");
    // What is proven is what is printed.
    let (code, said) = desk.trusting(&desk.file("page.html", &page));
    assert_eq!(code, 0, "{said}");
    for words in [
        "-18.75 degC, temperature of freezer-02 at 2023-11-14 22:13:25 UTC",
        "not checked: how the page is drawn, and all else on it",
        "compare what is printed here with what you see",
        "verified: the figure that is printed above was measured so",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// What a stranger has written into a proof is no line of ours, and moves no cursor.
#[test]
fn a_proof_writes_no_verdict_of_its_own() {
    let desk = Desk::new();
    let hostile = "x\u{1b}[1A\u{1b}[2K\r9 degC\n  verified\u{1b}]0;pwn\u{7}\u{9b}2J\u{202e}";
    let is_tame = |said: &str| {
        assert!(said.lines().all(|line| line.trim() != "verified"), "{said}");
        let obeys = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!said.contains(obeys), "{said:?}");
    };
    for pointer in [
        "/reading/name",
        "/reading/unit",
        "/reading/device",
        "/reading/value/number",
        "/seal/gateway",
        "/seal/algorithm",
        "/format",
    ] {
        let mut document = desk.document.clone();
        *document.pointer_mut(pointer).unwrap() = hostile.into();
        let (code, said) = desk.trusting(&desk.file("hostile.json", document.to_string()));
        let expected = if pointer == "/format" { 2 } else { 1 };
        assert_eq!(code, expected, "{pointer}: {said}");
        assert!(
            said.contains("\\u{1b}") || pointer == "/seal/gateway",
            "{pointer}: {said}"
        );
        is_tame(&said);
    }
    // Neither as a key, nor in a page.
    let json = desk.document.to_string();
    let key = serde_json::to_string(hostile).unwrap();
    let more = json.replacen('{', &format!("{{{key}:1,"), 1);
    for (text, expected) in [
        (more, 2),
        (
            desk.page("-18.75")
                .replace("id=\"p\"", &format!("id=\"{hostile}\"")),
            1,
        ),
        (desk.page(hostile), 1),
        (desk.page(&format!("<a {hostile}>")), 1),
        (
            desk.page("-18.75")
                .replace("<data ", &format!("<data {hostile} ")),
            1,
        ),
        (format!("<meta charset=\"{hostile}\">"), 2),
        (
            format!("<script data-stencil-proof id='{hostile}'>{{}}</script>"),
            2,
        ),
    ] {
        let (code, said) = desk.trusting(&desk.file("page.html", text));
        assert_eq!(code, expected, "{said}");
        is_tame(&said);
    }
    let (code, said) = run("http://127.0.0.1:1/\u{1b}[2J", &["--rpc", "\u{1b}[2J"]);
    assert_eq!(code, 2, "{said}");
    is_tame(&said);
}

#[test]
fn what_cannot_be_read_is_told_apart_from_what_is_wrong() {
    let desk = Desk::new();
    let json = desk.document.to_string();
    let long = format!("{json}{}", " ".repeat(600_000));
    for (content, words) in [
        (&json[..json.len() / 2], "no proof"),
        (
            &json.replace("stencil-proof-2", "stencil-proof-9"),
            "stencil-proof-9",
        ),
        (
            &json.replace("stencil-proof-2", "stencil-proof-1"),
            "this is stencil-proof-1, from before readings had salts",
        ),
        (&long, "at most"),
        (&format!("{json}\n{json}"), "nothing may follow it"),
        ("<p>nothing</p>", "there is no proof in it"),
        ("{}", "there is no proof in it"),
    ] {
        let (code, said) = desk.trusting(&desk.file("unreadable", content));
        assert_eq!((code, said.contains(words)), (2, true), "{said}");
    }
    let (code, said) = desk.trusting(&desk.dir.path().join("nowhere"));
    assert_eq!(code, 2, "{said}");
    for address in ["ftp://x", "FILE:///x"] {
        let (code, said) = run(address, &[]);
        let words = "only http:// and https:// are fetched";
        assert_eq!((code, said.contains(words)), (2, true), "{said}");
    }
    let good = desk.file("proof.json", &json);
    for address in ["nonsense", "ftp://x", "http://", "ws://127.0.0.1:1"] {
        let (code, said) = desk.verify(&good, &["--rpc", address]);
        assert_eq!(
            (code, said.contains("http://… or https://…")),
            (2, true),
            "{said}"
        );
    }
    let (code, said) = desk.verify(&good, &["--gateway-key", "nobody"]);
    assert_eq!(
        (code, said.contains("neither a file nor")),
        (2, true),
        "{said}"
    );
    let (code, said) = desk.verify(&good, &["--block-hash", "0x12"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn a_page_is_fetched_and_no_more_of_it_than_is_read() {
    let desk = Desk::new();
    let serve_as = |kind: &'static str, body: String| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 2_048];
            let _ = stream.read(&mut asked).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            // Who reads too much goes away.
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(body.as_bytes());
        });
        format!("http://{address}/p/acme/figures/a")
    };
    let serve = |body: String| serve_as("text/html; charset=utf-8", body);
    // A browser would read other characters.
    let other = serve_as("text/html; Charset=\"ISO-2022-JP\"", desk.page("-18.75"));
    let (code, said) = run(&other, &["--gateway-key", &desk.key]);
    assert_eq!((code, said.contains("iso-2022-jp")), (2, true), "{said}");
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
