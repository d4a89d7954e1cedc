//! Commands from the hub to a device and back.

use stencil_protocol::{
    command::{Command, State},
    id::{CommandId, DeviceId},
};

use crate::{
    device::{Device, Told},
    hub::{Hub, statuses},
    place::{GATEWAY, Gateway, Place},
};

pub(crate) fn lock(n: u8, device: &DeviceId, expires_us: i64) -> Command<'static> {
    Command {
        id: CommandId([n; 16]),
        device: device.clone(),
        name: "lock",
        argument: None,
        expires_us,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_to_the_device_and_its_statuses_come_back() {
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("lock-07");
    let gateway = place.gateway(&hub).await;
    hub.subscribed().await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 1).await;

    let command = lock(1, &id, i64::MAX);
    assert!(hub.command(GATEWAY, &command));
    assert_eq!(
        device.told().await,
        Some(Told::Command(command.id, "lock".to_owned()))
    );
    for state in [State::Acknowledged, State::Done] {
        device.answer(command.id, state).await;
        assert_eq!(
            device.told().await,
            Some(Told::StatusAck(command.id, state))
        );
    }
    let kept = hub.until(|kept| statuses(kept, &id).len() == 2).await;
    let states: Vec<State> = statuses(&kept, &id)
        .iter()
        .map(|status| status.state)
        .collect();
    assert_eq!(states, [State::Acknowledged, State::Done]);
    assert_eq!(gateway.metric("commands_waiting").await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_waits_for_its_device_and_is_repeated_until_answered() {
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("lock-07");
    let mut options = place.options(&hub);
    options.commands.resend_ms = 500;
    let gateway = Gateway::start(options).await;
    hub.subscribed().await;
    let command = lock(1, &id, i64::MAX);
    assert!(hub.command(GATEWAY, &command));
    assert!(hub.command(GATEWAY, &command), "the hub may send it again");
    gateway.until("commands_received_total", |n| n == 2).await;
    assert_eq!(gateway.metric("commands_waiting").await, 1);

    let told = Told::Command(command.id, "lock".to_owned());
    let mut device = Device::link(gateway.link, &id, &psk).await;
    assert_eq!(device.told().await, Some(told.clone()));
    assert_eq!(
        device.told().await,
        Some(told.clone()),
        "not answered, so sent again"
    );
    drop(device);
    let mut device = Device::link(gateway.link, &id, &psk).await;
    assert_eq!(device.told().await, Some(told), "and on a new link");
    device.answer(command.id, State::Done).await;
    assert_eq!(
        device.told().await,
        Some(Told::StatusAck(command.id, State::Done))
    );
    assert_eq!(gateway.metric("commands_waiting").await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_cannot_wait_are_answered() {
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("lock-07");
    let mut options = place.options(&hub);
    options.commands.max_per_device = 2;
    let gateway = Gateway::start(options).await;
    hub.subscribed().await;

    // Of what somebody may have had before, the gateway says nothing, however it fares.
    assert!(hub.command_again(GATEWAY, &lock(4, &id, 1), false));
    gateway.until("commands_received_total", |n| n == 1).await;
    gateway.until("commands_waiting", |n| n == 0).await;
    // Expired on arrival; beyond the bound.
    assert!(hub.command(GATEWAY, &lock(1, &id, 1)));
    assert!(hub.command(GATEWAY, &lock(2, &id, i64::MAX)));
    assert!(hub.command_again(GATEWAY, &lock(5, &id, i64::MAX), false));
    assert!(hub.command(GATEWAY, &lock(3, &id, i64::MAX)));
    let kept = hub.until(|kept| statuses(kept, &id).len() == 2).await;
    let state = |n: u8| {
        let all = statuses(&kept, &id);
        all.iter()
            .find(|status| status.id == CommandId([n; 16]))
            .map(|status| status.state)
    };
    assert_eq!(state(3), Some(State::Failed));
    assert_eq!(state(1), Some(State::Expired));
    assert_eq!([2, 4, 5].map(state), [None; 3]);

    let mut device = Device::link(gateway.link, &id, &psk).await;
    let told = Told::Command(CommandId([2; 16]), "lock".to_owned());
    assert_eq!(device.told().await, Some(told), "the one that could wait");
    gateway.stop().await;
}
