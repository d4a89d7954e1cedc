//! Commands that wait for their device, or for its answer.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use stencil_protocol::{
    command::{self, Command, State},
    id::{CommandId, DeviceId},
};

use tokio::sync::broadcast;

use crate::options;

/// What devices say that may wait for those who listen; with more these miss some.
const OUTCOMES: usize = 256;

/// All commands that the gateway holds. In memory only: the hub sends what is outstanding again
/// when the gateway subscribes.
pub(crate) struct Commands {
    options: options::Commands,
    held: Mutex<Held>,
    told: broadcast::Sender<(CommandId, State)>,
}

#[derive(Default)]
struct Held {
    devices: HashMap<DeviceId, VecDeque<Waiting>>,
    total: usize,
}

struct Waiting {
    id: CommandId,
    /// As [`Command::encode`] wrote it.
    bytes: Vec<u8>,
    expires_us: i64,
    /// Over which link it went last, and when.
    sent: Option<(u64, Instant)>,
    /// Nobody had it before us, and we have had it since.
    first: bool,
}

/// What became of a command that the hub has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Held,
    /// It is held already: the hub has sent it again.
    Known,
    /// There is no room for it.
    Full,
}

impl Commands {
    pub(crate) fn new(options: options::Commands) -> Self {
        Self {
            options,
            held: Mutex::default(),
            told: broadcast::Sender::new(OUTCOMES),
        }
    }

    /// Takes a command; nobody had it before, if it is the `first` time.
    pub(crate) fn offer(
        &self,
        command: &Command<'_>,
        first: bool,
    ) -> Result<Offer, command::Error> {
        let mut bytes = vec![0; command::MAX_COMMAND_BYTES];
        let length = command.encode(&mut bytes)?;
        bytes.truncate(length);
        let mut held = self.held();
        let waiting = held.devices.get(&command.device);
        if waiting.is_some_and(|waiting| waiting.iter().any(|waiting| waiting.id == command.id)) {
            return Ok(Offer::Known);
        }
        if held.total >= self.options.max_total
            || waiting.map_or(0, VecDeque::len) >= self.options.max_per_device
        {
            return Ok(Offer::Full);
        }
        held.total += 1;
        held.devices
            .entry(command.device.clone())
            .or_default()
            .push_back(Waiting {
                id: command.id,
                bytes,
                expires_us: command.expires_us,
                sent: None,
                first,
            });
        Ok(Offer::Held)
    }

    /// The commands to send to `device` now over this link: those that it hasn't got over it, and
    /// those that it has not answered for long.
    pub(crate) fn due(&self, device: &DeviceId, link: u64, now: Instant) -> Vec<Vec<u8>> {
        let resend = Duration::from_millis(self.options.resend_ms);
        let mut held = self.held();
        let Some(waiting) = held.devices.get_mut(device) else {
            return Vec::new();
        };
        waiting
            .iter_mut()
            .filter(|waiting| {
                waiting.sent.is_none_or(|(over, at)| {
                    over != link || now.saturating_duration_since(at) >= resend
                })
            })
            .map(|waiting| {
                waiting.sent = Some((link, now));
                waiting.bytes.clone()
            })
            .collect()
    }

    /// What devices say of commands from now on.
    pub(crate) fn outcomes(&self) -> broadcast::Receiver<(CommandId, State)> {
        self.told.subscribe()
    }

    /// Tells whoever listens what a device has said of a command.
    pub(crate) fn said(&self, id: CommandId, state: State) {
        // Mostly nobody listens.
        let _ = self.told.send((id, state));
    }

    /// The device has said something about the command: it has it.
    pub(crate) fn answered(&self, device: &DeviceId, id: CommandId) {
        self.held().remove(device, |waiting| waiting.id == id);
    }

