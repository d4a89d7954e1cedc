//! Answers the hub's questions beside what devices measure: one at a time, piece by piece, and no
//! piece before the one before it is acknowledged.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use stencil_protocol::{
    id::GatewayId,
    question::{MAX_PIECE_BYTES, Piece, Question},
    topic::Topic,
};
use tokio::task::JoinHandle;

use super::{
    connection::{Connection, Lost},
    publisher::{PACKET_OVERHEAD_BYTES, is_kept},
};
use crate::{answers::Answers, metrics::Metrics};

/// Questions that may come at once.
const BURST: u32 = 20;
/// More than what a piece takes besides its bytes.
const PIECE_OVERHEAD_BYTES: usize = 32;
/// Time in which one more may come.
const INTERVAL: Duration = Duration::from_millis(250);

/// The answer that is on its way, if one is.
pub(super) struct Answering {
    answers: Arc<Answers>,
    metrics: Arc<Metrics>,
    topic: String,
    work: Option<(u64, JoinHandle<Vec<u8>>)>,
    sending: Option<Sending>,
    /// Questions that may come now, and since when.
    left: u32,
    since: Instant,
}

struct Sending {
    number: u64,
    bytes: Vec<u8>,
    offset: usize,
    /// Whether the piece before is kept.
    piece: Option<BoxFuture<'static, bool>>,
}

impl Answering {
    pub(super) fn new(gateway: &GatewayId, answers: &Arc<Answers>, metrics: &Arc<Metrics>) -> Self {
        Self {
            answers: Arc::clone(answers),
            metrics: Arc::clone(metrics),
            topic: Topic::GatewayAnswer(gateway.clone()).to_string(),
            work: None,
            sending: None,
            left: BURST,
            since: Instant::now(),
        }
    }

    /// Takes a question. One before it that is not answered yet is dropped: the hub has one question
    /// to a gateway at a time, so nobody waits for that answer any more.
    pub(super) fn ask(&mut self, question: Bytes) {
        let Some(number) = Question::number(&question).filter(|_| self.may()) else {
            self.metrics.questions_refused.increment();
            tracing::debug!("a question of the hub is not answered");
            return;
        };
        let answers = Arc::clone(&self.answers);
        let work = tokio::task::spawn_blocking(move || answers.to(&question));
        self.sending = None;
        self.work = Some((number, work));
    }

    /// Returns when a piece may be sent; never without an answer. Dropped before it is done, it loses
    /// nothing.
    pub(super) async fn ready(&mut self) {
        loop {
            if let Some((number, work)) = &mut self.work {
                let (number, done) = (*number, work.await);
                self.work = None;
                self.sending = done.ok().map(|bytes| Sending {
                    number,
                    bytes,
                    offset: 0,
                    piece: None,
                });
                continue;
            }
            let Some(sending) = &mut self.sending else {
                return std::future::pending().await;
            };
            let Some(piece) = &mut sending.piece else {
                return;
            };
            let kept = piece.await;
            sending.piece = None;
            let ended = sending.offset >= sending.bytes.len();
            if kept && ended {
                self.metrics.questions_answered.increment();
            }
            if !kept || ended {
                self.sending = None;
            }
        }
    }

    /// Sends the next piece.
    pub(super) async fn send(&mut self, connection: &Connection) -> Result<(), Lost> {
        let Some(sending) = &mut self.sending else {
            return Ok(());
        };
        let room = connection
            .max_packet_bytes()
            .saturating_sub(PACKET_OVERHEAD_BYTES + PIECE_OVERHEAD_BYTES + self.topic.len());
        let rest = sending.bytes.get(sending.offset..).unwrap_or_default();
        let (bytes, _) = rest.split_at(rest.len().min(room).min(MAX_PIECE_BYTES));
        let last = bytes.len() == rest.len();
        let piece = Piece {
            number: sending.number,
            offset: u32::try_from(sending.offset).unwrap_or(u32::MAX),
            last,
            bytes: bytes.to_vec(),
        };
        sending.offset += bytes.len();
        let written = piece.encode().ok();
        let Some(written) = written.filter(|_| last || !piece.bytes.is_empty()) else {
            // A hub that takes no packets of any size to speak of.
            self.sending = None;
            return Ok(());
        };
        stencil_crashpoint::reach("gateway.answer_piece");
        let notice = connection
            .publish(self.topic.clone(), written.into(), Vec::new())
            .await?;
        sending.piece = Some(is_kept(notice).boxed());
        Ok(())
    }

    /// Whether one more question may come now.
    fn may(&mut self) -> bool {
        let passed = self.since.elapsed().as_millis() / INTERVAL.as_millis();
        if let Some(passed) = u32::try_from(passed).ok().filter(|passed| *passed > 0) {
            self.left = self.left.saturating_add(passed).min(BURST);
            self.since = Instant::now();
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some((_, work)) = &self.work {
            work.abort();
        }
    }
}
