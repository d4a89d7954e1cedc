//! Commands reach the gateway that knows the device, whenever it listens.

use stencil_access::Challenge;
use stencil_access::receipt::{Receipt, hash};
use stencil_protocol::command::{Command, MAX_STATUS_BYTES, State, Status};
use stencil_protocol::id::CommandId;
use stencil_protocol::report::{Link, LinkEvent};
use stencil_protocol::sample::{OwnedValue, Value};
use stencil_server::{LiveEvent, Next};
use stencil_store::{BroughtReceipt, StoredReceipt};

use crate::support::{Client, TestHub, device, eventually, gateway, tenant};

const COMMANDS: &str = "stencil/v1/g/gw-1/command";

/// Tells the hub that the device is behind this gateway.
async fn link(client: &Client, name: &str, of: &str) {
    let event = LinkEvent {
        device: device(name),
        gateway: gateway(of),
        at_us: 1_700_000_000_000_000,
        event: Link::Connected { suite: 1 },
    };
    client
        .publish(&format!("stencil/v1/d/{name}/link"), event.encode())
        .await
        .unwrap();
}

async fn report(client: &Client, name: &str, id: CommandId, state: State) {
    let status = Status {
        id,
        state,
        at_us: 1_700_000_001_000_000,
        detail: Some("as told"),
    };
    let mut bytes = vec![0; MAX_STATUS_BYTES];
    let length = status.encode(&mut bytes).unwrap();
    let topic = format!("stencil/v1/d/{name}/status");
    client.publish(&topic, &bytes[..length]).await.unwrap();
}

async fn state(test: &TestHub, id: CommandId) -> State {
    test.hub()
        .store()
        .commands
        .get(&tenant("acme"), &id)
        .await
        .unwrap()
        .unwrap()
        .state
}

