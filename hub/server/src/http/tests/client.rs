//! A client of HTTP/1.1 that shows each byte: no cookie jar, no redirects followed, no retries.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub(super) struct Ask {
    address: SocketAddr,
    from: IpAddr,
    host: String,
    head: String,
    body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Ask {
    pub(super) fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        let head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        Self {
            address,
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "localhost".to_owned(),
            head,
            body: Vec::new(),
        }
    }

    /// From another address of loopback, `127.0.0.0/8`.
    pub(super) fn from(mut self, address: [u8; 4]) -> Self {
        self.from = IpAddr::from(address);
        self
    }

    /// Under another name than `localhost`.
    pub(super) fn host(mut self, name: &str) -> Self {
        name.clone_into(&mut self.host);
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// With a session, from a page of the hub.
    pub(super) fn session(self, secret: &str) -> Self {
        self.header("cookie", &format!("a=b; stencil_session={secret}; c=d"))
            .header("sec-fetch-site", "same-origin")
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    pub(super) fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(value.to_string())
    }

    /// Opens the connection and sends; the answer is the caller's to read.
    pub(super) async fn open(self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.from, 0)).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let head = format!(
            "{}host: {}\r\ncontent-length: {}\r\n\r\n",
            self.head,
            self.host,
            self.body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses a long body may close before it has read all of it.
        let _ = stream.write_all(&self.body).await;
        stream
    }

    pub(super) async fn send(self) -> Answer {
        let mut stream = self.open().await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        Answer {
            status,
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }
}

/// The head of an answer with its values as they are; names are in small letters.
pub(super) async fn head(ask: Ask) -> String {
    let mut stream = ask.open().await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let line = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
        None => line.to_owned(),
    };
    head.lines().map(line).collect::<Vec<_>>().join("\n")
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// A problem document with this status; its `detail`.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let document = self.json();
        assert_eq!(document["status"], status);
        assert!(document["type"].as_str().unwrap().starts_with("/problems#"));
        assert!(!document["title"].as_str().unwrap().is_empty());
        document["detail"].as_str().unwrap().to_owned()
    }

    /// The secret of the session that was opened.
    #[track_caller]
    pub(super) fn session(&self) -> String {
        assert_eq!(self.status, 303, "{self:?}");
        assert_eq!(self.header("location"), Some("/"));
        let cookie = self.header("set-cookie").expect("a cookie");
        let secret = cookie.strip_prefix("stencil_session=").unwrap();
        secret.split(';').next().unwrap().to_owned()
    }

    /// The cookie of the browser that somebody has signed in with, as it is sent back.
    pub(super) fn device(&self) -> Option<String> {
        let cookies = self
            .head
            .lines()
            .filter_map(|line| line.strip_prefix("set-cookie:"));
        let device = cookies
            .map(str::trim)
            .find(|cookie| cookie.starts_with("stencil_device="))?;
        device.split(';').next().map(str::to_owned)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    }
}
