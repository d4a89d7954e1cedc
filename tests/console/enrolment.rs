//! Devices are taken in with a browser: one by the code that was scanned before anybody had signed
//! in, one with the keyboard alone, several by a file with bad rows; codes are guessed, and a
//! device is revoked.

use std::fmt::Write as _;

use serde_json::json;
use stencil_crypto::claim::ClaimCode;
use stencil_crypto::{Psk, rng};

use crate::pages::everywhere;
use crate::support::browser::{PHONE, keys};
use crate::support::{Gateway, Hub, born, wait_for};
use crate::{PASSWORD, Visit};

#[test]
fn devices_are_claimed_enrolled_and_revoked() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    wait_for("the gateway's key", || {
        let gateways = hub.items("/api/v1/gateways");
        gateways
            .iter()
            .any(|it| !it["registered_us"].is_null())
            .then_some(())
    });
    let born = born(&hub, &hub.dir.path().join("factory"), 2);
    let visit = Visit::of(&hub);
    scans_a_code_while_signed_out(&visit, &hub, &born[0]);
    claims_with_the_keyboard_alone(&visit, &hub, &born[1]);
    uploads_a_file_with_bad_rows(&visit, &hub);
    revokes_one(&visit, &hub);
    mistypes_and_guesses(&visit);

    let mut faults = everywhere(&visit, "claim", || visit.open("/claim"));
    let device = format!("/enrolment/{}", born[0].0);
    faults.extend(everywhere(&visit, "registration", || visit.open(&device)));
    assert!(faults.is_empty(), "{faults:#?}");
    // What was refused on purpose.
    visit.complains_only_of(&[400, 401, 404, 429]);
    hub.is_sound();
    gateway.is_sound();
}

/// As a phone does: the label's address is opened, and nobody has signed in there.
fn scans_a_code_while_signed_out(visit: &Visit, hub: &Hub, born: &(String, String)) {
    let (identity, code) = born;
    let browser = &visit.browser;
    browser.on_screen(PHONE);
    browser.open(&format!("{}/", visit.origin));
    browser.click("button.menu");
    visit.signs_out();
    browser.open(&format!("{}/claim#{code}", visit.origin));
    browser.wait_for_path("the form", |path| path == "/login?next=%2Fclaim");
    // A slip on the way does not lose it either.
    visit.signs_in("not the password");
    browser.wait_for_text("[role=alert]", "no tenant, user and password");
    visit.signs_in(PASSWORD);
    browser.wait_for_path("the page for claiming", |path| path == "/claim");
    wait_for("the code in its field", || {
        let typed = browser.run("return document.querySelector('#claim-code')?.value");
        (typed == json!(code)).then_some(())
    });
    let left = browser.run("return location.hash");
    assert_eq!(left, "", "the code stays in the history");
    browser.click("#claim button.primary");
    let said = format!("{identity} is yours, at gateway gw-1.");
    browser.wait_for_text("#claimed", &said);
    assert_eq!(registration(hub, identity)["state"], "enrolled");
    // No server was told the code on the way but by the claim itself.
    let asked = browser.requests();
    assert!(
        asked.iter().all(|url| {
            let sent = url.split('#').next().unwrap_or_default();
            !sent.contains(code)
        }),
        "{asked:?}"
    );
    browser.on_screen(crate::support::browser::DESKTOP);
}

fn claims_with_the_keyboard_alone(visit: &Visit, hub: &Hub, born: &(String, String)) {
    let (identity, code) = born;
    let browser = &visit.browser;
    visit.open("/devices");
    browser.tab_to("a[href='/claim']");
    browser.press(keys::ENTER);
    browser.wait_for_path("the page for claiming", |path| path == "/claim");
    browser.tab_to("#claim-code");
    // As people read it out: without hyphens, in small letters.
    browser.press(&code.to_lowercase().replace('-', " "));
    browser.tab_to("#claim summary");
    browser.press(keys::ENTER);
    browser.tab_to("#claim-name");
    browser.press("freezer-07");
    browser.press(keys::ENTER);
    browser.wait_for_text("#claimed", "freezer-07 is yours");
    assert_eq!(registration(hub, "freezer-07")["identity"], json!(identity));
}

