//! Rules on their way to gateways: all that is placed at each, whenever it begins to listen and
//! whenever a workflow changes.
//!
//! What is placed follows from the workflows in force, so nothing is kept here but who listens. What
//! became of it the gateway says in its rule stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stencil_edge::{Placed, Placing as Message};
use stencil_mqtt::{Handle, Qos};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::topic::Topic;
use stencil_store::{Gateways, Workflows};
use stencil_workflow::definition;
use stencil_workflow::definition::Placement;
use tokio::sync::{Notify, watch};

use crate::parts::told_to_end;
use crate::policy::{Peer, namespace};
use crate::{Error, Principal, Role};

/// Between two attempts at what could not be told.
const AGAIN: Duration = Duration::from_secs(1);

/// Who is told that there is something to tell. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placing(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The gateways that listen, and whether each has to be told.
    listening: Mutex<BTreeMap<(TenantId, GatewayId), bool>>,
    wake: Notify,
}

impl Placing {
    /// A gateway has (again) begun to listen.
    pub(crate) fn listens(&self, tenant: &TenantId, gateway: &GatewayId) {
        let key = (tenant.clone(), gateway.clone());
        self.listening().insert(key, true);
        self.0.wake.notify_one();
    }

    /// A gateway's session has ended.
    pub(crate) fn ended(&self, tenant: &TenantId, gateway: &GatewayId) {
        let key = (tenant.clone(), gateway.clone());
        self.listening().remove(&key);
    }

    /// The workflows of a tenant have changed, or which groups its gateways are in.
    pub(crate) fn changed(&self, tenant: &TenantId) {
        for ((of, _), due) in self.listening().iter_mut() {
            *due |= of == tenant;
        }
        self.0.wake.notify_one();
    }

    fn take_due(&self) -> Vec<(TenantId, GatewayId)> {
        let mut listening = self.listening();
        let due = listening.iter_mut().filter(|(_, due)| **due);
        due.map(|(key, due)| {
            *due = false;
            key.clone()
        })
        .collect()
    }

    fn again(&self, key: &(TenantId, GatewayId)) {
        if let Some(due) = self.listening().get_mut(key) {
            *due = true;
        }
    }

    fn listening(&self) -> MutexGuard<'_, BTreeMap<(TenantId, GatewayId), bool>> {
        self.0
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells gateways.
pub(crate) struct Delivery {
    pub(crate) placing: Placing,
    pub(crate) workflows: Arc<dyn Workflows>,
    pub(crate) gateways: Arc<dyn Gateways>,
    pub(crate) handle: Handle<Peer>,
}

/// The rules of each tenant, with where each is placed.
type Placeable = HashMap<TenantId, Vec<(Placement, Placed)>>;

impl Delivery {
    /// Works until `stop` holds true.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut late = false;
        loop {
            tokio::select! {
                () = told_to_end(&mut stop) => return,
                () = self.placing.0.wake.notified() => {}
                () = tokio::time::sleep(AGAIN), if late => {}
            }
            late = !self.tell_due().await;
        }
    }

    /// False if some have to be told again.
    async fn tell_due(&self) -> bool {
        let due = self.placing.take_due();
        if due.is_empty() {
            return true;
        }
        let placeable = match self.placeable().await {
            Ok(placeable) => placeable,
            Err(error) => {
                tracing::warn!(%error, "gateways are not told of rules now; trying again");
                due.iter().for_each(|key| self.placing.again(key));
                return false;
            }
        };
        let mut all = true;
        for key in due {
            if !self.tell(&key.0, &key.1, placeable.get(&key.0)).await {
                self.placing.again(&key);
                all = false;
            }
        }
        all
    }

    async fn placeable(&self) -> Result<Placeable, Error> {
        let mut placeable = Placeable::new();
        for (tenant, workflow) in self.workflows.active().await? {
            let Ok(definition) = definition::parse(&workflow.yaml) else {
                continue;
            };
            if let (Some(placed), Some(place)) = (definition.placed(), definition.place) {
                placeable.entry(tenant).or_default().push((place, placed));
            }
        }
        Ok(placeable)
    }

    async fn tell(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        placeable: Option<&Vec<(Placement, Placed)>>,
    ) -> bool {
        let known = match self.gateways.gateway(tenant, gateway).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a gateway is not told of rules now");
                return false;
            }
        };
        let groups = known.map(|known| known.groups).unwrap_or_default();
        let is_here = |place: &Placement| {
            let mut names = groups.iter().chain([gateway]);
            names.any(|name| place.gateways.matches(name.as_str()))
        };
        let placeable = placeable.into_iter().flatten();
        let here = placeable.filter(|(place, _)| is_here(place));
        let here: Vec<Placed> = here.map(|(_, placed)| placed.clone()).collect();
        let (message, beyond) = Message::of(&here);
        if !beyond.is_empty() {
            tracing::error!(%tenant, %gateway, workflows = beyond.join(", "),
                "these are not placed at the gateway: its rules fill a message");
        }
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let topic = Topic::GatewayRules(gateway.clone()).to_string();
        let space = namespace(&principal);
        let bytes = message.encode();
        match self
            .handle
            .publish(&space, &topic, bytes, Qos::AtLeastOnce, false)
        {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a gateway cannot be told of rules");
                false
            }
        }
    }
}
