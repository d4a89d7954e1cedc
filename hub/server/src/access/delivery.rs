//! Tells gateways by whom and what to go, and how credentials stand, as long as they listen for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stencil_access::receipt::Head;
use stencil_access::trust::Told;
use stencil_mqtt::{Handle, Qos};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::topic::Topic;
use stencil_store::AccessRights;
use tokio::sync::{Notify, watch};

use super::Rights;
use super::told::Standings;
use crate::chains::Owners;
use crate::clock::Clock;
use crate::identity::Error;
use crate::parts::told_to_end;
use crate::policy::{Peer, namespace};
use crate::{Principal, Role};

/// Between two looks at what has changed.
const LOOK: Duration = Duration::from_secs(1);

type Key = (TenantId, GatewayId);

/// Who is told. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telling(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    listening: Mutex<BTreeMap<Key, Due>>,
    wake: Notify,
}

/// What a gateway has to be told.
#[derive(Debug, Clone, Default)]
struct Due {
    /// All of it.
    all: bool,
    /// Up to where its receipts are kept.
    held: Option<Of>,
}

/// Of which of a gateway's chains of receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    /// It has brought nothing yet since it listens.
    Newest,
    /// It has brought receipts of this one.
    Brought(String),
}

impl Telling {
    /// A gateway has (again) subscribed to a topic.
    pub(crate) fn listens(&self, tenant: &TenantId, gateway: &GatewayId, filter: &str) {
        if !matches!(Topic::parse(filter), Ok(Topic::GatewayAccess(_))) {
            return;
        }
        let due = Due {
            all: true,
            held: Some(Of::Newest),
        };
        self.listening()
            .insert((tenant.clone(), gateway.clone()), due);
        self.0.wake.notify_one();
    }

    /// A gateway's session has ended.
    pub(crate) fn ended(&self, tenant: &TenantId, gateway: &GatewayId) {
        self.listening().remove(&(tenant.clone(), gateway.clone()));
    }

    /// A gateway has brought receipts of this chain.
    pub(crate) fn held(&self, tenant: &TenantId, gateway: &GatewayId, chain: &str) {
        if let Some(due) = self.listening().get_mut(&(tenant.clone(), gateway.clone())) {
            due.held = Some(Of::Brought(chain.to_owned()));
        }
        self.0.wake.notify_one();
    }

    /// All that listen, with what each has to be told; that is taken.
    fn take(&self) -> Vec<(Key, Due)> {
        let mut listening = self.listening();
        let all = listening.iter_mut();
        all.map(|(key, due)| (key.clone(), std::mem::take(due)))
            .collect()
    }

    fn again(&self, key: &Key, due: Due) {
        if let Some(now) = self.listening().get_mut(key) {
            now.all |= due.all;
            now.held = now.held.take().or(due.held);
        }
    }

    fn listening(&self) -> MutexGuard<'_, BTreeMap<Key, Due>> {
        let listening = self.0.listening.lock();
        listening.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells gateways.
pub(crate) struct Delivery {
    rights: Rights,
    telling: Telling,
    handle: Handle<Peer>,
    clock: Clock,
    standings: Standings,
    owners: Owners,
    /// The right of a token that was looked at last.
    looked: Option<(TenantId, String)>,
    /// The same of those that are over.
    looked_ended: Option<(TenantId, String)>,
}

impl Delivery {
    pub(crate) fn new(
        rights: Rights,
        telling: Telling,
        handle: Handle<Peer>,
        clock: Clock,
        owners: Owners,
    ) -> Self {
        Self {
            rights,
            telling,
            handle,
            clock,
            standings: Standings::default(),
            owners,
            looked: None,
            looked_ended: None,
        }
    }

