//! What an operator does by mistake, or after an accident, at the command line.

use serde_json::Value;

use crate::settings::refused;
use crate::support::{Hub, stencil, succeed};

#[test]
fn who_lost_all_tokens_gets_another_beside_the_running_hub() {
    let hub = Hub::start(&[]);
    let add = |tenant: &str| {
        let mut command = stencil();
        command
            .args(["hub", "add-token", "--tenant", tenant, "--data-dir"])
            .arg(hub.data());
        command
    };
    let token = succeed(&mut add("acme"));
    let listed: Value = serde_json::from_str(&succeed(
        hub.command(&["token", "list", "--output", "json"])
            .env("STENCIL_TOKEN", token.trim()),
    ))
    .unwrap();
    let named = |name| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|token| token["name"] == name && token["role"] == "admin")
    };
    assert!(named("first") && named("recovery"), "{listed}");
    let said = refused(&mut add("amce"));
    assert!(said.contains("no tenant amce"), "{said}");
}
