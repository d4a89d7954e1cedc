//! Sending: the account of today, and those of before that have something under way.

use alloy_primitives::Address;
use tokio::sync::Notify;

use super::{Connection, RETRY, Told};
use crate::sender::{self, Action, Sender};
use crate::signer::Absent;

/// Orders are taken while others are looked at: nothing is shared between the two but the store.
pub(super) struct Sending {
    pub(super) address: Address,
    pub(super) orders: Sender,
    pub(super) turns: tokio::sync::Mutex<Sender>,
    pub(super) ordered: Notify,
}

/// What a look at an account's sends came to.
struct Look {
    moved: bool,
    trouble: Option<String>,
}

impl Connection {
    /// Looks after all that is sent, for good.
    pub(super) async fn send(&self) -> Result<(), Told> {
        let mut earlier = self.earlier().await?;
        if self.account.is_none() && earlier.is_empty() {
            return std::future::pending().await;
        }
        let mut told = None;
        loop {
            let mut looks = Vec::with_capacity(earlier.len() + 1);
            if let Some(sending) = &self.account {
                let mut sender = sending.turns.lock().await;
                looks.push(look(&mut sender).await);
            }
            for sender in &mut earlier {
                looks.push(look(sender).await);
            }
            if looks.iter().any(|look| look.moved) {
                self.moved.notify_waiters();
            }
            let troubles: Vec<String> = looks.into_iter().filter_map(|look| look.trouble).collect();
            let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
            if told != trouble {
                if let Some(why) = &trouble {
                    tracing::warn!(
                        chain = self.settings.name,
                        why,
                        "what is sent is in trouble"
                    );
                }
                self.troubles().sent.clone_from(&trouble);
                told = trouble;
            }
            let wait = tokio::time::sleep(self.settings.poll_interval);
            let ordered = async {
                match &self.account {
                    Some(sending) => sending.ordered.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = ordered => {}
                () = self.moved.notified() => {}
            }
        }
    }

    /// The accounts that were the hub's before this one and have sends that are not final.
    async fn earlier(&self) -> Result<Vec<Sender>, Told> {
        let today = self.account.as_ref().map(|sending| sending.address);
        let senders = loop {
            match self.sends.open_senders(&self.settings.name).await {
                Ok(senders) => break senders,
                Err(error) => {
                    self.troubles().sent = Some(format!("what is sent waits: {error}"));
                    tokio::time::sleep(self.settings.poll_interval.min(RETRY)).await;
                }
            }
        };
        self.troubles().sent = None;
        let mut earlier = Vec::new();
        for account in senders.into_iter().map(Address::from) {
            if Some(account) == today {
                continue;
            }
            tracing::info!(
                chain = self.settings.name,
                %account,
                "what was sent from this account, which is not set any more, is looked after"
            );
            let sender = Sender::new(
                self.settings.clone(),
                self.policy,
                std::sync::Arc::new(Absent(account)),
                self.sends.clone(),
                self.chains.clone(),
                self.now,
            );
            earlier.push(sender.map_err(|error| Told::of(&error))?);
        }
        Ok(earlier)
    }
}

async fn look(sender: &mut Sender) -> Look {
    let mut done = Vec::new();
    let turned = sender.turn_noting(&mut done).await;
    // Whatever it is: what was ordered stays ordered, and is looked at again.
    let waits = turned.err().map(|error| waits(&error, sender.account()));
    let all: Vec<String> = waits.into_iter().chain(sender.trouble()).collect();
    Look {
        moved: done.iter().any(|(_, action)| *action != Action::Wait),
        trouble: (!all.is_empty()).then(|| all.join("; ")),
    }
}

fn waits(error: &sender::Error, account: Address) -> String {
    format!("what is sent from {account} waits: {error}")
}
