//! Commands, statuses, link messages and reports come back as they went in,
//! and any bytes give a message or an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;

use proptest::prelude::*;
use samples::{command_id, device, owned_value, reason};
use stencil_protocol::batch::{Dropped, MAX_LINK_BYTES};
use stencil_protocol::cbor::Error;
use stencil_protocol::command::{
    Command, MAX_COMMAND_BYTES, MAX_DETAIL, MAX_NAME, MAX_STATUS_BYTES, State, Status,
};
use stencil_protocol::id::{Boot, CommandId, DeviceId, GatewayId, Seq};
use stencil_protocol::link::{Down, MAX_MESSAGE_BYTES, Secret, Up};
use stencil_protocol::report::{Link, LinkEvent, LossReport, MAX_DROPPED};
use stencil_protocol::sample::Value;
use stencil_protocol::transfer::{
    Chunk, HEADER_BYTES, MAX_CHUNK_BYTES, MAX_VERSION_BYTES, Name, Outcome, Phase, Running, Slot,
    Verdict, Want,
};

fn state() -> impl Strategy<Value = State> {
    proptest::sample::select(&State::ALL[..])
}

fn up_and_back(up: &Up<'_>) {
    let mut out = [0; MAX_MESSAGE_BYTES];
    let length = up.encode(&mut out).unwrap();
    assert_eq!(&Up::decode(&out[..length]).unwrap(), up);
    for cut in 0..length {
        assert!(Up::decode(&out[..cut]).is_err(), "cut at {cut}");
    }
}

fn down_and_back(down: &Down<'_>) {
    let mut out = [0; MAX_MESSAGE_BYTES];
    let length = down.encode(&mut out).unwrap();
    assert_eq!(&Down::decode(&out[..length]).unwrap(), down);
    for cut in 0..length {
        assert!(Down::decode(&out[..cut]).is_err(), "cut at {cut}");
    }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    (any::<Name>(), any::<u8>()).prop_map(|(name, code)| Verdict {
        name,
        outcome: Outcome(code),
    })
}

/// All but the version.
fn running() -> impl Strategy<Value = Running<'static>> {
    let phase = proptest::sample::select(vec![
        Phase::Empty,
        Phase::Receiving,
        Phase::Ready,
        Phase::Trial,
        Phase::Confirmed,
        Phase::Bad,
    ]);
    let other =
        (phase, proptest::option::of(any::<Name>())).prop_map(|(phase, name)| Slot { phase, name });
    let numbers = any::<([u8; 32], [u8; 16], [u8; 16], u64, u64, u32)>();
    (numbers, other, proptest::option::of(verdict())).prop_map(|(numbers, other, verdict)| {
        let (digest, vendor, class, sequence, confirmed, max_image) = numbers;
        Running {
            digest,
            sequence,
            version: "",
            vendor,
            class,
            max_image,
            confirmed,
            other,
            verdict,
        }
    })
}