async fn queue(test: &TestHub, name: &str, expires_in_us: i64) -> CommandId {
    let expires_us = test.hub().now_us() + expires_in_us;
    let argument = Some(OwnedValue::Bool(true));
    test.hub()
        .queue_command(
            &tenant("acme"),
            &device(name),
            "lock",
            argument,
            expires_us,
            None,
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn a_command_goes_out_comes_back_done_and_is_watched() {
    let test = TestHub::start().await;
    let mut live = test.hub().live().subscribe(tenant("acme"));
    let mut gw = test.gateway("gw-1").await;
    assert!(gw.subscribe(COMMANDS).await);
    link(&gw, "lock-07", "gw-1").await;
    test.hub().caught_up().await.unwrap();

    let id = queue(&test, "lock-07", 60_000_000).await;
    let (topic, payload) = gw.next().await;
    let command = Command::decode(&payload).unwrap();
    assert_eq!(topic, COMMANDS);
    assert_eq!((command.id, command.name), (id, "lock"));
    assert_eq!(command.device, device("lock-07"));
    assert_eq!(command.argument, Some(Value::Bool(true)));
    eventually("sent", || async { state(&test, id).await == State::Sent }).await;

    report(&gw, "lock-07", id, State::Acknowledged).await;
    report(&gw, "lock-07", id, State::Done).await;
    test.hub().caught_up().await.unwrap();
    assert_eq!(state(&test, id).await, State::Done);
    let mut seen = Vec::new();
    while seen.last() != Some(&State::Done) {
        if let Next::Event(LiveEvent::Command { command, state, .. }) = live.next().await {
            assert_eq!(command, id);
            seen.push(state);
        }
    }
    assert_eq!(
        seen,
        [State::Queued, State::Sent, State::Acknowledged, State::Done]
    );
}

#[tokio::test]
async fn it_is_watched_from_the_moment_it_is_queued() {
    let test = TestHub::start().await;
    let mut live = test.hub().live().subscribe(tenant("acme"));
    // Nobody has heard of the device: nothing else happens to the command.
    let id = queue(&test, "nobody-knows", 60_000_000).await;
    let Next::Event(LiveEvent::Command { command, state, .. }) = live.next().await else {
        panic!("an event of the command")
    };
    assert_eq!((command, state), (id, State::Queued));
    // Queued twice it is one command, and told once.
    let expires_us = test.hub().now_us() + 60_000_000;
    for key in ["a", "a", "b"] {
        let (acme, lock) = (tenant("acme"), device("lock-07"));
        let queued = test
            .hub()
            .queue_command(&acme, &lock, "lock", None, expires_us, Some(key))
            .await;
        queued.unwrap();
    }
    let mut told = Vec::new();
    for _ in 0..2 {
        if let Next::Event(LiveEvent::Command { command, .. }) = live.next().await {
            told.push(command);
        }
    }
    assert_ne!(told[0], told[1]);
}

#[tokio::test]
async fn it_waits_for_the_gateway_and_comes_again_until_acknowledged() {
    let test = TestHub::start_with(|options| options.dispatch.resend_after_ms = 100).await;
    let gw = test.gateway("gw-1").await;
    link(&gw, "lock-07", "gw-1").await;
    test.hub().caught_up().await.unwrap();
    drop(gw);

    let id = queue(&test, "lock-07", 60_000_000).await;
    let mut gw = test.gateway("gw-1").await;
    assert!(gw.subscribe(COMMANDS).await);
    for _ in 0..3 {
        let (_, payload) = gw.next().await;
        assert_eq!(
            Command::decode(&payload).unwrap().id,
            id,
            "not acknowledged: again"
        );
    }
    // A gateway that comes back gets it at once, after a restart of the hub too.
    drop(gw);
    let test = test.restart().await;
    let mut gw = test.gateway("gw-1").await;
    assert!(gw.subscribe(COMMANDS).await);
    let (_, payload) = gw.next().await;
    assert_eq!(Command::decode(&payload).unwrap().id, id);
    report(&gw, "lock-07", id, State::Acknowledged).await;
    test.hub().caught_up().await.unwrap();
    assert_eq!(state(&test, id).await, State::Acknowledged);
}

#[tokio::test]
async fn it_follows_the_device_to_another_gateway() {
    let test = TestHub::start().await;
    let first = test.gateway("gw-1").await;
    link(&first, "lock-07", "gw-1").await;
    test.hub().caught_up().await.unwrap();
    drop(first);
    let id = queue(&test, "lock-07", 60_000_000).await;
    let mut second = test.gateway("gw-2").await;
    assert!(second.subscribe("stencil/v1/g/gw-2/command").await);
    let event = LinkEvent {
        device: device("lock-07"),
        gateway: gateway("gw-2"),
        at_us: 1_700_000_002_000_000,
        event: Link::Connected { suite: 1 },
    };
    second
        .publish("stencil/v1/d/lock-07/link", event.encode())
        .await
        .unwrap();
    let (_, payload) = second.next().await;
    assert_eq!(Command::decode(&payload).unwrap().id, id);
}

#[tokio::test]
async fn what_is_not_taken_in_time_expires() {
    let test = TestHub::start().await;
    let id = queue(&test, "nobody-knows", 1_000).await;
    eventually("expired", || async {
        state(&test, id).await == State::Expired
    })
    .await;
}

#[tokio::test]
async fn a_device_cannot_speak_for_a_command_of_another() {
    let test = TestHub::start().await;
    let id = queue(&test, "lock-07", 60_000_000).await;
    let kiosk = test.foreign("kiosk").await;
    report(&kiosk, "kiosk", id, State::Done).await;
    report(&kiosk, "kiosk", CommandId([7; 16]), State::Done).await;
    test.hub().caught_up().await.unwrap();
    assert_eq!(state(&test, id).await, State::Queued);
    let page = test
        .hub()
        .store()
        .ledger
        .quarantine(&tenant("acme"), None, 10)
        .await
        .unwrap();
    let reasons: Vec<&str> = page.items.iter().map(|item| item.reason.as_str()).collect();
    assert!(reasons[0].contains("there is no command"), "{reasons:?}");
    assert!(reasons[1].contains("not one of this device"), "{reasons:?}");
}

#[tokio::test]
async fn the_same_key_is_the_same_command() {
    let test = TestHub::start().await;
    let expires_us = test.hub().now_us() + 60_000_000;
    let mut ids = Vec::new();
    for key in ["a", "a", "b"] {
        let (acme, lock) = (tenant("acme"), device("lock-07"));
        let queued = test
            .hub()
            .queue_command(&acme, &lock, "lock", None, expires_us, Some(key))
            .await;
        ids.push(queued.unwrap());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

/// Keeps a receipt of this tenant's whose command is `id`, which has not been answered.
async fn admitted(test: &TestHub, of: &str, name: &str, id: CommandId) {
    let receipt = Receipt {
        chain: "ab".repeat(16),
        number: 1,
        previous: "0".repeat(64),
        left: None,
        at_us: 1,
        gateway: "did:web:hub.example.org".to_owned(),
        challenge: Challenge {
            device: device(name),
            command: "unlock".to_owned(),
            given_us: 1,
            nonce: "0".repeat(64),
        },
        right: "urn:uuid:1".to_owned(),
        holder: "0x".to_owned(),
        signature: "0x".to_owned(),
        command: id.to_string(),
        expires_us: 2,
    };
    let body = receipt.text().unwrap();
    let brought = BroughtReceipt {
        receipt: StoredReceipt {
            gateway: gateway("gw-1"),
            chain: receipt.chain,
            number: 1,
            hash: hash(&body),
            body,
            right: receipt.right,
            outcome: "unknown".to_owned(),
            follows: true,
            conflict: None,
            told: false,
            at_us: 1,
            received_us: 1,
        },
        revision: None,
    };
    let access = &test.hub().store().access;
    let kept = access.keep_receipts(&tenant(of), &[brought]).await;
    kept.unwrap();
}

#[tokio::test]
async fn what_a_device_says_of_a_command_that_a_holder_was_let_give_is_known_by_the_receipt() {
    let test = TestHub::start().await;
    stencil_server::init(&test.data_dir(), &tenant("umbrella"), &["localhost"])
        .await
        .unwrap();
    let gw = test.gateway("gw-1").await;
    let outcome = |id| {
        let access = test.hub().store().access.clone();
        async move {
            let kept = access.receipt_of(&tenant("acme"), &id).await;
            kept.unwrap().unwrap().outcome
        }
    };
    let (id, theirs) = (CommandId([9; 16]), CommandId([8; 16]));
    admitted(&test, "acme", "lock-07", id).await;
    // Another device's word, and of another tenant's command, which is none of this one's.
    let of_umbrella = test.gateway_of("umbrella", "gw-1").await;
    report(&gw, "lock-08", id, State::Done).await;
    report(&of_umbrella, "lock-07", id, State::Done).await;
    test.hub().caught_up().await.unwrap();
    assert_eq!(outcome(id).await, "unknown");
    admitted(&test, "umbrella", "lock-07", theirs).await;
    report(&gw, "lock-07", theirs, State::Done).await;
    for said in [State::Acknowledged, State::Done, State::Done, State::Failed] {
        report(&gw, "lock-07", id, said).await;
    }
    test.hub().caught_up().await.unwrap();
    assert_eq!(outcome(id).await, "done");
    let mut reasons = Vec::new();
    for of in ["acme", "umbrella"] {
        let ledger = &test.hub().store().ledger;
        let page = ledger.quarantine(&tenant(of), None, 10).await.unwrap();
        reasons.extend(page.items.into_iter().map(|item| item.reason));
    }
    assert_eq!(
        reasons,
        [
            format!("there is no command {theirs}"),
            format!("command {id} is not one of this device"),
            format!("there is no command {id}"),
        ]
    );
    let access = &test.hub().store().access;
    let untouched = access
        .receipt_of(&tenant("umbrella"), &theirs)
        .await
        .unwrap();
    assert_eq!(untouched.unwrap().outcome, "unknown");
}
