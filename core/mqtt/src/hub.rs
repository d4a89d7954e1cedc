//! What all connections of an endpoint share.

use tokio::sync::broadcast;

use crate::message::Message;
use crate::metrics::Counters;
use crate::topic;
use crate::{Error, Event, Options};

pub(crate) struct Hub<Pr> {
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    pub(crate) events: broadcast::Sender<Event<Pr>>,
}

impl<Pr: Clone + Send + Sync + 'static> Hub<Pr> {
    pub(crate) fn new(options: Options) -> Self {
        let (events, _) = broadcast::channel(options.event_queue.max(1));
        Self {
            options,
            counters: Counters::default(),
            events,
        }
    }

    pub(crate) fn publish(&self, _namespace: &str, message: Message) -> Result<usize, Error> {
        topic::check_name(&message.topic, (&self.options).into())?;
        Ok(0)
    }

    pub(crate) fn disconnect(&self, _namespace: &str, _client_id: &str) -> bool {
        false
    }
}
