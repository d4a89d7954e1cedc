//! HTTP below alloy's client: the stock transport reads an answer of any size.

use std::task::{Context, Poll};

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tower_service::Service;
use url::Url;

/// An answer was larger than this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer of more than {0} bytes")]
pub(super) struct TooLarge(pub(super) usize);

/// An HTTP endpoint whose answers are bounded.
#[derive(Debug, Clone)]
pub(super) struct Bounded {
    pub(super) client: reqwest::Client,
    pub(super) url: Url,
    pub(super) max_bytes: usize,
}

impl Bounded {
    async fn post(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = serde_json::to_vec(&request).map_err(TransportError::ser_err)?;
        // An address may hold a key: errors are told without it.
        let failed = |error: reqwest::Error| TransportErrorKind::custom(Told::of(error));
        let mut response = self
            .client
            .post(self.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body)
            .send()
            .await
            .map_err(failed)?;
        let status = response.status();
        let announced = response.content_length().unwrap_or(0);
        let too_large = || TransportErrorKind::custom(TooLarge(self.max_bytes));
        if usize::try_from(announced).unwrap_or(usize::MAX) > self.max_bytes {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > self.max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&piece);
        }
        match serde_json::from_slice(&body) {
            Ok(packet) => Ok(packet),
            // Some send errors of JSON-RPC with another status; a page of a proxy is none.
            Err(_) if !status.is_success() => Err(TransportErrorKind::http_error(
                status.as_u16(),
                String::new(),
            )),
            Err(error) => Err(TransportError::deser_err(
                error,
                String::from_utf8_lossy(&body[..body.len().min(200)]),
            )),
        }
    }
}

/// An error of the HTTP client with its causes, without the address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

impl Told {
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut told = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            told = format!("{told}: {error}");
            cause = error.source();
        }
        Self(told)
    }
}

impl Service<RequestPacket> for Bounded {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().post(request))
    }
}
