//! WebSocket: the same calls, and subscriptions.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B128, U128, keccak256};
use alloy_rpc_types_eth::Filter;
use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::{Shared, http};
use crate::block::Block;
use crate::chain::{Event, Found, Wanted};
use crate::faults::{Fate, Notice};
use crate::rpc::envelope::{self, Incoming, Request};
use crate::rpc::{self, Code, Params};

/// Subscriptions of a connection.
const MAX_SUBSCRIPTIONS: usize = 128;
/// How long a client may take to read a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a subscription is told.
enum Topic {
    Heads,
    Logs(Box<Wanted>),
    Waiting,
}

struct Subscription {
    topic: Topic,
    /// A fault made it say nothing any more.
    silent: bool,
}

/// A connection.
struct Connection {
    shared: Shared,
    subscriptions: HashMap<B128, Subscription>,
    count: u64,
    /// Blocks that a lagging endpoint has not told of yet, oldest first.
    untold: VecDeque<Arc<Block>>,
}

/// The connection is to be closed.
struct Over;

/// Serves a connection to its end.
pub(super) async fn serve(mut socket: WebSocket, shared: Shared) {
    let mut events = shared.node.events();
    let mut ended = shared.ended.clone();
    ended.mark_unchanged();
    let mut connection = Connection {
        shared,
        subscriptions: HashMap::new(),
        count: 0,
        untold: VecDeque::new(),
    };
    loop {
        let result = tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    connection.incoming(&mut socket, text.as_bytes()).await
                }
                Some(Ok(Message::Binary(bytes))) => {
                    connection.incoming(&mut socket, &bytes).await
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Over),
            },
            event = events.recv() => match event {
                Ok(event) => connection.event(&mut socket, &event).await,
                // Cut off, as geth does with a client that is too slow: silence would be a lie.
                Err(RecvError::Lagged(missed)) if !connection.subscriptions.is_empty() => {
                    tracing::debug!(missed, "a subscriber is too slow and is cut off");
                    Err(Over)
                }
                Err(RecvError::Lagged(_)) => Ok(()),
                Err(RecvError::Closed) => Err(Over),
            },
            _ = ended.changed() => Err(Over),
        };
        if result.is_err() {
            return;
        }
    }
}

