//! Making a hub, and starting one that was not made.

use stencil_server::{Error, Options, Service};
use stencil_store::{Role, TokenKind};

use crate::support::{TestHub, options, prepare, tenant};

#[tokio::test]
async fn a_tenant_is_made_once_and_a_second_one_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!stencil_server::is_initialised(dir.path()));
    let first = prepare(dir.path()).await;
    assert!(stencil_server::is_initialised(dir.path()));
    let again = stencil_server::init(dir.path(), &tenant("acme"), &["localhost"]).await;
    assert!(matches!(again, Err(Error::TenantExists(_))), "{again:?}");
    let error = again.unwrap_err().to_string();
    assert!(error.contains("stencil hub add-token"), "{error}");
    let second = stencil_server::init(dir.path(), &tenant("umbrella"), &["localhost"])
        .await
        .unwrap();
    assert_ne!(first.admin_token.reveal(), second.admin_token.reveal());
    assert_eq!(first.root, second.root);
}

/// What below a folder others than its owner may use.
fn exposed(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // A running hub writes files anew beside the old ones, and puts them in their place.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(path.clone());
        }
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[tokio::test]
async fn the_data_folder_is_its_owners_alone_and_is_made_so_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("hub");
    prepare(&data_dir).await;
    assert_eq!(exposed(&data_dir), Vec::<std::path::PathBuf>::new());
    let running = Service::start(options(&data_dir)).await.unwrap();
    assert_eq!(exposed(&data_dir), Vec::<std::path::PathBuf>::new());
    running.shutdown().await.unwrap();
    let loose = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let layout = stencil_server::Layout::new(&data_dir);
    loose(&layout.store(), 0o644);
    loose(&layout.log(), 0o755);
    loose(&data_dir, 0o755);
    assert_eq!(exposed(&data_dir).len(), 3);
    let running = Service::start(options(&data_dir)).await.unwrap();
    assert_eq!(exposed(&data_dir), Vec::<std::path::PathBuf>::new());
    running.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_is_not_there_is_told_with_what_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let none = stencil_server::has_tenant(dir.path(), &tenant("acme")).await;
    assert!(
        matches!(none, Err(Error::NotInitialised { .. })),
        "{none:?}"
    );
    prepare(dir.path()).await;
    stencil_server::has_tenant(dir.path(), &tenant("acme"))
        .await
        .unwrap();
    let error = stencil_server::has_tenant(dir.path(), &tenant("amce"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("amce") && error.contains("hub init"),
        "{error}"
    );
}

#[tokio::test]
async fn a_directory_that_is_no_hub_is_named_with_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = Service::start(options(dir.path()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("hub init") && error.contains("root.pem"),
        "{error}"
    );
    let error = stencil_server::add_gateway(
        dir.path(),
        &tenant("acme"),
        &crate::support::gateway("gw-1"),
        dir.path(),
    );
    assert!(
        matches!(error, Err(Error::NotInitialised { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options(dir.path());
    options.mqtt.plain = Some(taken.local_addr().unwrap());
    let error = Service::start(options).await.unwrap_err().to_string();
    assert!(
        error.contains("mqtt.plain") && error.contains("in use"),
        "{error}"
    );
}

#[test]
fn options_survive_their_own_text() {
    let text = serde_json::to_string(&Options::default()).unwrap();
    let read: Options = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[tokio::test]
async fn who_has_the_machine_gets_back_in_also_beside_a_running_hub() {
    let dir = tempfile::tempdir().unwrap();
    let none = stencil_server::issue_admin_token(dir.path(), &tenant("acme"), "back", 1).await;
    assert!(
        matches!(none, Err(Error::NotInitialised { .. })),
        "{none:?}"
    );
    let test = TestHub::start().await;
    let unknown =
        stencil_server::issue_admin_token(&test.data_dir(), &tenant("amce"), "back", 1).await;
    assert!(
        matches!(unknown, Err(Error::NoTenant { .. })),
        "{unknown:?}"
    );
    let issued = stencil_server::issue_admin_token(&test.data_dir(), &tenant("acme"), "back", 1)
        .await
        .unwrap();
    let tenancy = &test.hub().store().tenancy;
    let secret = issued.secret.reveal();
    let owner = tenancy.verify_token(secret, 1).await.unwrap().unwrap();
    let end_us = issued.token.expires_us.unwrap();
    assert_eq!(tenancy.verify_token(secret, end_us).await.unwrap(), None);
    assert_eq!(
        (owner.tenant, owner.name.as_str(), owner.kind),
        (tenant("acme"), "back", TokenKind::Api { role: Role::Admin })
    );
}