    /// Lets go what has expired; gives those that no device can have got, which only the gateway
    /// knows. Of others their device may have something to say: before a restart, or behind
    /// another gateway, it may have got them.
    pub(crate) fn expire(&self, now_us: i64) -> Vec<(DeviceId, CommandId)> {
        let mut held = self.held();
        let devices: Vec<DeviceId> = held.devices.keys().cloned().collect();
        let mut never_sent = Vec::new();
        for device in devices {
            held.remove(&device, |waiting| {
                let expired = waiting.expires_us < now_us;
                if expired && waiting.first && waiting.sent.is_none() {
                    never_sent.push((device.clone(), waiting.id));
                }
                expired
            });
        }
        never_sent
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.held().total
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn remove(&mut self, device: &DeviceId, mut which: impl FnMut(&Waiting) -> bool) {
        let Some(waiting) = self.devices.get_mut(device) else {
            return;
        };
        let before = waiting.len();
        waiting.retain(|waiting| !which(waiting));
        let left = waiting.len();
        self.total -= before - left;
        if left == 0 {
            self.devices.remove(device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(n: u8, device: &str, expires_us: i64) -> Command<'static> {
        Command {
            id: CommandId([n; 16]),
            device: DeviceId::parse(device).unwrap(),
            name: "lock",
            argument: None,
            expires_us,
        }
    }

    fn commands() -> Commands {
        Commands::new(options::Commands {
            max_per_device: 2,
            max_total: 3,
            resend_ms: 1_000,
        })
    }

    #[test]
    fn a_command_is_sent_once_a_link_and_again_when_unanswered() {
        let commands = commands();
        let lock = DeviceId::parse("lock").unwrap();
        assert_eq!(
            commands.offer(&command(1, "lock", 9), true),
            Ok(Offer::Held)
        );
        assert_eq!(
            commands.offer(&command(1, "lock", 9), true),
            Ok(Offer::Known)
        );
        let start = Instant::now();
        let sent = commands.due(&lock, 1, start);
        assert_eq!(Command::decode(&sent[0]).unwrap(), command(1, "lock", 9));
        assert!(
            commands
                .due(&lock, 1, start + Duration::from_millis(999))
                .is_empty()
        );
        assert_eq!(
            commands
                .due(&lock, 1, start + Duration::from_millis(1_000))
                .len(),
            1
        );
        assert_eq!(
            commands
                .due(&lock, 2, start + Duration::from_millis(1_001))
                .len(),
            1
        );
        commands.answered(&lock, CommandId([1; 16]));
        assert!(commands.due(&lock, 3, start).is_empty());
        assert_eq!(commands.len(), 0);
    }

    #[test]
    fn there_is_a_bound_a_device_and_one_in_all() {
        let commands = commands();
        for (n, device, offer) in [
            (1, "a", Offer::Held),
            (2, "a", Offer::Held),
            (3, "a", Offer::Full),
            (4, "b", Offer::Held),
            (5, "c", Offer::Full),
        ] {
            assert_eq!(commands.offer(&command(n, device, 9), true), Ok(offer));
        }
    }

    #[test]
    fn only_what_was_never_sent_expires_by_the_gateways_word() {
        let commands = commands();
        let (a, b) = (DeviceId::parse("a").unwrap(), DeviceId::parse("b").unwrap());
        commands.offer(&command(1, "a", 10), true).unwrap();
        commands.offer(&command(2, "b", 10), true).unwrap();
        commands.offer(&command(3, "b", 20), true).unwrap();
        commands.due(&a, 1, Instant::now());
        assert_eq!(commands.expire(10), []);
        assert_eq!(commands.expire(11), [(b.clone(), CommandId([2; 16]))]);
        assert_eq!(commands.len(), 1);
        assert_eq!(commands.due(&b, 1, Instant::now()).len(), 1);
        // Somebody had it before us: not for us to say.
        commands.offer(&command(4, "c", 20), false).unwrap();
        assert_eq!(commands.expire(21), []);
        assert_eq!(commands.len(), 0);
    }
}
