//! A connection is in the middle of a request from its head to the last byte of its answer; and a
//! request's body comes in time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::State;
use super::connections::InRequest;
use super::listener::Peer;

/// Keeps the connection's place for as long as the request is answered.
pub(super) async fn hold(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let held = Peer::ticket(request.extensions()).map(|ticket| ticket.begin());
    let within = Duration::from_millis(state.limits.body_timeout_ms);
    let request = request.map(|body| {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        Body::new(Timely {
            body,
            deadline: Box::pin(sleep(within)),
        })
    });
    let response = next.run(request).await;
    response.map(|body| Body::new(Held { body, _held: held }))
}

/// The body of an answer; its connection is not idle until it is gone.
struct Held {
    body: Body,
    _held: Option<InRequest>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, which is there by a deadline or not at all.
struct Timely {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

impl http_body::Body for Timely {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.deadline.as_mut().poll(cx).map(|()| {
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Some(Err(axum::Error::new(late)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
