//! What devices were told because of payments, and what they did: by their own count.

use std::collections::{BTreeMap, BTreeSet};

use crate::board::BoardDevice;
use crate::process::{Gateway, Site};

/// Each is opened for some of the invoices that are paid, at three confirmations; shut when the payment is
/// gone. Several, as a device remembers 64 commands that have not expired, and takes no more.
const DOORS: [&str; 4] = ["door-0", "door-1", "door-2", "door-3"];
/// Rung for each payment through the contract at once; hushed when it is gone.
const BELL: &str = "bell";
/// Differences that are told.
const MOST: usize = 5;

/// The workflows, by their names.
pub(crate) fn workflows(contract: &str) -> [(&'static str, String); 2] {
    let paid = "id: paid
version: 1
on: { payment: { reference: \"order-*\" } }
steps:
  - id: open
    use: device.command
    with: { device: \"door-{{ event.metadata.door }}\", command: open, argument: \"{{ event.reference }}\", expires: 1m }
    finality: { confirmations: 3 }
    undo: { command: shut, argument: \"{{ event.reference }}\", patience: 0s, expires: 1m }
  - id: note
    use: content.upsert
    with: { collection: paid, key: \"{{ event.reference }}\", set: { invoice: \"{{ event.invoice }}\" } }
    finality: { confirmations: 3 }
";
    let came = format!(
        "id: came
version: 1
on: {{ chain: {{ name: dev, address: \"{contract}\", event: \"Paid(bytes32 indexed invoice, address indexed payer, address indexed token, uint256 amount, uint256 received)\" }} }}
steps:
  - id: ring
    use: device.command
    with: {{ device: {BELL}, command: ring, argument: \"{{{{ event.tx }}}}:{{{{ event.ordinal }}}}\", expires: 30s }}
    finality: included
    undo: {{ command: hush, argument: \"{{{{ event.tx }}}}:{{{{ event.ordinal }}}}\", patience: 0s, expires: 30s }}
"
    );
    [("paid", paid.to_owned()), ("came", came)]
}

/// Which door is opened for an order.
pub(crate) fn door(order: u64) -> String {
    (order % DOORS.len() as u64).to_string()
}

/// A gateway with the devices behind it.
pub(crate) struct Doors {
    doors: Vec<BoardDevice>,
    bell: BoardDevice,
    _gateway: Gateway,
}

/// How often devices did what they were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acts {
    pub(crate) acted: u32,
    pub(crate) undone: u32,
}

impl Doors {
    pub(crate) fn new(site: &Site) -> Self {
        let names = [&DOORS[..], &[BELL]].concat();
        let (gateway, psks) = site.gateway(&names);
        let devices = names.iter().zip(psks).map(|(name, psk)| {
            let device = BoardDevice::on(name, psk);
            device.find(gateway.link);
            device
        });
        let mut doors: Vec<BoardDevice> = devices.collect();
        Self {
            bell: doors.pop().unwrap(),
            doors,
            _gateway: gateway,
        }
    }

    /// What each invoice did to its door, by its reference, and each event to the bell.
    pub(crate) fn acts(&self) -> [BTreeMap<String, Acts>; 2] {
        let acts = |devices: &[BoardDevice], undo: &str| {
            let mut acts: BTreeMap<String, Acts> = BTreeMap::new();
            for ((command, argument), times) in devices.iter().flat_map(BoardDevice::done) {
                let of = acts.entry(argument).or_default();
                if command == undo {
                    of.undone += times;
                } else {
                    of.acted += times;
                }
            }
            acts
        };
        let bells = std::slice::from_ref(&self.bell);
        [acts(&self.doors, "shut"), acts(bells, "hush")]
    }

    /// Causes whose net effect is not one, or, of those that the chain does not have, none.
    pub(crate) fn differences(
        &self,
        paid: &BTreeSet<String>,
        events: &BTreeSet<String>,
    ) -> Vec<String> {
        let [door, bell] = self.acts();
        let mut differences = compare("a door, for", &door, paid);
        differences.extend(compare("the bell, for", &bell, events));
        differences
    }

    /// All acts on both.
    pub(crate) fn total(&self) -> [Acts; 2] {
        self.acts().map(|acts| {
            let mut total = Acts::default();
            for of in acts.values() {
                total.acted += of.acted;
                total.undone += of.undone;
            }
            total
        })
    }
}

fn compare(what: &str, acts: &BTreeMap<String, Acts>, there: &BTreeSet<String>) -> Vec<String> {
    let mut differences = Vec::new();
    let causes: BTreeSet<&String> = acts.keys().chain(there).collect();
    for cause in causes {
        let Acts { acted, undone } = acts.get(cause).copied().unwrap_or_default();
        let wanted = i64::from(there.contains(cause));
        if i64::from(acted) - i64::from(undone) != wanted {
            differences.push(format!(
                "{what} {cause}: acted {acted} times and undone {undone} times, and the chain has its cause {wanted} times"
            ));
        }
    }
    differences.truncate(MOST);
    differences
}