proptest! {
    #[test]
    fn commands(
        id in command_id(), device in device(), name in "\\PC{1,8}",
        argument in proptest::option::of(owned_value()), expires_us in any::<i64>(),
    ) {
        let argument = argument.as_ref().map(|value| value.as_ref());
        let command = Command { id, device, name: &name, argument, expires_us };
        let mut out = [0; MAX_COMMAND_BYTES];
        let length = command.encode(&mut out).unwrap();
        prop_assert_eq!(&Command::decode(&out[..length]).unwrap(), &command);
        down_and_back(&Down::Command(command));
    }

    #[test]
    fn statuses(
        id in command_id(), state in state(), at_us in any::<i64>(),
        detail in proptest::option::of("\\PC{0,30}"),
    ) {
        let status = Status { id, state, at_us, detail: detail.as_deref() };
        let mut out = [0; MAX_STATUS_BYTES];
        let length = status.encode(&mut out).unwrap();
        prop_assert_eq!(Status::decode(&out[..length]).unwrap(), status);
        up_and_back(&Up::Status(status));
        down_and_back(&Down::StatusAck { id, state });
    }

    #[test]
    fn other_link_messages(
        batch in proptest::collection::vec(any::<u8>(), 0..200),
        boot in any::<u32>(), through in any::<u64>(), now_us in any::<i64>(),
    ) {
        up_and_back(&Up::Batch(&batch));
        down_and_back(&Down::Ack { boot: Boot(boot), through: Seq(through) });
        down_and_back(&Down::Time { now_us });
        let key = Secret(core::array::from_fn(|at| batch.get(at).copied().unwrap_or(1)));
        down_and_back(&Down::Key { generation: through, key });
    }

    #[test]
    fn what_is_said_of_images(
        running in running(), version in "[!-~]{1,32}", name: Name, offset: u32, code: u8,
        header: [u8; 32], bytes in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        up_and_back(&Up::Running(Running { version: &version, ..running }));
        up_and_back(&Up::Want(Want { name, offset }));
        up_and_back(&Up::Verdict(Verdict { name, outcome: Outcome(code) }));
        let header: Vec<u8> = header.into_iter().cycle().take(HEADER_BYTES).collect();
        down_and_back(&Down::Offer(header.as_slice().try_into().unwrap()));
        down_and_back(&Down::Chunk(Chunk { name, offset, bytes: &bytes }));
    }

    #[test]
    fn reports(
        device in device(), boot in any::<u32>(), at_us in any::<i64>(),
        suite in proptest::option::of(any::<u16>()),
        runs in proptest::collection::vec((1u64..1 << 62, 1u32.., reason()), 0..20),
    ) {
        let runs = runs.into_iter();
        let dropped = runs.map(|(f, count, reason)| Dropped { first: Seq(f), count, reason });
        let loss = LossReport { device: device.clone(), boot: Boot(boot), dropped: dropped.collect() };
        prop_assert_eq!(LossReport::decode(&loss.encode().unwrap()).unwrap(), loss);
        let event = suite.map_or(Link::Disconnected, |suite| Link::Connected { suite });
        let gateway = GatewayId::parse("gw-1").unwrap();
        let event = LinkEvent { device, gateway, at_us, event };
        prop_assert_eq!(LinkEvent::decode(&event.encode()).unwrap(), event);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::decode(&bytes);
        let _ = Status::decode(&bytes);
        let _ = Up::decode(&bytes);
        let _ = Down::decode(&bytes);
        let _ = LossReport::decode(&bytes);
        let _ = LinkEvent::decode(&bytes);
    }
}

#[test]
fn ping() {
    up_and_back(&Up::Ping);
}

#[test]
fn limits() {
    let mut out = [0; 4096];
    let long = "x".repeat(200);
    let command = |name| Command {
        id: CommandId([1; 16]),
        device: DeviceId::parse("lock-07").unwrap(),
        name,
        argument: None,
        expires_us: 0,
    };
    assert!(command(&long[..MAX_NAME]).encode(&mut out).is_ok());
    let error = Error::TooLong {
        field: "name",
        max: MAX_NAME,
    };
    assert_eq!(command(&long[..MAX_NAME + 1]).encode(&mut out), Err(error));
    assert_eq!(
        command("").encode(&mut out),
        Err(Error::Invalid {
            field: "name",
            why: "is empty"
        })
    );
    let infinite = Command {
        argument: Some(Value::Number(f64::INFINITY)),
        ..command("set")
    };
    assert!(matches!(
        infinite.encode(&mut out),
        Err(Error::Invalid {
            field: "argument",
            ..
        })
    ));

    let status = |detail| Status {
        id: CommandId([1; 16]),
        state: State::Failed,
        at_us: 0,
        detail: Some(detail),
    };
    assert!(status(&long[..MAX_DETAIL]).encode(&mut out).is_ok());
    assert!(matches!(
        status(&long[..MAX_DETAIL + 1]).encode(&mut out),
        Err(Error::TooLong {
            field: "detail",
            ..
        })
    ));

    let batch = [0; MAX_LINK_BYTES + 1];
    up_and_back(&Up::Batch(&batch[..MAX_LINK_BYTES]));
    assert!(matches!(
        Up::Batch(&batch).encode(&mut out),
        Err(Error::TooLong { .. })
    ));
    assert_eq!(Up::Ping.encode(&mut [0; 1]), Err(Error::Space));

    let device = DeviceId::parse("a").unwrap();
    let run = Dropped {
        first: Seq(1),
        count: 1,
        reason: stencil_protocol::batch::DropReason::Reboot,
    };
    let loss = LossReport {
        device,
        boot: Boot(1),
        dropped: vec![run; MAX_DROPPED + 1],
    };
    assert!(matches!(
        loss.encode(),
        Err(Error::TooLong {
            field: "dropped",
            ..
        })
    ));
}