fn uploads_a_file_with_bad_rows(visit: &Visit, hub: &Hub) {
    let browser = &visit.browser;
    let mut csv = "device,gateway,psk\n".to_owned();
    let mut row = |device: &str, key: Option<&str>| {
        let psk = Psk::generate(&mut rng::Os);
        let drawn = psk.reveal().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(csv, "{device},gw-1,{}", key.unwrap_or(&drawn)).unwrap();
    };
    row("bulk-1", None);
    row("bad name", None);
    row("bulk-3", Some("abc"));
    row("bulk-4", None);
    let file = hub.dir.path().join("fleet.csv");
    std::fs::write(&file, csv).unwrap();
    let name = file.to_str().unwrap();
    let upload = || {
        visit.open("/enrolment");
        browser.type_into("#upload-file", name);
        browser.click("#upload button");
        browser.find("#uploaded-counts");
    };
    upload();
    browser.wait_for_text("#uploaded-counts", "2 enrolled, 0 unchanged, 2 not taken");
    let rows = browser.run(
        "return [...document.querySelectorAll('#uploaded-rows tr')]
            .map((row) => [...row.cells].map((cell) => cell.innerText))",
    );
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    for (row, cells) in [(0, ["3", "1", "bad name"]), (1, ["4", "3", "bulk-3"])] {
        for (at, cell) in cells.into_iter().enumerate() {
            assert_eq!(rows[row][at], cell, "{rows}");
        }
    }
    let why = rows[1][3].as_str().unwrap();
    assert!(why.starts_with("psk: ") && why.contains("64"), "{why}");
    browser.wait_for_text("#registrations", "bulk-4");
    assert_eq!(registration(hub, "bulk-1")["gateway"], "gw-1");

    // What is in already is left alone, and looks right everywhere.
    let faults = everywhere(visit, "enrolment", upload);
    assert!(faults.is_empty(), "{faults:#?}");
    browser.wait_for_text("#uploaded-counts", "0 enrolled, 2 unchanged, 2 not taken");
}

fn revokes_one(visit: &Visit, hub: &Hub) {
    let browser = &visit.browser;
    visit.open("/enrolment");
    browser.click("a[href='/enrolment/bulk-1']");
    browser.wait_for_text("#registration", "enrolled");
    browser.wait_for_text("#stream", "Live");
    visit.mark();
    browser.click("form[data-send$='/bulk-1/revoke'] button");
    let asked = browser.agree();
    assert!(asked.contains("Revoke bulk-1?"), "{asked}");
    browser.wait_for_text("#registration .badge", "revoked");
    browser.wait_for_text("#keys", "revoked");
    visit.is_the_same();
    assert_eq!(registration(hub, "bulk-1")["state"], "revoked");
    visit.open("/enrolment?state=revoked");
    browser.wait_for_text("#registrations", "bulk-1");
}

fn mistypes_and_guesses(visit: &Visit) {
    let browser = &visit.browser;
    let claim = |code: &str| {
        browser.run("document.querySelector('#claim .problem').hidden = true");
        browser.fill("#claim-code", code);
        browser.click("#claim button.primary");
        let problem = browser.find("#claim .problem");
        browser.text(&problem)
    };
    visit.open("/claim");
    visit.mark();
    let never_born = || ClaimCode::generate(&mut rng::Os).reveal().to_string();
    let mut slip: Vec<char> = never_born().chars().collect();
    slip[7] = if slip[7] == 'A' { 'B' } else { 'A' };
    let said = claim(&slip.into_iter().collect::<String>());
    assert!(said.contains("in group 2"), "{said}");
    for guess in 1..=10 {
        let said = claim(&never_born());
        assert!(
            said.contains("No device waits to be claimed with this code"),
            "guess {guess}: {said}"
        );
    }
    let said = claim(&never_born());
    assert!(
        said.contains("tried in vain too often") && said.contains("try again in 1 s"),
        "{said}"
    );
    visit.is_the_same();
}

fn registration(hub: &Hub, device: &str) -> serde_json::Value {
    hub.ask(&["device", "registration", device])
}
