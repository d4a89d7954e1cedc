//! What strangers may take of a listener: neither the places of others, nor the log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stencil_mqtt::{Options, Qos};
use support::{Client, Mode, Server, connect_v3, connect_v5, packet, publish};
use tokio::net::{TcpSocket, TcpStream};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// As a gateway has them.
fn options() -> Options {
    Options {
        max_connections: 128,
        max_connecting: 64,
        max_connecting_per_address: 32,
        connect_timeout: Duration::from_secs(60),
        ..Options::default()
    }
}

async fn from(last: u8, server: &Server) -> Client<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    let address = Ipv4Addr::new(127, 0, 0, last);
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    Client::new(socket.connect(server.address).await.unwrap())
}

/// Connects, and is let in.
async fn let_in(mut client: Client<TcpStream>, client_id: &str) -> Client<TcpStream> {
    client.send(&connect_v3("a/x", client_id, 2, 60)).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 0]), "{client_id}");
    client
}

#[tokio::test]
async fn silent_connections_of_one_address_keep_nobody_out() {
    let server = Server::with(Mode::Commit, options(), None).await;
    let mut known = let_in(from(2, &server).await, "known").await;
    let mut silent = Vec::new();
    for _ in 0..160 {
        silent.push(from(9, &server).await);
    }
    while server.handle.metrics().accepted < 161 {
        tokio::task::yield_now().await;
    }
    let metrics = server.handle.metrics();
    assert_eq!((metrics.connections, metrics.connecting), (33, 32));
    assert_eq!((metrics.made_way, metrics.over_capacity), (128, 0));
    // From elsewhere, and behind the same address.
    let mut elsewhere = let_in(from(3, &server).await, "elsewhere").await;
    let mut same = let_in(from(9, &server).await, "same").await;
    for client in [&mut known, &mut elsewhere, &mut same] {
        client.quiet().await;
    }
    // The oldest went.
    silent[0].closed().await;
}

#[tokio::test]
async fn silent_connections_of_many_addresses_keep_nobody_out() {
    let server = Server::with(Mode::Commit, options(), None).await;
    let mut silent = Vec::new();
    for n in 0..200_u8 {
        silent.push(from(10 + n, &server).await);
    }
    while server.handle.metrics().accepted < 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.handle.metrics().connecting, 64);
    let_in(from(3, &server).await, "elsewhere")
        .await
        .quiet()
        .await;
    let_in(from(209, &server).await, "same").await.quiet().await;
}

/// What is logged on this thread while it is held.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn new() -> (Self, DefaultGuard) {
        let log = Self::default();
        let to = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || to.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self, level: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains(level));
        lines.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn strangers_write_a_line_each_and_no_more() {
    let (log, _guard) = Log::new();
    let server = Server::with(Mode::Commit, options(), None).await;
    let long = format!("a\u{1b}[31m{}", "x".repeat(2_000));
    for n in 0..300 {
        let mut client = from(5, &server).await;
        let connect = match n % 3 {
            // An id that is too long, no client, and no MQTT.
            0 => connect_v3("a/x", &long, 2, 60),
            1 => connect_v5("stranger", &"y".repeat(120), &[]),
            _ => packet(0x10, &[0xff; 400]),
        };
        client.send(&connect).await;
        while client.try_packet().await.is_some() {}
    }
    let metrics = server.handle.metrics();
    assert_eq!((metrics.refused, metrics.protocol_errors), (200, 100));
    let lines = log.lines("INFO");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for line in &lines {
        assert!(line.len() < 400 && line.contains("127.0.0.5"), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains(&"y".repeat(65)));
    }
    assert!(lines[0].contains("a\\u{1b}[31mxxx"), "{lines:#?}");
    // Another address is news.
    let mut client = from(6, &server).await;
    client.send(&connect_v3("a/x", &long, 2, 60)).await;
    while client.try_packet().await.is_some() {}
    assert_eq!(log.lines("INFO").len(), 4);
}

#[tokio::test]
async fn a_client_that_publishes_what_it_may_not_writes_a_few_lines() {
    let (log, _guard) = Log::new();
    let server = Server::with(Mode::Commit, options(), None).await;
    for _ in 0..100 {
        let mut client = let_in(from(5, &server).await, "client").await;
        client.publish("forbidden/t", b"x").await;
        client.closed().await;
    }
    assert_eq!(server.handle.metrics().publishes_refused, 100);
    let lines = log.lines("INFO");
    let refused = lines.iter().filter(|it| it.contains("PUBLISH refused"));
    assert_eq!(refused.count(), 10, "{lines:#?}");
    assert!(lines.len() <= 20, "{lines:#?}");
}

#[tokio::test]
async fn where_no_retained_messages_are_kept_that_is_no_fault() {
    let (log, _guard) = Log::new();
    let none = Options {
        max_retained: 0,
        ..options()
    };
    let server = Server::with(Mode::Commit, none, None).await;
    let mut client = let_in(from(5, &server).await, "client").await;
    for id in 1..=20 {
        client
            .send(&publish(false, 0x33, "t", Some(id), &[], b"x"))
            .await;
        client.puback(id).await;
    }
    assert_eq!(log.lines("WARN"), Vec::<String>::new());
    assert_eq!(log.lines("no retained messages are kept here").len(), 20);
    assert_eq!(server.handle.metrics().retained_refused, 20);
    // Where they are, a lack of room is.
    let few = Options {
        max_retained: 1,
        ..options()
    };
    let server = Server::with(Mode::Commit, few, None).await;
    for n in 0..20 {
        let topic = format!("t/{n}");
        let _ = server
            .handle
            .publish("a", &topic, "x", Qos::AtMostOnce, true);
    }
    let lines = log.lines("WARN");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("has no room for more"), "{lines:#?}");
    assert_eq!(server.handle.metrics().retained_refused, 19);
}
