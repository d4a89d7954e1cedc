//! A second opinion: Python that shares nothing with us, over `dilithium-py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

/// Runs it.
fn judged(document: &str) -> (bool, String) {
    let python = std::env::var_os("STENCIL_TEST_PYTHON")
        .expect("STENCIL_TEST_PYTHON is not set; `cargo xtask test` sets it up");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof.json");
    std::fs::write(&file, document).unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/foreign/proof_of_data.py"
    );
    let output = Command::new(python)
        .arg(script)
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.is_empty(), "{errors}");
    (output.status.success(), said.trim().to_owned())
}

#[test]
fn others_verify_our_document_and_refuse_what_we_refuse() {
    let good = include_str!("vectors/sealed.json");
    assert_eq!(judged(good), (true, "verified".to_owned()));
    let document: serde_json::Value = serde_json::from_str(good).unwrap();
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
