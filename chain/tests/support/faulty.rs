//! A proxy between a follower and a node, which lags, lies, hangs and drops as it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::json_rpc;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// It answers nothing.
    Hang,
    /// It passes transactions on, and does not answer.
    MuteSends,
    /// It answers 503 with a page of HTML.
    Unavailable,
    /// It is so many blocks behind.
    Lag(u64),
    /// Every other answer is so many blocks behind, as of two nodes behind one address.
    Wavering(u64),
    /// Logs come with other data.
    LieAboutData,
    /// The last logs of an answer are left out.
    DropLogs(usize),
    /// The last log of an answer over a range is left out.
    DropLogOfRange,
    /// Ranges of more blocks are refused.
    RangeLimit(u64),
    /// Answers have so many bytes more.
    Bloat(usize),
    /// The headers' timestamps are one second off.
    LieAboutHeaders,
    /// Every other block that is asked for by its hash is answered by 503.
    EveryOtherByHash,
    /// No block that is asked for by its hash is answered but by 503.
    NoneByHash,
    /// Each block that is asked for by its hash takes so long.
    SlowByHash(Duration),
    /// What is not there is told in words that nobody else has.
    OddWords,
    /// Where these transactions are, is answered by 503.
    NoReceipts(Vec<String>),
    /// Where any transaction is, is answered by 503.
    NoReceiptAtAll,
    /// These transactions are in no block, it says.
    LostReceipts(Vec<String>),
    /// What accounts were at a block's number is not kept.
    NoOldState,
    /// Reverts are told in other words.
    OddReverts,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: u16,
    fault: Mutex<Fault>,
    calls: Mutex<HashMap<String, u64>>,
}

