//! A second opinion: Python that shares nothing with us, over `dilithium-py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use serde_json::{Value, json};
use stencil_proof::document::{Document, Trusted, check};

/// Runs it over one document.
fn judged(document: &str) -> (bool, String) {
    let (is_good, said) = judged_all(&[document.to_owned()]);
    (is_good, said.concat())
}

/// Runs it over several: whether all are good, and what it says of each.
fn judged_all(documents: &[String]) -> (bool, Vec<String>) {
    let python = std::env::var_os("STENCIL_TEST_PYTHON")
        .expect("STENCIL_TEST_PYTHON is not set; `cargo xtask test` sets it up");
    let dir = tempfile::tempdir().unwrap();
    let files = documents.iter().enumerate().map(|(at, document)| {
        let file = dir.path().join(format!("proof-{at}.json"));
        std::fs::write(&file, document).unwrap();
        file
    });
    let files: Vec<_> = files.collect();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/foreign/proof_of_data.py"
    );
    let output = Command::new(python)
        .arg(script)
        .args(&files)
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<_> = said.lines().map(str::to_owned).collect();
    assert_eq!(said.len(), documents.len(), "{errors}");
    (output.status.success(), said)
}

/// Why `stencil verify` takes no such document.
fn refused(document: &str) -> String {
    match Document::parse(document.as_bytes()) {
        Ok(document) => check(&document, &Trusted::default())
            .unwrap_err()
            .to_string(),
        Err(why) => why.to_string(),
    }
}

#[test]
fn others_verify_our_document_and_refuse_what_we_refuse() {
    let good = include_str!("vectors/sealed.json");
    assert_eq!(judged(good), (true, "verified".to_owned()));
    let document: Value = serde_json::from_str(good).unwrap();
    for (pointer, value, why) in [
        (
            "/reading/value/number",
            "-18.5",
            "the reading is not in the chunk",
        ),
        ("/reading/number", "6", "a proof of another reading"),
        (
            "/reading/device",
            "freezer-01",
            "the reading is not in the chunk",
        ),
        (
            "/reading/salt",
            &"ab".repeat(32),
            "the reading is not in the chunk",
        ),
        ("/format", "stencil-proof-1", "a proof of another format"),
        ("/seal/gateway", "gw-2", "the signature is wrong"),
        ("/seal/number", "4", "the signature is wrong"),
    ] {
        let mut changed = document.clone();
        *changed.pointer_mut(pointer).unwrap() = value.into();
        let verdict = judged(&changed.to_string());
        assert_eq!(verdict, (false, why.to_owned()), "{pointer}");
    }
}

/// Python's `float` and `int` take many texts that lead to the same leaf, and each but one is a figure that nobody
/// has measured.
#[test]
fn others_take_no_text_of_a_value_that_we_refuse() {
    let good: Value = serde_json::from_str(include_str!("vectors/sealed.json")).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let (value, number) = ("/reading/value", "/reading/value/number");
    let no_number = "is no number as proofs have it";
    let no_whole = "is no whole number as proofs have it";
    let mut refused_by_both = Vec::new();
    for same in [
        "-18.750",
        "-18.7500000000000001",
        "-018.75",
        "-1.875e1",
        "-1875e-2",
        " -18.75",
        "-18.75\n",
        "-1_8.75",
        "-١٨.٧٥",
        "−18.75",
        "nan",
        "-inf",
        "-Infinity",
        "1e999",
        "-18.",
        "",
    ] {
        refused_by_both.push((with(number, json!(same)), no_number));
    }
    for (pointer, other, why) in [
        ("/reading/number", json!("05"), no_whole),
        ("/reading/number", json!("+5"), no_whole),
        ("/reading/number", json!(" 5"), no_whole),
        ("/reading/number", json!("٥"), no_whole),
        ("/reading/number", json!(5), "5 is no text"),
        ("/reading/time_us", json!("1_700_000_005_000_000"), no_whole),
        ("/seal/epoch", json!("011"), no_whole),
        ("/seal/number", json!("18446744073709551616"), no_whole),
        ("/chunk/runs/0/count", json!("9"), "is no count"),
        ("/chunk/runs/0/count", json!(9.0), "is no count"),
        (value, json!({ "integer": "-0" }), no_whole),
        (value, json!({ "integer": "9223372036854775808" }), no_whole),
        (
            value,
            json!({ "bool": "true" }),
            "is neither true nor false",
        ),
        (value, json!({ "text": 5 }), "5 is no text"),
        (
            value,
            json!({ "number": "-18.75", "text": "a" }),
            "is no value with its type",
        ),
        (
            value,
            json!({ "float": "-18.75" }),
            "is no value with its type",
        ),
    ] {
        refused_by_both.push((with(pointer, other), why));
    }
    let salt = good["reading"]["salt"].as_str().unwrap();
    let no_hex = "is not hexadecimal in lower case";
    refused_by_both.push((with("/reading/salt", json!(salt.to_uppercase())), no_hex));
    let spaced = format!("{} {}", &salt[..2], &salt[2..]);
    refused_by_both.push((with("/reading/salt", json!(spaced)), no_hex));
    let twice = good.to_string().replacen(
        "\"number\":\"-18.75\"",
        "\"number\":\"-18.75\",\"number\":\"-18.75\"",
        1,
    );
    assert_ne!(twice, good.to_string());
    refused_by_both.push((twice, "a name stands twice"));
    // As they are written, and of another reading.
    let others = [
        "12.248306274414062",
        "13.738327026367188",
        "-18.5",
        "-0.0",
        "2.0",
        "1000000000000000.0",
        "1e+16",
        "1.5e+21",
        "0.00001",
        "1e-6",
        "5e-324",
        "1.7976931348623157e+308",
    ];
    let elsewhere = "the reading is not in the chunk";
    let others = others.map(|other| (with(number, json!(other)), elsewhere));

    let all: Vec<_> = refused_by_both.iter().chain(&others).collect();
    let documents: Vec<_> = all.iter().map(|(document, _)| document.clone()).collect();
    let (_, said) = judged_all(&documents);
    for ((document, why), said) in all.iter().zip(said) {
        assert!(
            said.ends_with(why),
            "{said:?} where {why:?} is right: {document}"
        );
        let ours = refused(document);
        let is_read = *why == elsewhere;
        assert_eq!(
            ours.contains("is not what freezer-02 said"),
            is_read,
            "{ours}: {document}"
        );
    }
}
