//! JSON-RPC over one HTTP request, without a client that has opinions.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Posts a body, and gives the answer's.
pub(crate) async fn post(port: u16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| std::io::Error::other("no head"))?;
    assert!(
        !String::from_utf8_lossy(&answer[..end])
            .to_lowercase()
            .contains("transfer-encoding"),
        "an answer with its length is expected"
    );
    Ok(answer.split_off(end + 4))
}

/// Calls a method that must succeed.
pub(crate) async fn call(port: u16, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let answer = tokio::time::timeout(Duration::from_secs(30), post(port, body.as_bytes()))
        .await
        .expect("an answer in time")
        .expect("an answer");
    let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].take()
}
