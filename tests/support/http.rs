//! One HTTP request a connection, as any client would make it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::LIMIT;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks the server at `port` of this machine, with a token where there is one.
pub(crate) fn get(port: u16, path: &str, token: Option<&str>) -> Answer {
    request(port, "GET", path, token, None)
}

/// As [`get`] by any method, with a body and its type.
pub(crate) fn request(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<(&str, &str)>,
) -> Answer {
    try_request(port, method, path, token, None, body).expect("HTTP is served")
}

/// As [`request`], of a server that may end meanwhile, with an `Idempotency-Key` where there is
/// one.
pub(crate) fn try_request(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    key: Option<&str>,
    body: Option<(&str, &str)>,
) -> std::io::Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if let Some(token) = token {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    if let Some(key) = key {
        head.push_str(&format!("Idempotency-Key: {key}\r\n"));
    }
    let (kind, body) = body.unwrap_or_default();
    if !kind.is_empty() {
        head.push_str(&format!(
            "Content-Type: {kind}\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let answer = whole(&mut stream)?;
    let torn = || std::io::Error::other(format!("no head and body: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(torn)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(torn)?,
        body: body.to_owned(),
    })
}

/// Asks as a page of the hub's own would: with the session's cookie, where there is one, and under the
/// server's own name. Gives the cookie that it sets, too.
pub(crate) fn by_page(
    port: u16,
    method: &str,
    path: &str,
    cookie: Option<&str>,
    body: Option<&Value>,
) -> (Answer, Option<String>) {
    let own = format!("127.0.0.1:{port}");
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\nConnection: close\r\n"
    );
    if let Some(cookie) = cookie {
        head.push_str(&format!("Cookie: {cookie}\r\n"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        head.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("HTTP is served");
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .unwrap();
    let answer = whole(&mut stream).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let set = lines.find(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookie = set.and_then(|(_, cookie)| cookie.split(';').next());
    let answer = Answer {
        status: status.expect("a status"),
        body: body.to_owned(),
    };
    (answer, cookie.map(str::to_owned))
}

/// An answer to its end: that of its stated length, since not every server closes when asked to,
/// else that of the connection.
fn whole(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut chunk)?;
        answer.extend_from_slice(&chunk[..read]);
        if read == 0 || length(&answer).is_some_and(|length| answer.len() >= length) {
            return Ok(String::from_utf8(answer).expect("UTF-8"));
        }
    }
}

/// How long head and body are together, if the head is there and says it.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some(head + 4 + length.trim().parse::<usize>().ok()?)
}
