//! A webhook receiver that does its part: it acts once a key, however often a
//! key comes, and may lose answers after it acted.
//!
//! The key is the header `webhook-id` (Standard Webhooks) or `Idempotency-Key`.
//! Each request is a line in a journal:
//!
//! ```text
//! {"at_us":1700000000000000,"key":"ab12…","path":"/hook","acted":true,"answered":false,"body":{"device":"freezer-07"}}
//! ```
//! `acted` is false for a key that came before; `answered` is false where the
//! connection was closed without an answer, as if the network had lost it.

mod book;
mod cut;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
pub use book::{Delivery, read};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::book::Book;
use self::cut::{Cut, CuttableListener};
use crate::Error;
use crate::device::stopped;

/// The settings of a receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where it listens: a loopback address.
    pub listen: SocketAddr,
    /// Its journal.
    pub journal: PathBuf,
    /// The share of answers that get lost after it acted, 0 to 1.
    pub drop_fraction: f64,
    /// What the choice of lost answers follows from.
    pub seed: u64,
    /// The longest body in bytes; longer ones are refused.
    pub max_body_bytes: usize,
    /// How many keys it remembers; further ones are refused.
    pub max_keys: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7090)),
            journal: "simulators/webhooks.jsonl".into(),
            drop_fraction: 0.0,
            seed: 1,
            max_body_bytes: 64 * 1024,
            max_keys: 1_000_000,
        }
    }
}

/// A receiver that is listening already, but does not answer yet.
#[derive(Debug)]
pub struct Receiver {
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
    book: Arc<Book>,
}

/// Receives until `stop` holds `true` or its sender is gone.
///
/// # Errors
/// As [`Receiver::bind`].
pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<(), Error> {
    Receiver::bind(options).await?.run(stop).await
}

impl Receiver {
    /// Reads the keys of before from the journal, and listens.
    ///
    /// # Errors
    /// When a setting is wrong, the journal is unusable or the address taken.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&options.drop_fraction) {
            return Err(Error::Setting {
                setting: "drop_fraction",
                why: "is a number from 0 to 1",
            });
        }
        if !options.listen.ip().is_loopback() {
            return Err(Error::Setting {
                setting: "listen",
                why: "is a loopback address: anyone may post to this receiver",
            });
        }
        let book = Arc::new(Book::open(&options)?);
        let listen = |source| Error::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            address,
            options,
            book,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Receives until `stop` holds `true` or its sender is gone.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let Self {
            listener,
            address,
            options,
            book,
        } = self;
        tracing::info!(%address, drops = options.drop_fraction, "webhook receiver");
        let router = Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::max(options.max_body_bytes))
            .with_state(book)
            .into_make_service_with_connect_info::<Cut>();
        let serving = axum::serve(CuttableListener(listener), router);
        tokio::select! {
            served = serving => served.map_err(|source| Error::Listen { address, source }),
            () = stopped(&mut stop) => Ok(()),
        }
    }
}

async fn receive(
    State(book): State<Arc<Book>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    uri: Uri,
    method: axum::http::Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != axum::http::Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, "webhooks are posted").into_response();
    }
    let key = match key(&headers) {
        Ok(key) => key,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    match book.enter(&key, uri.path(), &body) {
        Ok(Delivery {
            answered: false, ..
        }) => {
            cut.cut();
            StatusCode::OK.into_response()
        }
        Ok(Delivery { acted: true, .. }) => (StatusCode::OK, "acted").into_response(),
        Ok(_) => (StatusCode::OK, "repeated: acted before").into_response(),
        Err(book::Refused::Full) => (
            StatusCode::INSUFFICIENT_STORAGE,
            "no more keys are remembered",
        )
            .into_response(),
        Err(book::Refused::Journal) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the journal can't be written",
        )
            .into_response(),
    }
}

/// The request's key: one header or both, with one value.
fn key(headers: &HeaderMap) -> Result<String, &'static str> {
    let mut keys = ["webhook-id", "idempotency-key"]
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            (1..=256).contains(&value.len()).then(|| value.to_owned())
        });
    match (keys.next(), keys.next()) {
        (None, _) => Err("a header webhook-id or Idempotency-Key of 1 to 256 characters is needed"),
        (Some(first), Some(second)) if first != second => {
            Err("webhook-id and Idempotency-Key differ")
        }
        (Some(key), _) => Ok(key),
    }
}
