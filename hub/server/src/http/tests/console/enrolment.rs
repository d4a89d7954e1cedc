//! The pages for taking devices in.

use serde_json::json;

use super::super::{Served, enrolment, seed};
use super::{hides, page, seen_with, shows};

#[tokio::test]
async fn a_viewer_looks_and_an_admin_acts() {
    let served = Served::start().await;
    let path = format!("/enrolment/{}", seed::freezer());
    let viewer = page(&served, &path).await;
    shows(&viewer, &["It is not registered"]);
    hides(&viewer, &["data-send=\"POST /api/v1/devices/"]);
    shows(&page(&served, "/claim").await, &["you are a viewer"]);
    hides(&page(&served, "/enrolment").await, &["data-upload"]);

    let admin = &served.tokens.admin;
    shows(&seen_with(&served, admin, &path).await, &["/revoke\""]);
    shows(
        &seen_with(&served, admin, "/enrolment").await,
        &["data-upload=\"/api/v1/devices/enrol\""],
    );
    // With no gateway to take by itself, it is asked for.
    let claim = seen_with(&served, &served.tokens.editor, "/claim").await;
    shows(
        &claim,
        &["POST /api/v1/devices/claim", "name=\"gateway\" required"],
    );
}

#[tokio::test]
async fn a_device_shows_how_it_stands_and_what_its_keys_were() {
    let served = Served::start().await;
    let rows = json!([{ "device": "d-1", "gateway": "gw-1", "psk": enrolment::psk_hex() }]);
    let admin = &served.tokens.admin;
    let ask = served.ask("POST", "/api/v1/devices/enrol").bearer(admin);
    ask.json(&rows).send().await.ok();
    let one = seen_with(&served, admin, "/enrolment/d-1").await;
    shows(
        &one,
        &[
            "enrolled",
            "gateway not told yet",
            "Rotate the key",
            "Replace its hardware",
        ],
    );
    let list = page(&served, "/enrolment").await;
    shows(
        &list,
        &[
            "href=\"/enrolment/d-1\"",
            "gw-1",
            "1 to come",
            "not connected yet",
        ],
    );
    // Now there is one gateway, and nothing to ask but the code.
    let claim = seen_with(&served, &served.tokens.editor, "/claim").await;
    hides(&claim, &["name=\"gateway\""]);

    let ask = served
        .ask("POST", "/api/v1/devices/d-1/revoke")
        .bearer(admin);
    ask.send().await.ok();
    let one = seen_with(&served, admin, "/enrolment/d-1").await;
    shows(&one, &["revoked", "Replace its hardware"]);
    hides(&one, &["Rotate the key", "data-told=\"Revoked\""]);
    shows(&page(&served, "/enrolment?state=revoked").await, &["d-1"]);
    let answer = served.get("/enrolment/nobody").bearer(admin).send().await;
    assert_eq!(answer.status, 404);
}
