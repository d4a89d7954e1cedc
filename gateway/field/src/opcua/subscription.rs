//! The source: one subscription a connection, kept alive, and made again when it is lost.
//!
//! While the connection is lost for a moment, the server goes on to gather values; when it is back
//! in the same session, or the subscription could be taken over into a new one, what was sent in
//! vain is asked for again by its number (Part 4, section 6.7). When the server knows nothing of
//! either any more, everything is made anew, and begins with the present values.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use opcua::{
    client::{
        MonitoredItemMap, OnSubscriptionNotificationCore, Session, SessionConnectMode,
        SessionPollResult, SubscriptionActivity,
    },
    types::{
        DataChangeNotification, DataValue, NotificationMessage, ReadValueId,
        StatusChangeNotification, StatusCode, TimestampsToReturn,
    },
};
use stencil_protocol::line::Line;
use tokio::time::Instant;

use super::{
    items::{CHUNK, Item, create, publishing, requests},
    sequence::{Next, Sequence},
    session,
    value::{self, Clock, told},
    work::{Done, Work, again, has_data, resume, subscribe},
};
use crate::{
    Fault,
    mapping::{Connection, Point, Protocol, Report, Target},
    port::{Reading, Sink, Source, now_us},
};

/// The first wait before a server is tried again from the start.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// How long it may be silent in any case.
const LEAST_SIGNS: Duration = Duration::from_secs(30);
/// How soon points that the server refused are tried again.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);

/// A connection with a subscription.
pub(crate) struct Subscriber {
    connection: Arc<Connection>,
    items: Vec<Item>,
}

/// Notifications that came and were not looked at yet.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<VecDeque<NotificationMessage>>>);

impl OnSubscriptionNotificationCore for Inbox {
    fn on_subscription_notification(
        &mut self,
        notification: NotificationMessage,
        _: MonitoredItemMap<'_>,
    ) {
        // It is emptied after each message that was read, before the next is.
        let mut inbox = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.push_back(notification);
    }
}

impl Inbox {
    fn take(&self) -> Option<NotificationMessage> {
        let mut inbox = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.pop_front()
    }
}

impl Subscriber {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        let mut items = Vec::new();
        for device in &connection.devices {
            for (index, point) in device.points.iter().enumerate() {
                if let Target::OpcUa(place) = &point.target {
                    items.push(Item {
                        device: Arc::clone(device),
                        index,
                        place: place.clone(),
                        taken: None,
                        came: Instant::now(),
                    });
                }
            }
        }
        Self { connection, items }
    }
}

impl Source for Subscriber {
    fn line(&self) -> Line {
        self.connection.protocol.line()
    }

    fn run(mut self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut backoff = FIRST_BACKOFF;
            loop {
                let fault = self.once(&sink, &mut backoff).await;
                self.silent(&sink, &fault).await;
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(self.connection.max_backoff);
            }
        })
    }
}

