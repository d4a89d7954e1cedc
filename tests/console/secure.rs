//! A browser and a hub of which the page is within TLS.

use crate::support::browser::Browser;
use crate::support::{Hub, stencil, succeed};

#[test]
fn a_browser_comes_through_post_quantum_tls() {
    let hub = Hub::start(&["--http-tls"]);
    let browser = Browser::start_trusting_anybody();
    let origin = format!("https://127.0.0.1:{}", hub.port("http"));
    browser.open(&format!("{origin}/login?token={}", hub.token));
    browser.wait_for_path("the overview", |path| path == "/");
    browser.wait_for_text("#side", "X25519MLKEM768");
    browser.wait_for_text("#side .badge.good", "post-quantum");
    browser.wait_for_text("#stream", "Live");
    let cookies = browser.cookies();
    let cookie = cookies
        .iter()
        .find(|one| one["name"] == "__Host-stencil_session")
        .expect("a session");
    assert_eq!(
        (&cookie["secure"], &cookie["httpOnly"]),
        (&true.into(), &true.into()),
        "{cookie}"
    );
    // The command speaks it too, with the root that the hub's folder has.
    let root = hub.data().join("authority").join("root.pem");
    let mut command = stencil();
    command.args([
        "token",
        "list",
        "--hub",
        &origin,
        "--token",
        &hub.token,
        "--hub-root",
    ]);
    assert!(succeed(command.arg(root)).contains("admin"));
}
