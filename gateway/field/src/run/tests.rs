use std::{net::TcpListener as StdListener, time::Duration};

use super::*;
use crate::mapping;

fn mapping_at(port: u16, device: &str) -> Mapping {
    mapping::parse(&format!(
        "version: 1\nconnections: {{ c: {{ modbus-tcp: \"127.0.0.1:{port}\" }} }}\ndevices:\n  \
         {device}: {{ connection: c, points: {{ p: {{ coil: 1 }} }} }}\n"
    ))
    .unwrap()
}

fn free_port() -> u16 {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn next(said: &mut mpsc::Receiver<Said>) -> Said {
    let soon = Duration::from_secs(20);
    tokio::time::timeout(soon, said.recv())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_connection_that_is_refused_is_said_of_each_device_and_shown() {
    let (field, mut said) = Field::start(mapping_at(free_port(), "d"));
    let Said::Sample { device, sample, .. } = next(&mut said).await else {
        panic!()
    };
    assert_eq!(
        (device.as_str(), sample.name.as_str()),
        ("d", "field.status")
    );
    let text = format!("{:?}", sample.value);
    assert!(text.contains("connection refused"), "{text}");
    let soon = tokio::time::Instant::now() + Duration::from_secs(20);
    while field.status().first().and_then(|status| status.answers) != Some(false) {
        assert!(tokio::time::Instant::now() < soon, "{:?}", field.status());
        tokio::task::yield_now().await;
    }
    assert_eq!(field.counts().faults.get(), 1);
}

#[tokio::test]
async fn after_a_mapping_was_replaced_only_the_new_one_is_heard() {
    let (field, mut said) = Field::start(mapping_at(free_port(), "old"));
    next(&mut said).await;
    assert!(field.replace(mapping_at(free_port(), "new")).await);
    loop {
        let Said::Sample { device, .. } = next(&mut said).await else {
            continue;
        };
        if device.as_str() == "new" {
            break;
        }
    }
    // To nothing at all.
    assert!(field.replace(Mapping::default()).await);
    assert!(field.replace(mapping_at(free_port(), "again")).await);
}
