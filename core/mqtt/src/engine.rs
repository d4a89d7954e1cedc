//! The only module that knows `mqtt-protocol-core`.

use std::sync::Arc;

/// MQTT 5 properties of a message that are passed on as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forwarded {
    properties: Option<Arc<[mqtt_protocol_core::mqtt::packet::Property]>>,
}

impl Forwarded {
    pub(crate) fn bytes(&self) -> usize {
        self.properties
            .iter()
            .flat_map(|p| p.iter())
            .map(|p| p.size())
            .sum()
    }
}
