//! A server that is killed between commit and PUBACK has kept everything that
//! it acknowledged, and what it had not yet acknowledged too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use stencil_mqtt::{Endpoint, Options, Publish, Sink, SinkError, Source};
use support::{Client, TestPolicy, Who, connect_v3};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const FILE: &str = "STENCIL_MQTT_TEST_FILE";

/// Keeps payloads as lines in a file.
struct FileSink {
    file: Mutex<File>,
    committed: watch::Sender<u64>,
}

impl Sink<Who> for FileSink {
    fn append(&self, _: &Source<Who>, batch: &[Publish<'_>]) -> Result<u64, SinkError> {
        let mut file = self.file.lock().unwrap();
        for publish in batch {
            file.write_all(publish.payload).unwrap();
            file.write_all(b"\n").unwrap();
        }
        file.sync_data().unwrap();
        let position = *self.committed.borrow() + batch.len() as u64;
        self.committed.send_replace(position);
        Ok(position)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}

/// Not a test of its own: the server process of the test below.
#[tokio::test]
async fn server_process() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let sink = FileSink {
        file: Mutex::new(file.unwrap()),
        committed: watch::Sender::new(0),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("port {}", listener.local_addr().unwrap().port());
    let (_stop, shutdown) = watch::channel(false);
    Endpoint::new(Options::default(), Arc::new(TestPolicy), Arc::new(sink))
        .serve(listener, None, shutdown)
        .await;
}

#[tokio::test]
async fn killed_before_a_puback() {
    let path = std::env::temp_dir().join(format!("stencil-mqtt-{}.lines", std::process::id()));
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server_process", "--nocapture"])
        .env(FILE, &path)
        .env("STENCIL_CRASH", "mqtt.before_puback:5")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(server.stdout.take().unwrap());
    let port: u16 = output
        .lines()
        .find_map(|line| Some(line.unwrap().split_once("port ")?.1.parse().unwrap()))
        .unwrap();
    let mut client = Client::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    client.send(&connect_v3("a/x", "client", 2, 60)).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 0]));
    for n in 1..=4 {
        let id = client.publish("t", format!("{n}").as_bytes()).await;
        client.puback(id).await;
    }
    client.publish("t", b"5").await;
    client.closed().await;
    let status = tokio::task::spawn_blocking(move || server.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.signal(), Some(9));
    let kept = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(kept, "1\n2\n3\n4\n5\n");
}
