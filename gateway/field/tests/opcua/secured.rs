//! Who the server is, and who we are to it.

use std::os::unix::fs::PermissionsExt as _;

use stencil_field::opcua::make_identity;
use stencil_protocol::line::Line;

use crate::{Read, number, one, peer::OpcUaPeer};

const TEMP: &str = "      temp: { node: \"ns=2;s=temp\" }\n";

/// A secured connection; `more` are further settings.
fn secured(peer: &OpcUaPeer, pinned: &str, more: &str) -> String {
    if !peer.file("opcua.key").exists() {
        make_identity(peer.folder(), "gw-1").unwrap();
    }
    format!(
        "opcua: {{ url: \"{}\", server-certificate: \"{}\", certificate: \"{}\", key: \
         \"{}\"{more} }}",
        peer.url(),
        peer.file(pinned).display(),
        peer.file("opcua.pem").display(),
        peer.file("opcua.key").display()
    )
}

fn secret(peer: &OpcUaPeer, text: &str) -> String {
    let file = peer.file("password");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!(", user: ann, password-file: \"{}\"", file.display())
}

#[tokio::test]
async fn both_policies_and_a_password() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 1.0, "Double");
    let password = secret(&peer, "hunter2 but longer\n");
    for more in [
        String::new(),
        ", security: Aes256Sha256RsaPss".to_owned(),
        password.clone(),
        format!("{password}, security: Aes256_Sha256_RsaPss"),
    ] {
        let connection = secured(&peer, "server.pem", &more);
        let mut read = Read::start(&one(&connection, "", TEMP));
        assert_eq!(read.linked().await, Line::OpcUa, "{more}");
        read.wait("temp", number(1.0)).await;
    }
}

#[tokio::test]
async fn a_session_goes_on_after_a_cut() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 1.0, "Double");
    let connection = secured(&peer, "server.pem", "");
    let mut read = Read::start(&one(&connection, "", TEMP));
    read.wait("temp", number(1.0)).await;
    peer.cut();
    peer.set("temp", 2.0, "Double");
    peer.set("temp", 3.0, "Double");
    read.wait("temp", number(2.0)).await;
    read.wait("temp", number(3.0)).await;
    assert_eq!(peer.count()["created"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn another_server_is_refused() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 1.0, "Double");
    let connection = secured(&peer, "other.pem", "");
    let mut read = Read::start(&one(&connection, "", TEMP));
    read.text("field.status", "another certificate").await;
    drop(read);
    // One that takes the place of the right one later.
    let connection = secured(&peer, "server.pem", "");
    let mut read = Read::start(&one(&connection, "", TEMP));
    read.wait("temp", number(1.0)).await;
    peer.certificate("other.pem");
    peer.restart();
    peer.set("temp", 2.0, "Double");
    let told = read.text("field.status", "another certificate").await;
    assert!(told.contains("SHA-256"), "{told}");
    peer.certificate("server.pem");
    peer.restart();
    peer.set("temp", 3.0, "Double");
    // Nothing of the wrong one was taken.
    assert_eq!(
        read.sample("temp").await.value,
        stencil_protocol::sample::OwnedValue::Number(3.0)
    );
}

#[tokio::test]
async fn wrong_secrets_are_told() {
    let peer = OpcUaPeer::start();
    let wrong = secret(&peer, "hunter3\n");
    let mut read = Read::start(&one(&secured(&peer, "server.pem", &wrong), "", TEMP));
    read.text("field.status", "BadUserAccessDenied").await;
    drop(read);
    let key = peer.file("opcua.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let mut read = Read::start(&one(&secured(&peer, "server.pem", ""), "", TEMP));
    read.text("field.status", "chmod 600").await;
    drop(read);
    // A key of somebody else.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::copy(peer.file("other.key"), &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut read = Read::start(&one(&secured(&peer, "server.pem", ""), "", TEMP));
    read.text("field.status", "is not the key of").await;
}
