//! What is asked of the server beside that its events are heard: a subscription, or that one goes
//! on.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use opcua::{
    client::{OnSubscriptionNotificationCore, Session},
    types::{DataValue, MonitoredItemCreateRequest, NotificationMessage, StatusCode},
};

use super::{items::create, session};

/// How long a subscription is silent before the server sends a sign of life.
const SIGN_OF_LIFE_MS: u32 = 10_000;
/// How long it lives in the server without us.
const LIFETIME_MS: u32 = session::SESSION_MS;
/// The most values in one message, and the most messages that are asked for again.
const MAX_VALUES: u32 = 1_000;

/// What is being asked of the server, beside that its events are heard.
pub(super) type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What became of it.
pub(super) enum Done {
    /// A subscription is there.
    Made(u32, Vec<(usize, StatusCode)>),
    /// Points were tried again.
    Tried(Vec<(usize, StatusCode)>),
    /// The subscription goes on; what was sent in vain.
    Resumed(Vec<NotificationMessage>),
    /// What was missed in between.
    Again(Vec<NotificationMessage>),
    /// Points that were silent for long.
    Read(Vec<(usize, DataValue)>),
    /// Nothing of it.
    Nothing,
    /// Begin anew.
    Failed(StatusCode),
}

/// Makes a subscription to these points.
pub(super) async fn subscribe(
    session: Arc<Session>,
    interval: Duration,
    requests: Vec<(usize, MonitoredItemCreateRequest)>,
    inbox: impl OnSubscriptionNotificationCore + 'static,
) -> Done {
    let ms = u32::try_from(interval.as_millis())
        .unwrap_or(u32::MAX)
        .max(1);
    let signs = (SIGN_OF_LIFE_MS / ms).max(1);
    let lifetime = (LIFETIME_MS / ms).max(signs.saturating_mul(3));
    let made = session
        .create_subscription(interval, lifetime, signs, MAX_VALUES, 0, true, inbox)
        .await;
    let id = match made {
        Ok(id) => id,
        Err(error) => return Done::Failed(error.status()),
    };
    match create(&session, id, requests).await {
        Ok(results) => Done::Made(id, results),
        Err(status) => Done::Failed(status),
    }
}

/// Goes on with a subscription: takes it over into a new session, and asks for what was sent in
/// vain.
pub(super) async fn resume(session: Arc<Session>, id: u32, next: u32, is_new: bool) -> Done {
    if is_new {
        match session.transfer_subscriptions(&[id], false).await {
            Ok(results) if results.first().is_some_and(|it| it.status_code.is_good()) => {}
            Ok(results) => {
                let status = results.first().map(|it| it.status_code);
                return Done::Failed(status.unwrap_or(StatusCode::BadSubscriptionIdInvalid));
            }
            Err(error) => return Done::Failed(error.status()),
        }
    }
    let mut missed = Vec::new();
    let mut number = next;
    for _ in 0..MAX_VALUES {
        match session.republish(id, number).await {
            Ok(notification)
                if notification.sequence_number == number && has_data(&notification) =>
            {
                missed.push(notification);
                number = number.checked_add(1).unwrap_or(1);
            }
            // There is none: all is said.
            Ok(_) => break,
            Err(error) if error.status() == StatusCode::BadMessageNotAvailable => break,
            // It does not know of asking again, or of the subscription.
            Err(error) if error.status() == StatusCode::BadServiceUnsupported => break,
            Err(error) => return Done::Failed(error.status()),
        }
    }
    Done::Resumed(missed)
}

/// Asks for notifications that were missed.
pub(super) async fn again(
    session: &Session,
    id: u32,
    numbers: Vec<u32>,
) -> Vec<NotificationMessage> {
    let asked = numbers.len();
    let mut found = Vec::new();
    for number in numbers {
        if let Ok(notification) = session.republish(id, number).await
            && notification.sequence_number == number
        {
            found.push(notification);
        }
    }
    if found.len() < asked {
        let lost = asked - found.len();
        tracing::warn!(
            lost,
            "notifications of an OPC UA server were lost, and it has them no more"
        );
    }
    found
}

/// Whether it is more than a sign of life.
pub(super) fn has_data(notification: &NotificationMessage) -> bool {
    notification
        .notification_data
        .as_ref()
        .is_some_and(|data| !data.is_empty())
}
