use stencil_protocol::{batch::Batch, line::Line};

use super::*;

const LINE: u16 = Line::ModbusTcp.id();

fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

fn open_as(folder: &Path, gateway: &str) -> Ends {
    let tenant = TenantId::parse("acme").unwrap();
    let gateway = GatewayId::parse(gateway).unwrap();
    Ends::open(folder, &tenant, &gateway, 1).unwrap()
}

fn open(folder: &Path) -> Ends {
    open_as(folder, "gw-1")
}

/// Device, boot, last number, and what of it is lost.
type Told = (String, u32, u64, Vec<(u64, u32)>);

/// What is told at a start, again or not.
fn told(ends: &Ends) -> Vec<Told> {
    told_if(ends, true)
}

fn told_if(ends: &Ends, again: bool) -> Vec<Told> {
    let read = |(_, entry): (DeviceId, Vec<u8>)| {
        let entry = Entry::parse(&entry).unwrap();
        assert_eq!((entry.kind, entry.suite), (Kind::Batch, Some(LINE)));
        let batch = Batch::decode(entry.payload).unwrap();
        let header = batch.header();
        assert!(batch.is_empty());
        assert!(
            header
                .dropped
                .iter()
                .all(|run| run.reason == DropReason::Reboot)
        );
        let lost = header.dropped.iter().map(|run| (run.first.0, run.count));
        let device = entry.device.to_string();
        (device, header.boot.0, header.last_given.0, lost.collect())
    };
    ends.tellings(again).into_iter().map(read).collect()
}

fn give(ends: &mut Ends, name: &str, boot: u32, last: u64) {
    ends.given(&device(name), Boot(boot), LINE, Seq(last));
}

fn spool(ends: &mut Ends, name: &str, boot: u32, through: u64, at: u64) {
    ends.spooled(&device(name), Boot(boot), Seq(through), Position(at));
}

#[tokio::test]
async fn what_was_given_is_told_and_what_was_not_on_disk_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = open(dir.path());
    assert_eq!(told(&ends), []);
    give(&mut ends, "press-1", 7, 12);
    give(&mut ends, "meter-1", 8, 3);
    spool(&mut ends, "press-1", 7, 5, 100);
    spool(&mut ends, "meter-1", 8, 3, 150);
    spool(&mut ends, "press-1", 7, 9, 200);
    ends.committed(Position(199));
    assert!(!ends.is_settled());
    let left = Left {
        samples: 7,
        devices: vec![device("press-1")],
    };
    assert_eq!(ends.left(), left);
    ends.note().await;
    assert!(!ends.has_changed());
    let again = open(dir.path());
    let all = [
        ("meter-1".to_owned(), 8, 3, vec![]),
        ("press-1".to_owned(), 7, 12, vec![(6, 7)]),
    ];
    assert_eq!(told(&again), all);
    assert_eq!(
        again.left(),
        Left::default(),
        "of this start there is nothing"
    );
}

#[tokio::test]
async fn the_newest_boots_are_told_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    for boot in 1..=6 {
        let mut ends = open(dir.path());
        give(&mut ends, "press-1", boot, 10);
        spool(&mut ends, "press-1", boot, 10, 1);
        ends.committed(Position(1));
        ends.note().await;
    }
    let boots: Vec<_> = told(&open(dir.path())).iter().map(|it| it.1).collect();
    assert_eq!(boots, [6, 5, 4, 3]);
}

#[tokio::test]
async fn a_torn_slot_and_those_of_another_gateway_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = open(dir.path());
    give(&mut ends, "a", 1, 1);
    give(&mut ends, "b", 2, 2);
    ends.note().await;
    assert_eq!(told(&open_as(dir.path(), "gw-2")), []);
    let path = dir.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    for byte in 0..SLOT_BYTES {
        let mut torn = whole.clone();
        torn[byte] ^= 1;
        std::fs::write(&path, torn).unwrap();
        let devices: Vec<_> = told(&open(dir.path())).into_iter().map(|it| it.0).collect();
        assert_eq!(devices, ["b"], "byte {byte}");
    }
    std::fs::write(&path, &whole[..SLOT_BYTES + 7]).unwrap();
    assert_eq!(told(&open(dir.path())).len(), 1, "cut off");
}

/// While the hub is away what was told lies in the spool: restarts do not fill it.
#[tokio::test]
async fn what_is_in_the_spool_is_not_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = open(dir.path());
    give(&mut ends, "press-1", 1, 4);
    ends.note().await;
    let mut ends = open(dir.path());
    assert_eq!(told_if(&ends, false).len(), 1);
    ends.told(device("press-1"), Position(50), true);
    give(&mut ends, "press-1", 2, 6);
    ends.committed(Position(50));
    ends.note().await;
    let ends = open(dir.path());
    let boots: Vec<_> = told_if(&ends, false).iter().map(|it| it.1).collect();
    assert_eq!(boots, [2], "the one that has ended since");
    assert_eq!(told_if(&ends, true).len(), 2);
}

#[tokio::test]
async fn a_device_that_is_read_no_more_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = open(dir.path());
    give(&mut ends, "press-1", 1, 4);
    ends.note().await;
    let mut ends = open(dir.path());
    ends.told(device("press-1"), Position(50), false);
    ends.committed(Position(49));
    assert_eq!(told(&ends).len(), 1, "not on disk");
    ends.committed(Position(50));
    ends.note().await;
    assert_eq!(told(&open(dir.path())), []);
}

#[tokio::test]
async fn room_is_taken_at_the_start_and_slots_are_written_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = open(dir.path());
    let path = dir.path().join(FILE);
    let length = std::fs::metadata(&path).unwrap().len();
    assert_eq!(length, SLOTS_AT_ONCE * SLOT_BYTES as u64);
    for n in 0..SLOTS_AT_ONCE {
        give(&mut ends, &format!("d{n}"), 1, 1);
    }
    ends.note().await;
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    give(&mut ends, "one-more", 1, 1);
    ends.note().await;
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * length);
    assert_eq!(told(&open(dir.path())).len() as u64, SLOTS_AT_ONCE + 1);
}