impl Subscriber {
    /// One session, from its beginning to its end, and why it ended.
    async fn once(&mut self, sink: &Sink, backoff: &mut Duration) -> Fault {
        let Protocol::OpcUa(server) = self.connection.protocol.clone() else {
            return Fault::Closed;
        };
        let mut opened = match session::open(&server, self.connection.timeout).await {
            Ok(opened) => opened,
            Err(fault) => return fault,
        };
        let inbox = Inbox::default();
        let mut live = Live {
            session: Arc::clone(&opened.session),
            inbox: inbox.clone(),
            subscription: None,
            sequence: Sequence::default(),
            missed: Vec::new(),
            told: Vec::new(),
            again_at: Instant::now() + REFUSED_AGAIN,
            heard: Instant::now(),
        };
        for item in &mut self.items {
            item.taken = None;
        }
        let mut work: Option<Work> = None;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = opened.events.next() => match event {
                    Some(Ok(SessionPollResult::Reconnected(mode))) => {
                        opened.is_connected = true;
                        live.heard = Instant::now();
                        work = Some(live.begin(&mode, &self.items));
                    }
                    Some(Ok(SessionPollResult::ConnectionLost(status))) => {
                        opened.is_connected = false;
                        work = None;
                        let fault = match status {
                            StatusCode::Good => {
                                session::fault(&server, StatusCode::BadTimeout, &opened.refused)
                            }
                            status => session::fault(&server, status, &opened.refused),
                        };
                        self.silent(sink, &fault).await;
                    }
                    Some(Ok(SessionPollResult::ReconnectFailed(status))) => {
                        let fault = session::fault(&server, status, &opened.refused);
                        // It is there, and answers otherwise than before: it is asked anew what it
                        // offers.
                        let is_slow = status == StatusCode::BadTimeout;
                        if is_slow || !matches!(fault, Fault::Connect { .. }) {
                            return fault;
                        }
                        self.silent(sink, &fault).await;
                    }
                    Some(Ok(SessionPollResult::Subscription(SubscriptionActivity::PublishFailed(
                        status @ (StatusCode::BadNoSubscription | StatusCode::BadSubscriptionIdInvalid),
                    )))) if live.subscription.is_some() && work.is_none() => {
                        return session::fault(&server, status, &opened.refused);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(status)) => return session::fault(&server, status, &opened.refused),
                    None => return Fault::Closed,
                },
                done = async { match &mut work { Some(work) => work.await, None => std::future::pending().await } } => {
                    work = None;
                    match done {
                        Done::Made(id, results) => {
                            live.subscription = Some(id);
                            *backoff = FIRST_BACKOFF;
                            self.answers(sink).await;
                            self.results(sink, results).await;
                        }
                        Done::Tried(results) => self.results(sink, results).await,
                        Done::Resumed(missed) => {
                            *backoff = FIRST_BACKOFF;
                            self.answers(sink).await;
                            if let Err(fault) = self.take_again(sink, &mut live, missed, true).await {
                                return fault;
                            }
                            live.session.trigger_publish_now();
                        }
                        Done::Again(missed) => {
                            if let Err(fault) = self.take_again(sink, &mut live, missed, false).await {
                                return fault;
                            }
                        }
                        Done::Read(values) => {
                            for (handle, data) in values {
                                self.value(sink, &mut live, handle, &data, true).await;
                            }
                        }
                        Done::Nothing => {}
                        Done::Failed(status) => {
                            return session::fault(&server, status, &opened.refused);
                        }
                    }
                },
                _ = tick.tick(), if opened.is_connected && work.is_none() && live.subscription.is_some() => {
                    if live.is_dead() {
                        let why = "the server sends no sign of life of the subscription any more";
                        return Fault::Refused(why.to_owned());
                    }
                    work = live.due(&mut self.items);
                }
            }
            while let Some(notification) = inbox.take() {
                let has_data = has_data(&notification);
                live.heard = Instant::now();
                match live.sequence.take(notification.sequence_number, has_data) {
                    Next::Known => continue,
                    Next::Take => {}
                    Next::Missed(numbers) => live.missed = numbers,
                }
                if let Err(fault) = self.notification(sink, &mut live, notification).await {
                    return fault;
                }
            }
        }
    }

    /// All devices of the connection are silent.
    async fn silent(&self, sink: &Sink, fault: &Fault) {
        for device in &self.connection.devices {
            sink.silent(&device.id, fault.clone()).await;
        }
    }

    async fn answers(&self, sink: &Sink) {
        for device in &self.connection.devices {
            sink.answers(&device.id).await;
        }
    }

    /// Says which points the server refused.
    async fn results(&mut self, sink: &Sink, results: Vec<(usize, StatusCode)>) {
        for (handle, status) in results {
            let Some(item) = self.items.get_mut(handle) else {
                continue;
            };
            let is_refused = status.is_bad();
            item.taken = Some(!is_refused);
            item.came = Instant::now();
            if is_refused && let Some(point) = item.point() {
                let fault = Fault::Refused(told(status));
                sink.fault(&item.device.id, &point.name, fault).await;
            }
        }
    }

    async fn take_again(
        &mut self,
        sink: &Sink,
        live: &mut Live,
        missed: Vec<NotificationMessage>,
        is_next: bool,
    ) -> Result<(), Fault> {
        for notification in missed {
            if is_next {
                live.sequence.take(notification.sequence_number, true);
            }
            self.notification(sink, live, notification).await?;
        }
        Ok(())
    }

    async fn notification(
        &mut self,
        sink: &Sink,
        live: &mut Live,
        notification: NotificationMessage,
    ) -> Result<(), Fault> {
        for part in notification.notification_data.into_iter().flatten() {
            if let Some(change) = part.inner_as::<StatusChangeNotification>() {
                let why = format!("the server ended the subscription: {}", told(change.status));
                return Err(Fault::Refused(why));
            }
            let Some(values) = part.into_inner_as::<DataChangeNotification>() else {
                continue;
            };
            for one in values.monitored_items.into_iter().flatten() {
                let handle = usize::try_from(one.client_handle).unwrap_or(0);
                let Some(handle) = handle.checked_sub(1) else {
                    continue;
                };
                self.value(sink, live, handle, &one.value, false).await;
            }
        }
        Ok(())
    }

    async fn value(
        &mut self,
        sink: &Sink,
        live: &mut Live,
        handle: usize,
        data: &DataValue,
        is_silent: bool,
    ) {
        let Some(item) = self.items.get_mut(handle) else {
            return;
        };
        item.came = Instant::now();
        let Some(point) = item.point() else {
            return;
        };
        let now = now_us();
        let given = value::given(data, point, &item.place, now);
        // It has not changed for long and is as old as ever; that it was read anew is now.
        let at_us = if is_silent {
            now
        } else {
            live.note(&self.connection.name, point, given.clock);
            given.at_us
        };
        match given.value {
            Ok(value) => {
                let reading = Reading {
                    device: item.device.id.clone(),
                    point: Arc::clone(&point.name),
                    value,
                    at_us,
                    quality: given.quality,
                };
                sink.reading(reading).await;
            }
            Err(fault) => sink.fault(&item.device.id, &point.name, fault).await,
        }
    }
}

