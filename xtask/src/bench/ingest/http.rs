//! As much HTTP as a bench needs: one request a connection, an answer until its end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

const PATIENCE: Duration = Duration::from_secs(30);
/// Before a request that was one too many is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// Speaks to the hub with a token.
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        let token = token.to_owned();
        Self { address, token }
    }

    /// The answer's body; an error if the status is not 2xx. Tries again where there were too
    /// many requests.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> anyhow::Result<String> {
        loop {
            let answer = self.once(method, path, kind, body)?;
            let (head, rest) = answer
                .split_once("\r\n\r\n")
                .context("an answer without an end")?;
            let status = head.split(' ').nth(1).unwrap_or_default();
            if status == "429" {
                std::thread::sleep(PAUSE);
                continue;
            }
            if !status.starts_with('2') {
                bail!("{method} {path}: {status}: {rest}");
            }
            return Ok(rest.to_owned());
        }
    }

    /// The status of a GET.
    pub(crate) fn status(&self, path: &str) -> anyhow::Result<u16> {
        let answer = self.once("GET", path, "text/plain", "")?;
        let status = answer.split(' ').nth(1).context("an answer's status")?;
        Ok(status.parse()?)
    }

    fn once(&self, method: &str, path: &str, kind: &str, body: &str) -> anyhow::Result<String> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let authorization = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        socket.write_all(
            format!(
                "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Type: {kind}\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                self.address,
                body.len()
            )
            .as_bytes(),
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