impl Connection {
    async fn incoming(&mut self, socket: &mut WebSocket, bytes: &[u8]) -> Result<(), Over> {
        let fate = self.shared.drawn().fate();
        match fate {
            Fate::Closed | Fate::Unavailable => return Err(Over),
            Fate::Hung { ms } => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                return Err(Over);
            }
            Fate::Sent | Fate::Half | Fate::TooMany => {}
        }
        let incoming = envelope::read(bytes);
        let answer = match incoming {
            // Subscribing changes this connection; all else only asks the chain.
            Incoming::One(Ok(request)) if is_subscribing(&request.method) => {
                self.subscribing(request)
            }
            other => {
                let shared = self.shared.clone();
                tokio::task::spawn_blocking(move || {
                    envelope::respond(other, |method, params| {
                        if fate == Fate::TooMany {
                            return Err(rpc::Error::new(Code::LimitExceeded, "limit exceeded"));
                        }
                        http::call(&shared, method, params)
                    })
                })
                .await
                .map_err(|_| Over)?
            }
        };
        let Some(answer) = answer else {
            return Ok(());
        };
        let mut text = answer.to_string();
        if fate == Fate::Half {
            text.truncate(text.floor_char_boundary(text.len() / 2));
            send(socket, text).await?;
            return Err(Over);
        }
        send(socket, text).await
    }

    fn subscribing(&mut self, request: Request) -> Option<Value> {
        let Request { id, method, params } = request;
        let result = params.and_then(|params| {
            if method == "eth_subscribe" {
                self.subscribe(params)
            } else {
                self.unsubscribe(params)
            }
        });
        id.map(|id| envelope::answer(&id, result))
    }

    fn subscribe(&mut self, mut params: Params) -> Result<Value, rpc::Error> {
        let name: String = params.want(0)?;
        let topic = match name.as_str() {
            "newHeads" => Topic::Heads,
            "newPendingTransactions" => Topic::Waiting,
            "logs" => {
                let filter: Filter = params.optional(1)?.unwrap_or_default();
                rpc::check_filter(&filter)?;
                Topic::Logs(Box::new(Wanted::new(&filter)))
            }
            _ => {
                return Err(rpc::Error::new(
                    Code::MethodNotFound,
                    "no such subscription: newHeads, logs and newPendingTransactions are there",
                ));
            }
        };
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(rpc::Error::new(
                Code::LimitExceeded,
                format!("at most {MAX_SUBSCRIPTIONS} subscriptions a connection"),
            ));
        }
        self.count += 1;
        let drawn = keccak256(format!("{:p} {}", self, self.count));
        let id = B128::from_slice(&drawn[..16]);
        self.subscriptions.insert(
            id,
            Subscription {
                topic,
                silent: false,
            },
        );
        Ok(json!(U128::from_be_bytes(id.0)))
    }

    fn unsubscribe(&mut self, mut params: Params) -> Result<Value, rpc::Error> {
        let id: U128 = params.want(0)?;
        if self
            .subscriptions
            .remove(&B128::from(id.to_be_bytes::<16>()))
            .is_none()
        {
            return Err(rpc::Error::new(Code::Server, "subscription not found"));
        }
        Ok(json!(true))
    }

    async fn event(&mut self, socket: &mut WebSocket, event: &Event) -> Result<(), Over> {
        if self.subscriptions.is_empty() {
            self.untold.clear();
            return Ok(());
        }
        let lag = self.shared.drawn().faults.lag_blocks;
        match event {
            Event::Mined(block) => {
                self.untold.push_back(Arc::clone(block));
                while let Some(block) = self
                    .untold
                    .pop_front_if(|next| next.number + lag <= block.number)
                {
                    self.tell_head(socket, &block).await?;
                    self.tell_logs(socket, &block, false).await?;
                }
            }
            Event::Removed(blocks) => {
                for block in blocks.iter() {
                    if let Some(index) = self
                        .untold
                        .iter()
                        .position(|untold| untold.hash == block.hash)
                    {
                        self.untold.remove(index);
                    } else {
                        self.tell_logs(socket, block, true).await?;
                    }
                }
            }
            Event::Waiting(hash) => {
                let hash = json!(hash);
                for (id, answer) in self.all(|topic| match topic {
                    Topic::Waiting => vec![hash.clone()],
                    Topic::Heads | Topic::Logs(_) => Vec::new(),
                }) {
                    self.tell(socket, id, answer, false).await?;
                }
            }
        }
        Ok(())
    }

    async fn tell_head(&mut self, socket: &mut WebSocket, block: &Block) -> Result<(), Over> {
        let header = rpc::header_answer(block).map_err(|_| Over)?;
        for (id, answer) in self.all(|topic| match topic {
            Topic::Heads => vec![header.clone()],
            Topic::Logs(_) | Topic::Waiting => Vec::new(),
        }) {
            self.tell(socket, id, answer, true).await?;
        }
        Ok(())
    }

    async fn tell_logs(
        &mut self,
        socket: &mut WebSocket,
        block: &Arc<Block>,
        removed: bool,
    ) -> Result<(), Over> {
        for (id, answer) in self.all(|topic| match topic {
            Topic::Logs(wanted) => {
                let mut found: Vec<Found> = Vec::new();
                wanted.collect(block, &mut found);
                found
                    .into_iter()
                    .filter_map(|found| rpc::log_answer(found, removed).ok())
                    .collect()
            }
            Topic::Heads | Topic::Waiting => Vec::new(),
        }) {
            self.tell(socket, id, answer, false).await?;
        }
        Ok(())
    }

    /// What each subscription is to be told.
    fn all(&self, of: impl Fn(&Topic) -> Vec<Value>) -> Vec<(B128, Value)> {
        let mut ids: Vec<&B128> = self.subscriptions.keys().collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| Some((*id, self.subscriptions.get(id)?)))
            .filter(|(_, subscription)| !subscription.silent)
            .flat_map(|(id, subscription)| {
                of(&subscription.topic)
                    .into_iter()
                    .map(move |answer| (id, answer))
            })
            .collect()
    }

    async fn tell(
        &mut self,
        socket: &mut WebSocket,
        id: B128,
        mut answer: Value,
        head: bool,
    ) -> Result<(), Over> {
        let (notice, lies) = {
            let mut drawn = self.shared.drawn();
            (drawn.notice(head), drawn.lies())
        };
        match self.subscriptions.get_mut(&id) {
            Some(subscription) if subscription.silent => return Ok(()),
            Some(subscription) if notice == Notice::Silent => {
                subscription.silent = true;
                return Ok(());
            }
            Some(_) => {}
            None => return Ok(()),
        }
        match notice {
            Notice::Cut => return Err(Over),
            Notice::Skipped | Notice::Silent => return Ok(()),
            Notice::Sent => {}
        }
        lies.falsify_hash(&mut answer, if head { "hash" } else { "blockHash" });
        let message = json!({
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": { "subscription": U128::from_be_bytes(id.0), "result": answer },
        });
        send(socket, message.to_string()).await
    }
}

fn is_subscribing(method: &str) -> bool {
    matches!(method, "eth_subscribe" | "eth_unsubscribe")
}

async fn send(socket: &mut WebSocket, text: String) -> Result<(), Over> {
    match tokio::time::timeout(PATIENCE, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Over),
    }
}
