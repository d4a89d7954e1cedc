//! What strangers hand to `stencil verify`: each seed of the fuzz target, and what chance makes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod holds;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use stencil_proof::document::{Document, Trusted, check};
use stencil_proof::page::{self, MAX_PAGE_BYTES};

/// A proof that a hub gave, of a reading that it had anchored on a dev chain.
const ANCHORED: &[u8] = include_bytes!("../../../../fuzz/seeds/proof/anchored.json");
const SEEDS: [&[u8]; 4] = [
    ANCHORED,
    include_bytes!("../../../../fuzz/seeds/proof/sealed.json"),
    include_bytes!("../../../../fuzz/seeds/proof/page.html"),
    include_bytes!("../../../../fuzz/seeds/proof/entry.json"),
];

#[test]
fn each_seed_is_what_it_was_made_as() {
    for seed in SEEDS {
        holds::of_a_page(seed);
        for found in page::find(seed).unwrap() {
            found.figures_match().unwrap();
            check(&found.document, &Trusted::default()).unwrap();
        }
    }
    let document = Document::parse(ANCHORED).unwrap();
    stencil_anchor::check(document.anchor.as_ref().unwrap()).unwrap();
}

/// Pieces of which each makes a reader look far ahead that looks for its end.
#[test]
fn the_largest_page_is_read_in_one_go() {
    for piece in [
        "<a",
        "<a b",
        "<a b=",
        "<a b='",
        "<a b=\"",
        "<a/",
        "<!--",
        "<!---",
        "<!-- --",
        "</",
        "<script>",
        "<script></scrip",
        "<data data-proof=p>",
        "<data data-proof=p></dat",
        "<",
        "&lt;",
        "{\"a\":",
        "[",
    ] {
        let page = piece.repeat(MAX_PAGE_BYTES / piece.len());
        let began = Instant::now();
        holds::of_a_page(page.as_bytes());
        // Seconds where it takes hours if it is not so.
        assert!(began.elapsed() < Duration::from_secs(30), "{piece}");
    }
}

#[test]
fn what_a_message_repeats_of_a_stranger_is_short() {
    let long = "\u{1b}[2J".repeat(50_000);
    let seed = String::from_utf8(ANCHORED.to_vec()).unwrap();
    let document: serde_json::Value = serde_json::from_str(&seed).unwrap();
    let changed = |pointer: &str| {
        let mut changed = document.clone();
        *changed.pointer_mut(pointer).unwrap() = long.clone().into();
        changed.to_string()
    };
    for pointer in [
        "/format",
        "/reading/device",
        "/reading/name",
        "/reading/unit",
        "/reading/value",
        "/reading/value/number",
        "/reading/number",
        "/reading/salt",
        "/chunk/root",
        "/seal/gateway",
        "/seal/algorithm",
        "/seal/certificate",
        "/anchor/contract",
        "/anchor/header",
    ] {
        holds::of_a_page(changed(pointer).as_bytes());
    }
    let field = seed.replacen(
        "\"format\"",
        &format!("\"{}\": 1, \"format\"", "x".repeat(9_000)),
        1,
    );
    holds::of_a_page(field.as_bytes());
    let script = |id: &str| format!("<script data-stencil-proof id='{id}'>{{}}</script>");
    holds::of_a_page(script(&long).as_bytes());
    holds::of_a_page(format!("<data data-proof='{long}'>1</data>{seed}").as_bytes());
}

/// A seed of which a part was cut out, doubled or replaced.
fn changed() -> impl Strategy<Value = Vec<u8>> {
    let at = || any::<prop::sample::Index>();
    let part = prop::collection::vec(any::<u8>(), 0..12);
    let token = prop::sample::select(vec![
        "0",
        "-1",
        "1e999",
        "18446744073709551616",
        "null",
        "[]",
        "{}",
        "\"\"",
        "<",
        ">",
        "<!--",
        "</script>",
        "&lt;",
        "0x",
        "f",
    ]);
    let part = prop_oneof![part, token.prop_map(|token| token.as_bytes().to_vec())];
    (0..SEEDS.len(), at(), at(), part).prop_map(|(seed, from, length, part)| {
        let mut bytes = SEEDS[seed].to_vec();
        let from = from.index(bytes.len());
        let to = from + length.index((bytes.len() - from).min(40) + 1);
        bytes.splice(from..to, part);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_changed_seed_is_read_or_refused(bytes in changed()) {
        holds::of_a_page(&bytes);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        holds::of_a_page(&bytes);
    }
}
