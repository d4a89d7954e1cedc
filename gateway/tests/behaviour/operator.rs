//! What an operator's side of the gateway bears: slow clients, and a handle that is let go.

use std::time::{Duration, Instant};

use stencil_gateway::{Error, Service, options::Serial};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    hub::Hub,
    place::{Gateway, Place, get},
    soon,
};

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_of_the_metrics_lose_their_place_and_hold_up_no_stop() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    let mut options = place.options(&hub);
    options.http.max_connections = 2;
    options.http.connection_timeout_ms = 300;
    let gateway = Gateway::start(options).await;
    let mut silent = TcpStream::connect(gateway.http).await.unwrap();
    let mut slow = TcpStream::connect(gateway.http).await.unwrap();
    let dripping = tokio::spawn(async move {
        let mut sent = 0;
        // Never silent for long, and never done.
        while slow.write_all(b"G").await.is_ok() && sent < 3_000 {
            sent += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sent
    });
    assert_eq!(get(gateway.http, "/livez").await.0, 200);
    assert_eq!(soon(silent.read(&mut [0; 8])).await.unwrap_or(0), 0);
    assert!(soon(dripping).await.unwrap() < 3_000);

    let mut half = TcpStream::connect(gateway.http).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    let before = Instant::now();
    gateway.stop().await;
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_answered_while_silent_clients_hold_every_place() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    let mut options = place.options(&hub);
    options.http.max_connections = 2;
    // Longer than the test: only by making way do they go.
    options.http.connection_timeout_ms = 600_000;
    let gateway = Gateway::start(options).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(gateway.http).await.unwrap());
    }
    assert_eq!(get(gateway.http, "/livez").await.0, 200);
    assert_eq!(get(gateway.http, "/livez").await.0, 200);
    drop(silent);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_let_go_ends() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    let mut options = place.options(&hub);
    options.link.serial = vec![Serial {
        path: place.folder().join("no-line"),
        baud: 9_600,
    }];
    let gateway = Gateway::start(options.clone()).await;
    drop(gateway);
    let again = soon(async {
        loop {
            match Service::start(options.clone()).await {
                Ok(running) => return running,
                Err(Error::Spool(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    soon(again.shutdown()).await.unwrap();
}