impl Proxy {
    pub(crate) async fn start(upstream: u16) -> Self {
        let inner = Arc::new(Inner {
            upstream,
            fault: Mutex::new(Fault::None),
            calls: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new()
            .route("/", post(handle))
            .with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, inner }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.inner.fault.lock().unwrap() = fault;
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &str) -> u64 {
        let calls = self.inner.calls.lock().unwrap();
        calls.get(method).copied().unwrap_or(0)
    }
}

async fn handle(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let mut request: Value = serde_json::from_slice(&body).unwrap();
    let method = request["method"].as_str().unwrap().to_owned();
    let count = {
        let mut calls = inner.calls.lock().unwrap();
        let count = calls.entry(method.clone()).or_default();
        *count += 1;
        *count
    };
    let fault = inner.fault.lock().unwrap().clone();
    let lag = match fault {
        Fault::Hang => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            0
        }
        Fault::Unavailable => {
            return (StatusCode::SERVICE_UNAVAILABLE, "<html>busy</html>").into_response();
        }
        Fault::Lag(blocks) => blocks,
        Fault::Wavering(blocks) if count.is_multiple_of(2) => blocks,
        Fault::EveryOtherByHash if method == "eth_getBlockByHash" && count.is_multiple_of(2) => {
            return (StatusCode::SERVICE_UNAVAILABLE, "<html>busy</html>").into_response();
        }
        Fault::NoneByHash if method == "eth_getBlockByHash" => {
            return (StatusCode::SERVICE_UNAVAILABLE, "<html>busy</html>").into_response();
        }
        Fault::NoReceipts(ref of) if is_receipt(&request, of) => {
            return (StatusCode::SERVICE_UNAVAILABLE, "<html>busy</html>").into_response();
        }
        Fault::NoReceiptAtAll if method == "eth_getTransactionReceipt" => {
            return (StatusCode::SERVICE_UNAVAILABLE, "<html>busy</html>").into_response();
        }
        Fault::LostReceipts(ref of) if is_receipt(&request, of) => {
            return json!({"jsonrpc": "2.0", "id": request["id"], "result": null})
                .to_string()
                .into_response();
        }
        Fault::SlowByHash(takes) if method == "eth_getBlockByHash" => {
            tokio::time::sleep(takes).await;
            0
        }
        _ => 0,
    };
    let id = request["id"].clone();
    let error = |code: i64, message: &str| {
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
            .to_string()
            .into_response()
    };
    if let Fault::RangeLimit(limit) = fault
        && method == "eth_getLogs"
        && let (Some(first), Some(last)) = (
            number(&request["params"][0]["fromBlock"]),
            number(&request["params"][0]["toBlock"]),
        )
        && last - first + 1 > limit
    {
        return error(-32005, "block range is too large");
    }
    if fault == Fault::NoOldState
        && method == "eth_getTransactionCount"
        && number(&request["params"][1]).is_some()
    {
        return error(-32000, "missing trie node");
    }
    if lag > 0 && method == "eth_getBlockByNumber" {
        let head = json_rpc::call(inner.upstream, "eth_blockNumber", json!([])).await;
        let head = number(&head).unwrap().saturating_sub(lag);
        match number(&request["params"][0]) {
            Some(asked) if asked > head => {
                return json!({"jsonrpc": "2.0", "id": request["id"], "result": null})
                    .to_string()
                    .into_response();
            }
            None if request["params"][0] == "latest" => {
                request["params"][0] = json!(format!("{head:#x}"));
            }
            _ => {}
        }
    }
    let is_range = request["params"][0].get("fromBlock").is_some();
    let answer = json_rpc::post(inner.upstream, request.to_string().as_bytes()).await;
    let mut answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    if fault == Fault::OddWords && answer["result"].is_null() {
        return error(-32000, "never heard of it");
    }
    if method == "eth_call" && fault == Fault::OddReverts && !answer["error"].is_null() {
        answer["error"]["message"] = json!("VM Exception while processing transaction: reverted");
        answer["error"]["code"] = json!(-32015);
    }
    if method == "eth_sendRawTransaction" && fault == Fault::MuteSends {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
    if method == "eth_getLogs"
        && let Some(logs) = answer["result"].as_array_mut()
    {
        match fault {
            Fault::LieAboutData => {
                for log in logs {
                    log["data"] = json!(format!("0x{}", "42".repeat(32)));
                }
            }
            Fault::DropLogs(last) => logs.truncate(logs.len().saturating_sub(last)),
            Fault::DropLogOfRange if is_range => drop(logs.pop()),
            _ => {}
        }
    }
    if method.starts_with("eth_getBlock") && fault == Fault::LieAboutHeaders {
        let time = number(&answer["result"]["timestamp"]).unwrap();
        answer["result"]["timestamp"] = json!(format!("{:#x}", time + 1));
    }
    if let Fault::Bloat(bytes) = fault {
        answer["padding"] = json!("x".repeat(bytes));
    }
    answer.to_string().into_response()
}

/// Whether it asks for the receipt of one of these transactions.
fn is_receipt(request: &Value, of: &[String]) -> bool {
    request["method"] == "eth_getTransactionReceipt"
        && of.iter().any(|tx| request["params"][0] == **tx)
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// A TCP proxy whose connections can be cut, for WebSockets.
pub(crate) struct Cuttable {
    pub(crate) port: u16,
    up: watch::Sender<bool>,
    pub(crate) accepted: watch::Receiver<u32>,
}

impl Cuttable {
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (up, is_up) = watch::channel(true);
        let (accept, accepted) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut down, _)) = listener.accept().await {
                let mut is_up = is_up.clone();
                if !*is_up.borrow() {
                    continue;
                }
                accept.send_modify(|count| *count += 1);
                tokio::spawn(async move {
                    let mut up = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut down, &mut up) => {}
                        _ = is_up.wait_for(|up| !up) => {}
                    }
                });
            }
        });
        Self { port, up, accepted }
    }

    /// Cuts what is connected, and takes nothing new.
    pub(crate) fn cut(&self) {
        self.up.send_replace(false);
    }
}
