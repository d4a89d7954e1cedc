//! What stands in the way of a start is said clearly; a start is quick, however full the spool.

use std::time::Instant;

use stencil_gateway::{Error, Service};

use crate::{
    device::Device,
    hub::Hub,
    place::{Gateway, Place},
};

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong_and_where() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    let options = place.options(&hub);

    let mut wrong = options.clone();
    wrong.hub.certificate = place.folder().join("missing.pem");
    let error = Service::start(wrong).await.unwrap_err().to_string();
    assert!(error.contains("missing.pem"), "{error}");

    let device = place.authority.issue_device("acme", "freezer-07").unwrap();
    let mut wrong = options.clone();
    wrong.hub.certificate = place.folder().join("device.pem");
    wrong.hub.key = place.folder().join("device.key");
    device
        .write(&wrong.hub.certificate, &wrong.hub.key)
        .unwrap();
    let error = Service::start(wrong).await.unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error}");
    assert!(
        error.to_string().contains("it is a device's certificate"),
        "{error}"
    );

    let gateway = Gateway::start(options.clone()).await;
    let error = Service::start(options.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("only one process may have it open"),
        "{error}"
    );
    let mut wrong = options.clone();
    wrong.data_dir = place.folder().join("other-data");
    wrong.link.tcp = vec![gateway.link];
    let error = Service::start(wrong).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("link.tcp cannot listen on {}", gateway.link)),
        "{error}"
    );

    let mut wrong = options;
    wrong.hub.address = "hub".into();
    let error = Service::start(wrong).await.unwrap_err().to_string();
    assert!(error.contains("not host:port"), "{error}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_of_another_authority_is_not_trusted() {
    let place = Place::new();
    let elsewhere = Place::new();
    let hub = Hub::started(&elsewhere.authority).await;
    let (id, psk) = place.device("freezer-07");
    let gateway = place.gateway(&hub).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 1).await;
    gateway.until("uplink_failures_total", |n| n >= 2).await;
    assert_eq!(gateway.metric("uplink_connects_total").await, 0);
    assert!(hub.kept().is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_opens_at_once() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    let (id, psk) = place.device("freezer-07");
    let gateway = place.gateway(&hub).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    for n in 0..3_000 {
        device.deliver(1, 1 + n * 70, 70).await;
    }
    let bytes = gateway.metric("spool_waiting_bytes").await;
    assert!(bytes > 1 << 20, "{bytes}");
    gateway.stop().await;
    let before = Instant::now();
    let gateway = place.gateway(&hub).await;
    let took = before.elapsed();
    assert!(took.as_millis() < 1_000, "{took:?}");
    // And the report of the link's end.
    let now = gateway.metric("spool_waiting_bytes").await;
    assert!(
        (bytes + 1..bytes + 200).contains(&now),
        "{now} after {bytes}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_file_in_the_data_folder_is_refused_with_its_path_and_left_alone() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    place.gateway(&hub).await.stop().await;
    let target = place.folder().join("target");
    std::fs::write(&target, "dear").unwrap();
    let data = place.folder().join("data");
    for name in [
        "edge",
        "desired/lock",
        "ends",
        "cursor",
        "age",
        "spool/lock",
        "spool/synced",
        "spool/00000000000000077777.log",
    ] {
        let path = data.join(name);
        let kept = std::fs::read(&path).ok();
        for is in ["a pipe", "a symbolic link"] {
            let _ = std::fs::remove_file(&path);
            if is == "a pipe" {
                let made = std::process::Command::new("mkfifo").arg(&path).status();
                assert!(made.unwrap().success());
            } else {
                std::os::unix::fs::symlink(&target, &path).unwrap();
            }
            let started = crate::soon(Service::start(place.options(&hub))).await;
            let why = started.expect_err(name).to_string();
            let path = path.display().to_string();
            let says = [path.as_str(), is, "move it away"];
            assert!(says.iter().all(|says| why.contains(says)), "{name}: {why}");
        }
        std::fs::remove_file(&path).unwrap();
        if let Some(kept) = kept {
            std::fs::write(&path, kept).unwrap();
        }
    }
    assert_eq!(std::fs::read(&target).unwrap(), b"dear");
    place.gateway(&hub).await.stop().await;
}