    /// Works until `stop` holds true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = told_to_end(&mut stop) => return,
                () = self.telling.0.wake.notified() => {}
                _ = look.tick() => {}
            }
            let now_us = self.clock.now_us();
            if let Err(error) = self.rights.follow_causes(now_us).await {
                tracing::warn!(%error, "rights do not follow their causes now; trying again");
            }
            let follow = self
                .rights
                .follow_tokens(&self.owners, &mut self.looked, now_us);
            if let Err(error) = follow.await {
                tracing::warn!(%error, "rights do not follow tokens now; trying again");
            }
            let follow = self
                .rights
                .follow_ended(&self.owners, &mut self.looked_ended, now_us);
            if let Err(error) = follow.await {
                tracing::warn!(%error, "rights that are over do not follow tokens now; trying again");
            }
            self.tell(now_us).await;
        }
    }

    async fn tell(&mut self, now_us: i64) {
        let mut due = self.telling.take();
        self.standings
            .retain(|tenant| due.iter().any(|((of, _), _)| of == tenant));
        let mut changed = HashMap::new();
        for (key, due) in &mut due {
            let news = match changed.get(&key.0) {
                Some(news) => *news,
                None => {
                    let news = match self.standings.look(&self.rights, &key.0, now_us).await {
                        Ok(news) => news,
                        Err(error) => {
                            tracing::warn!(tenant = %key.0, %error, "gateways are not told of rights \
                                now; trying again");
                            self.telling.again(key, due.clone());
                            continue;
                        }
                    };
                    changed.insert(key.0.clone(), news);
                    news
                }
            };
            due.all |= news;
            if let Err(error) = self.tell_one(key, due).await {
                tracing::warn!(tenant = %key.0, gateway = %key.1, %error, "a gateway is not told of \
                    rights now; trying again");
                self.telling.again(key, due.clone());
            }
        }
    }

    async fn tell_one(&self, key: &Key, due: &Due) -> Result<(), Error> {
        let (tenant, gateway) = key;
        if due.all {
            let Some(standing) = self.standings.of(tenant) else {
                return Ok(());
            };
            let policy = standing.policy.clone();
            let terms = self
                .rights
                .identity
                .terms(tenant, gateway, policy, &standing.numbers);
            match terms.await? {
                None => self.publish(key, &Told::Nothing)?,
                Some(terms) => {
                    self.publish(key, &Told::Terms(terms))?;
                    for list in &standing.lists {
                        self.publish(key, &Told::List(list.clone()))?;
                    }
                }
            }
        }
        if let Some(of) = &due.held
            && let Some(head) = head(self.rights.access.as_ref(), key, of).await?
        {
            self.publish(key, &Told::Held(head))?;
        }
        Ok(())
    }

    fn publish(&self, (tenant, gateway): &Key, told: &Told) -> Result<(), Error> {
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let topic = Topic::GatewayAccess(gateway.clone()).to_string();
        let bytes = serde_json::to_vec(told).map_err(Error::failed)?;
        let space = namespace(&principal);
        let sent = self
            .handle
            .publish(&space, &topic, bytes, Qos::AtLeastOnce, false);
        sent.map(drop).map_err(Error::failed)
    }
}

/// Up to where a gateway's receipts are kept; `None`: there are none.
async fn head(
    access: &dyn AccessRights,
    (tenant, gateway): &Key,
    of: &Of,
) -> Result<Option<Head>, Error> {
    let last = match of {
        Of::Newest => access.newest_chain(tenant, gateway).await?,
        // By time it may be another that seems to be the newest, and this one is waited for.
        Of::Brought(chain) => {
            let last = access.last_receipt(tenant, gateway, chain).await?;
            last.map(|(number, hash)| (chain.clone(), number, hash))
        }
    };
    Ok(last.map(|(chain, number, hash)| Head {
        chain,
        number,
        hash: hex::encode(hash),
    }))
}

#[cfg(test)]
mod tests {
    use stencil_store::{BroughtReceipt, StoredReceipt, sqlite};

    use super::*;

    fn receipt(chain: &str, number: u64, received_us: i64) -> BroughtReceipt {
        BroughtReceipt {
            receipt: StoredReceipt {
                gateway: GatewayId::parse("gw-1").unwrap(),
                chain: chain.to_owned(),
                number,
                hash: [u8::try_from(number).unwrap(); 32],
                body: "{}".to_owned(),
                right: "urn:uuid:1".to_owned(),
                outcome: "done".to_owned(),
                follows: true,
                conflict: None,
                told: false,
                at_us: 1,
                received_us,
            },
            revision: None,
        }
    }

    #[tokio::test]
    async fn a_gateway_is_told_how_far_the_chain_is_kept_that_it_brings_whatever_the_clock_was() {
        let dir = tempfile::tempdir().unwrap();
        let opened = sqlite::open(dir.path().join("hub.db")).await.unwrap();
        let store = opened.store();
        let tenant = TenantId::parse("acme").unwrap();
        store.tenancy.create_tenant(&tenant, 0).await.unwrap();
        let (a, b) = ("aa".repeat(16), "bb".repeat(16));
        let access = store.access.as_ref();
        // The clock was ahead when the first ones came, and right from then on.
        for (chain, number, received_us) in [(&a, 1, 900), (&a, 2, 100), (&b, 1, 200)] {
            let one = [receipt(chain, number, received_us)];
            access.keep_receipts(&tenant, &one).await.unwrap();
        }
        let gateway = GatewayId::parse("gw-1").unwrap();
        let key = (tenant, gateway);
        let telling = Telling::default();
        telling.held(&key.0, &key.1, &a);
        assert!(telling.take().is_empty(), "it does not listen");
        telling.listens(&key.0, &key.1, "stencil/v1/g/gw-1/access");
        let mut heads = Vec::new();
        for brought in [None, Some(&a), Some(&b)] {
            if let Some(chain) = brought {
                telling.held(&key.0, &key.1, chain);
            }
            let (_, due) = telling.take().remove(0);
            // What could not be told is told the next time.
            telling.again(&key, due);
            let (_, due) = telling.take().remove(0);
            let of = due.held.expect("it is told");
            heads.push(head(access, &key, &of).await.unwrap().unwrap());
        }
        let heads: Vec<_> = heads
            .iter()
            .map(|it| (it.chain.as_str(), it.number))
            .collect();
        let (a, b) = (a.as_str(), b.as_str());
        assert_eq!(heads, [(a, 2), (a, 2), (b, 1)]);
    }
}
