//! The file for support has what support needs, and no secret.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Gateway, Hub, stencil, succeed, wait_for};

const PASSWORD: &str = "hunter2-of-the-plc";
const PEER: &str = "192.0.2.7:40112";
const COMMAND: &str = "5f2c1e0d9b8a776655443322110099885f2c1e0d9b8a77665544332211009988";

#[test]
fn it_tells_what_the_gateway_is_like_and_no_secret() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.add_device("freezer-07");
    gateway.start();

    // Secrets of every kind that a gateway may have.
    let settings = hub.dir.path().join("settings.yaml");
    let psk = std::fs::read_to_string(gateway.folder().join("psk/freezer-07.psk")).unwrap();
    let said = psk.trim();
    let text = format!(
        "# mqtts://operator:{PASSWORD}@broker.example:8883/\n# password: {PASSWORD}\n\
         # it said {said} from {PEER}: the PSK is another one, command {COMMAND}\n\
         log: {{ level: info }}\n"
    );
    std::fs::write(&settings, text).unwrap();
    let mut set = hub.command(&["gateways", "set", "gw-1", "--wait", "60s", "--settings"]);
    succeed(set.arg(&settings));
    let folder = gateway.folder().to_owned();
    wait_for("the log to be on disk", || {
        std::fs::metadata(folder.join("data/log/current.log"))
            .ok()
            .map(drop)
    });
    let key = std::fs::read_to_string(folder.join("gw-1.key")).unwrap();
    let key_lines = key.lines().filter(|line| !line.starts_with("-----"));
    let mut secrets: Vec<String> = key_lines
        .map(|line| line[..line.len().min(32)].to_owned())
        .collect();
    secrets.push(PASSWORD.to_owned());
    secrets.push(psk.trim().to_owned());
    secrets.push(hub.token.clone());

    let out = hub.dir.path().join("diag.tar");
    let mut diag = stencil();
    diag.args(["gateway", "diag", "--config"])
        .arg(folder.join("gateway.toml"))
        .arg("--out")
        .arg(&out)
        .env("STENCIL_GATEWAY_HTTP__LISTEN", gateway.http().to_string());
    succeed(&mut diag);
    let archive = std::fs::read(&out).unwrap();
    for secret in &secrets {
        assert!(secret.len() >= 8, "{secret}");
        let holds = archive
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!holds, "{secret}");
    }
    let text = String::from_utf8_lossy(&archive);
    for part in [
        concat!("stencil gateway ", env!("CARGO_PKG_VERSION")),
        "of stencil:tenant/acme/gateway/gw-1",
        "freezer-07.psk",
        "the spool takes ",
        "stencil_gateway_uplink_connected 1",
        "HTTP/1.1 200 OK",
        "mqtts://***@broker.example:8883/",
        "\"verdict\":\"applied\"",
        "gateway started",
        "clock: ",
        "bytes free",
        "[spool]",
        // What is harmless stays, beside a secret, too.
        &format!("it said *** from {PEER}: the PSK is another one, command {COMMAND}"),
    ] {
        assert!(text.contains(part), "{part}");
    }
    // What is there is not written over.
    assert!(!diag.status().unwrap().success());
}