/// A session that is there, or comes back.
struct Live {
    session: Arc<Session>,
    inbox: Inbox,
    subscription: Option<u32>,
    sequence: Sequence,
    /// Notifications to be asked for again.
    missed: Vec<u32>,
    /// Of which clocks it was said that values have their time.
    told: Vec<Clock>,
    /// When points that were refused are tried again.
    again_at: Instant,
    /// When something of the subscription came last.
    heard: Instant,
}

impl Live {
    /// What to do on a connection that has just been made.
    fn begin(&self, mode: &SessionConnectMode, items: &[Item]) -> Work {
        let session = Arc::clone(&self.session);
        match (self.subscription, mode) {
            (None, _) => {
                let interval = publishing(items);
                let requests = requests(items.iter().enumerate());
                Box::pin(subscribe(session, interval, requests, self.inbox.clone()))
            }
            (Some(id), mode) => {
                let is_new = matches!(mode, SessionConnectMode::NewSession(_));
                Box::pin(resume(session, id, self.sequence.next(), is_new))
            }
        }
    }

    /// Whether the server has long owed a sign of life.
    fn is_dead(&self) -> bool {
        let state = self.session.subscription_state().lock();
        let Some(subscription) = self.subscription.and_then(|id| state.get(id)) else {
            return false;
        };
        // As the server has agreed to, and time for two that were lost.
        let owed = subscription
            .publishing_interval()
            .saturating_mul(subscription.max_keep_alive_count().saturating_mul(3));
        self.heard.elapsed() > owed.max(LEAST_SIGNS)
    }

    /// What is due in a subscription that runs.
    fn due(&mut self, items: &mut [Item]) -> Option<Work> {
        let session = Arc::clone(&self.session);
        let id = self.subscription?;
        if !self.missed.is_empty() {
            let numbers = std::mem::take(&mut self.missed);
            return Some(Box::pin(async move {
                Done::Again(again(&session, id, numbers).await)
            }));
        }
        let now = Instant::now();
        if now >= self.again_at {
            self.again_at = now + REFUSED_AGAIN;
            let refused = items.iter().enumerate();
            let requests = requests(refused.filter(|(_, item)| item.taken == Some(false)));
            if !requests.is_empty() {
                return Some(Box::pin(async move {
                    match create(&session, id, requests).await {
                        Ok(results) => Done::Tried(results),
                        Err(_) => Done::Nothing,
                    }
                }));
            }
        }
        let mut silent = Vec::new();
        for (handle, item) in items.iter_mut().enumerate() {
            let most = match item.point().map(|point| point.report) {
                Some(Report::Changes { max_silence, .. }) => max_silence,
                _ => continue,
            };
            if item.taken == Some(true) && now - item.came >= most && silent.len() < CHUNK {
                item.came = now;
                silent.push((handle, ReadValueId::from(item.place.node.clone())));
            }
        }
        if silent.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            let (handles, nodes): (Vec<_>, Vec<_>) = silent.into_iter().unzip();
            match session.read(&nodes, TimestampsToReturn::Both, 0.0).await {
                Ok(values) => Done::Read(handles.into_iter().zip(values).collect()),
                // If it is more than a moment, the session ends.
                Err(_) => Done::Nothing,
            }
        }))
    }

    /// Says once whose time values have, where it is not their source's.
    fn note(&mut self, connection: &str, point: &Point, clock: Clock) {
        if clock == Clock::Source || self.told.contains(&clock) {
            return;
        }
        self.told.push(clock);
        let taken = match clock {
            Clock::Server => "the server's own time",
            _ => "the time at which they come",
        };
        tracing::info!(connection, point = %point.name, "the server gives values without the time \
            of their source: they get {taken}");
    }
}