/// The longest of all that the limits allow fits into what is said to hold it.
#[test]
fn the_longest_fits_the_stated_sizes() {
    let long = "x".repeat(256);
    let command = Command {
        id: CommandId([1; 16]),
        device: DeviceId::parse(&long[..48]).unwrap(),
        name: &long[..MAX_NAME],
        argument: Some(Value::Text(&long)),
        expires_us: i64::MIN,
    };
    assert!(command.encode(&mut [0; MAX_COMMAND_BYTES]).is_ok());
    let detail = Some(&long[..MAX_DETAIL]);
    let status = Status {
        id: CommandId([1; 16]),
        state: State::Failed,
        at_us: i64::MIN,
        detail,
    };
    assert!(status.encode(&mut [0; MAX_STATUS_BYTES]).is_ok());
}

#[test]
fn what_is_wrong_is_said() {
    for (bytes, text) in [
        (&[0xa0][..], "the field `id` is missing"),
        (
            &[0xa1, 0x00, 0x41, 0x01],
            "expected a command id of 16 bytes at offset 2",
        ),
        (&[0xa1, 0x01, 0x61, b'/'], "`device` is not an id"),
        (&[0xa1, 0x04, 0xf6], "`argument` is not a finite number"),
        (&[0x01], "expected a command: a map at offset 0"),
    ] {
        let error = Command::decode(bytes).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    for (bytes, text) in [
        (&[0x80][..], "the field `message field` is missing"),
        (&[0x81, 0x09], "`kind` is unknown, known are 0 to 6"),
        (&[0x82, 0x03, 0x61, b'x'], "expected the time at offset 2"),
        (
            &[0x82, 0x03, 0x00, 0x00],
            "the message ends at offset 3, but more bytes follow",
        ),
    ] {
        assert_eq!(Down::decode(bytes).unwrap_err().to_string(), text);
    }
}

#[test]
fn chunks_and_versions_have_their_bounds() {
    let mut out = [0; MAX_MESSAGE_BYTES];
    let bytes = [0; MAX_CHUNK_BYTES + 1];
    let chunk = |length| {
        Down::Chunk(Chunk {
            name: [0xff; 12],
            offset: u32::MAX,
            bytes: &bytes[..length],
        })
    };
    down_and_back(&chunk(MAX_CHUNK_BYTES));
    let (field, max) = ("chunk", MAX_CHUNK_BYTES);
    let too_long = Err(Error::TooLong { field, max });
    assert_eq!(chunk(MAX_CHUNK_BYTES + 1).encode(&mut out), too_long);
    let empty = Error::Invalid {
        field,
        why: "is empty",
    };
    assert_eq!(chunk(0).encode(&mut out), Err(empty));
    // What others write is held to the same.
    let length = chunk(1).encode(&mut out).unwrap();
    out[length - 2] = 0x40;
    assert_eq!(Down::decode(&out[..length - 1]), Err(empty));

    let running = |version| {
        Up::Running(Running {
            digest: [1; 32],
            sequence: 2,
            version,
            vendor: [3; 16],
            class: [4; 16],
            max_image: 5,
            confirmed: 1,
            other: Slot {
                phase: Phase::Empty,
                name: None,
            },
            verdict: None,
        })
    };
    let long = "x".repeat(MAX_VERSION_BYTES + 1);
    up_and_back(&running(&long[1..]));
    for version in ["", "a b", "\u{e9}", long.as_str()] {
        assert!(running(version).encode(&mut out).is_err(), "{version:?}");
    }
    let length = running("1.2").encode(&mut out).unwrap();
    let at = out.windows(3).position(|text| text == b"1.2").unwrap();
    out[at + 1] = b' ';
    assert!(matches!(
        Up::decode(&out[..length]),
        Err(Error::Invalid {
            field: "version",
            ..
        })
    ));
    // A phase that nobody knows.
    out[at + 1] = b'.';
    let phase = length - 1;
    assert_eq!((out[phase - 1], out[phase]), (7, Phase::Empty as u8));
    out[phase] = 7;
    assert!(matches!(
        Up::decode(&out[..length]),
        Err(Error::Invalid { field: "phase", .. })
    ));
}

#[test]
fn a_header_has_its_length() {
    let mut out = [0; MAX_MESSAGE_BYTES];
    let length = Down::Offer(&[7; HEADER_BYTES]).encode(&mut out).unwrap();
    assert_eq!(length, 4 + HEADER_BYTES);
    out[3] -= 1;
    assert!(matches!(
        Down::decode(&out[..length - 1]),
        Err(Error::Unexpected { at: 2, .. })
    ));
}

mod keys {
    use stencil_protocol::keys::{Entry, Holds, MAX_ENTRIES, SealedKey, Update, Used};

    use super::*;

    fn sealed() -> impl Strategy<Value = SealedKey> {
        (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(generation, sealed)| SealedKey { generation, sealed })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        (
            device(),
            device(),
            proptest::collection::vec(sealed(), 0..3),
        )
            .prop_map(|(device, identity, keys)| Entry {
                device,
                identity,
                keys,
            })
    }

    proptest! {
        #[test]
        fn updates_come_back(
            epoch: u64,
            after in 0..1000_u64,
            more in 0..1000_u64,
            beyond in 0..1000_u64,
            encapsulated in proptest::collection::vec(any::<u8>(), 0..40),
            entries in proptest::collection::vec(entry(), 0..5),
        ) {
            let through = after + more;
            let last = through + beyond;
            let update = Update { epoch, after, through, encapsulated, entries, last };
            let bytes = update.encode().unwrap();
            prop_assert_eq!(&Update::decode(&bytes).unwrap(), &update);
            for cut in 0..bytes.len() {
                prop_assert!(Update::decode(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn what_a_gateway_says_comes_back(
            epoch: u64,
            revision: u64,
            public_key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            device in device(),
            at_us: i64,
        ) {
            let holds = Holds { epoch, revision, public_key };
            prop_assert_eq!(&Holds::decode(&holds.encode()).unwrap(), &holds);
            let used = Used { device, generation: revision, at_us };
            prop_assert_eq!(&Used::decode(&used.encode()).unwrap(), &used);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Update::decode(&bytes);
            let _ = Holds::decode(&bytes);
            let _ = Used::decode(&bytes);
        }
    }

    #[test]
    fn bounds_hold_on_both_sides() {
        let device = stencil_protocol::id::DeviceId::parse("a").unwrap();
        let entry = Entry {
            identity: device.clone(),
            device,
            keys: Vec::new(),
        };
        let mut update = Update {
            epoch: 1,
            after: 0,
            through: 1,
            encapsulated: Vec::new(),
            entries: vec![entry; MAX_ENTRIES + 1],
            last: 1,
        };
        let too_long = Error::TooLong {
            field: "entries",
            max: MAX_ENTRIES,
        };
        assert_eq!(update.encode(), Err(too_long));
        update.entries.truncate(1);
        update.after = 2;
        let bytes = update.encode().unwrap();
        assert!(matches!(
            Update::decode(&bytes),
            Err(Error::Invalid {
                field: "through",
                ..
            })
        ));
        (update.after, update.last) = (0, 0);
        let bytes = update.encode().unwrap();
        assert!(matches!(
            Update::decode(&bytes),
            Err(Error::Invalid { field: "last", .. })
        ));
    }
}
