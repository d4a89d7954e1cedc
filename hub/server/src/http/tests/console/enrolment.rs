//! The pages for taking devices in.

use serde_json::json;
use stencil_protocol::id::GatewayId;
use stencil_store::{Commit, GatewayHolds};

use super::super::{NOW_US, Served, enrolment, seed};
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
    // With one, there is nothing to ask but the code.
    served.add_gateway(&seed::acme(), "gw-1").await;
    let claim = seen_with(&served, &served.tokens.editor, "/claim").await;
    hides(&claim, &["name=\"gateway\""]);
}

#[tokio::test]
async fn what_may_be_an_intrusion_at_a_gateway_is_shown_for_a_week() {
    let served = Served::start().await;
    served.add_gateway(&seed::acme(), "gw-1").await;
    hides(&page(&served, "/enrolment").await, &["its certificate"]);
    for key in [1, 2] {
        let commit = Commit {
            position: 100 + u64::from(key),
            holds: vec![GatewayHolds {
                tenant: seed::acme(),
                gateway: GatewayId::parse("gw-1").unwrap(),
                epoch: 0,
                revision: 0,
                public_key: Some(vec![key; 8]),
                received_us: NOW_US,
            }],
            ..Commit::default()
        };
        served.store.pipeline.commit(commit).await.unwrap();
    }
    let registry = &served.store.registry;
    let gateway = GatewayId::parse("gw-1").unwrap();
    registry
        .contested(&seed::acme(), &gateway, NOW_US)
        .await
        .unwrap();
    let told = [
        "Gateway gw-1 has come with another key",
        "Two take the place of gateway gw-1",
    ];
    shows(&page(&served, "/enrolment").await, &told);
    let audit = served
        .get("/audit")
        .bearer(&served.tokens.admin)
        .send()
        .await;
    shows(&audit.body, &["gateways.rekey", "gateways.contest"]);
    served.later(8 * 24 * 3_600);
    hides(&page(&served, "/enrolment").await, &told);
}

#[tokio::test]
async fn a_device_shows_how_it_stands_and_what_its_keys_were() {
    let served = Served::start().await;
    for gateway in ["gw-1", "gw-2"] {
        served.add_gateway(&seed::acme(), gateway).await;
    }
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
            "/api/v1/devices/d-1/move",
            "<option value=\"gw-2\">",
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
    let claim = seen_with(&served, &served.tokens.editor, "/claim").await;
    shows(&claim, &["<option value=\"gw-2\">"]);

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
