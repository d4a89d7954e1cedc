//! Commands: each is carried out at most once, and its outcome is told until
//! the gateway has confirmed it, across any number of resets.
//!
//! A command is written to retained memory before it is carried out, and its
//! outcome after. One that was begun but not ended when the board reset is
//! reported as failed: nobody knows whether the bolt moved, and moving it
//! twice would be worse. Ids stay known until the command has expired and the
//! room is needed, so that one that is offered again is answered, not carried
//! out again. Whatever expires no later than a forgotten command counts as
//! expired from then on, even if a gateway sets the clock back.

use heapless::{String, Vec};
use stencil_protocol::command::{Command, State, Status};
use stencil_protocol::id::CommandId;

/// How many commands may wait for the gateway to confirm their outcome.
pub const OPEN_COMMANDS: usize = 16;
/// How many ended commands are remembered until they expire.
pub const CLOSED_COMMANDS: usize = 64;
/// The longest explanation of a failure that is kept, in bytes.
pub const MAX_DETAIL_BYTES: usize = 64;

const INTERRUPTED: &str = "the device restarted while it carried this out";

/// A command whose statuses the gateway has not all confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) id: CommandId,
    pub(crate) expires_us: i64,
    /// `Acknowledged` while it is carried out, then how it ended.
    pub(crate) state: State,
    pub(crate) taken_us: i64,
    pub(crate) ended_us: i64,
    pub(crate) detail: String<MAX_DETAIL_BYTES>,
    /// The gateway has not confirmed `Acknowledged` yet.
    pub(crate) tell_taken: bool,
    /// Sent on this link since the last time-out; not retained.
    pub(crate) taken_sent: bool,
    pub(crate) ended_sent: bool,
}

/// A command that is over and confirmed, remembered so as not to repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) id: CommandId,
    pub(crate) expires_us: i64,
    pub(crate) state: State,
    pub(crate) ended_us: i64,
    /// It was offered again and is answered once more; not retained.
    pub(crate) echo: bool,
}

/// The commands that a device remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    pub(crate) open: Vec<Open, OPEN_COMMANDS>,
    pub(crate) closed: Vec<Closed, CLOSED_COMMANDS>,
    /// The latest expiry of a command that was forgotten.
    pub(crate) forgotten_us: i64,
}

/// What to do with a command that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Retain, carry out, then [`Commands::end`].
    Execute,
    /// It was taken before; its statuses are told again.
    Repeated,
    /// It came too late; that is told.
    Expired,
    /// No room to remember it, so it may not be carried out.
    Refused,
}

impl Commands {
    /// Decides about `command` at `now_us` (since the Unix epoch).
    pub(crate) fn admit(&mut self, command: &Command<'_>, now_us: i64) -> Admission {
        if let Some(open) = self.open.iter_mut().find(|open| open.id == command.id) {
            open.tell_taken = open.state != State::Expired;
            open.taken_sent = false;
            open.ended_sent = false;
            return Admission::Repeated;
        }
        if let Some(closed) = self
            .closed
            .iter_mut()
            .find(|closed| closed.id == command.id)
        {
            closed.echo = true;
            return Admission::Repeated;
        }
        if self.open.len() + self.closed.len() >= CLOSED_COMMANDS {
            self.forget(now_us);
        }
        if self.open.len() + self.closed.len() >= CLOSED_COMMANDS {
            return Admission::Refused;
        }
        let expired = command.expires_us <= now_us.max(self.forgotten_us);
        let taken = Open {
            id: command.id,
            expires_us: command.expires_us,
            state: if expired {
                State::Expired
            } else {
                State::Acknowledged
            },
            taken_us: now_us,
            ended_us: now_us,
            detail: String::new(),
            tell_taken: !expired,
            taken_sent: false,
            ended_sent: false,
        };
        match self.open.push(taken) {
            Err(_) => Admission::Refused,
            Ok(()) if expired => Admission::Expired,
            Ok(()) => Admission::Execute,
        }
    }

    /// Makes room by what has expired.
    fn forget(&mut self, now_us: i64) {
        let mut latest_us = self.forgotten_us;
        self.closed.retain(|closed| {
            let expired = closed.expires_us <= now_us;
            if expired {
                latest_us = latest_us.max(closed.expires_us);
            }
            !expired
        });
        self.forgotten_us = latest_us;
    }

    /// Notes how the command ended.
    pub(crate) fn end(&mut self, id: CommandId, outcome: Result<(), &str>, now_us: i64) {
        let Some(open) = self.open.iter_mut().find(|open| open.id == id) else {
            return;
        };
        open.ended_us = now_us;
        open.state = match outcome {
            Ok(()) => State::Done,
            Err(why) => {
                open.detail = shortened(why);
                State::Failed
            }
        };
    }

    /// After a reset: what was being carried out has failed.
    pub(crate) fn interrupted(&mut self) {
        for open in self
            .open
            .iter_mut()
            .filter(|open| open.state == State::Acknowledged)
        {
            open.state = State::Failed;
            open.detail = shortened(INTERRUPTED);
        }
    }

    /// Tells everything again that is not confirmed.
    pub(crate) fn resend(&mut self) {
        for open in &mut self.open {
            open.taken_sent = false;
            open.ended_sent = false;
        }
    }

    /// The next status to send, in the order in which they came about.
    pub(crate) fn due(&self) -> Option<Status<'_>> {
        for open in &self.open {
            if open.tell_taken && !open.taken_sent {
                return Some(Status {
                    id: open.id,
                    state: State::Acknowledged,
                    at_us: open.taken_us,
                    detail: None,
                });
            }
            if open.state != State::Acknowledged && !open.ended_sent {
                let detail = (!open.detail.is_empty()).then_some(open.detail.as_str());
                return Some(Status {
                    id: open.id,
                    state: open.state,
                    at_us: open.ended_us,
                    detail,
                });
            }
        }
        self.closed
            .iter()
            .find(|closed| closed.echo)
            .map(|closed| Status {
                id: closed.id,
                state: closed.state,
                at_us: closed.ended_us,
                detail: None,
            })
    }

    /// The status went out on the link.
    pub(crate) fn sent(&mut self, id: CommandId, state: State) {
        for open in self.open.iter_mut().filter(|open| open.id == id) {
            if state == State::Acknowledged {
                open.taken_sent = true;
            } else {
                open.ended_sent = true;
            }
        }
        for closed in self.closed.iter_mut().filter(|closed| closed.id == id) {
            closed.echo = false;
        }
    }

    /// The gateway holds the status durably. Returns whether that was news.
    pub(crate) fn confirm(&mut self, id: CommandId, state: State) -> bool {
        let Some(at) = self.open.iter().position(|open| open.id == id) else {
            return false;
        };
        let open = &mut self.open[at];
        if state == State::Acknowledged {
            return core::mem::take(&mut open.tell_taken);
        }
        if state != open.state {
            return false;
        }
        // What a command ended as implies that it was taken.
        let open = self.open.remove(at);
        let closed = Closed {
            id: open.id,
            expires_us: open.expires_us,
            state: open.state,
            ended_us: open.ended_us,
            echo: false,
        };
        // `admit` keeps a place here for every open command.
        let _ = self.closed.push(closed);
        true
    }

    /// How many commands have statuses that the gateway has not confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.open.len()
    }
}

pub(crate) fn shortened(text: &str) -> String<MAX_DETAIL_BYTES> {
    let mut kept = String::new();
    for letter in text.chars() {
        if kept.push(letter).is_err() {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_protocol::id::DeviceId;

    fn command(id: u8, expires_us: i64) -> Command<'static> {
        Command {
            id: CommandId([id; 16]),
            device: DeviceId::parse("lock-07").unwrap(),
            name: "lock",
            argument: None,
            expires_us,
        }
    }

    #[test]
    fn is_told_in_order_until_confirmed_and_never_admitted_twice() {
        let mut commands = Commands::default();
        let lock = command(1, 1_000);
        assert_eq!(commands.admit(&lock, 10), Admission::Execute);
        commands.end(lock.id, Ok(()), 20);
        let mut told = [State::Queued; 2];
        for state in &mut told {
            *state = commands.due().unwrap().state;
            commands.sent(lock.id, *state);
        }
        assert_eq!(told, [State::Acknowledged, State::Done]);
        assert_eq!(commands.due(), None);
        commands.resend();
        assert!(commands.confirm(lock.id, State::Acknowledged));
        assert_eq!(commands.due().unwrap().state, State::Done);
        assert!(commands.confirm(lock.id, State::Done));
        assert!(!commands.confirm(lock.id, State::Done));
        assert_eq!(commands.due(), None);
        assert_eq!(commands.admit(&lock, 30), Admission::Repeated);
        assert_eq!(commands.due().unwrap().state, State::Done);
        commands.sent(lock.id, State::Done);
        assert_eq!(commands.due(), None);
    }

    #[test]
    fn a_reset_in_the_middle_is_a_failure() {
        let mut commands = Commands::default();
        let lock = command(1, 1_000);
        commands.admit(&lock, 10);
        commands.interrupted();
        assert_eq!(commands.admit(&lock, 11), Admission::Repeated);
        commands.sent(lock.id, State::Acknowledged);
        let status = commands.due().unwrap();
        assert_eq!(
            (status.state, status.detail),
            (State::Failed, Some(INTERRUPTED))
        );
    }

    #[test]
    fn a_late_command_is_told_as_expired() {
        let mut commands = Commands::default();
        assert_eq!(commands.admit(&command(1, 10), 10), Admission::Expired);
        assert_eq!(commands.due().unwrap().state, State::Expired);
    }

    #[test]
    fn a_full_memory_refuses_until_commands_expire() {
        let mut commands = Commands::default();
        for id in 0..64 {
            assert_eq!(commands.admit(&command(id, 100), 1), Admission::Execute);
            commands.end(CommandId([id; 16]), Err("no"), 1);
            commands.confirm(CommandId([id; 16]), State::Failed);
        }
        assert_eq!(commands.admit(&command(200, 500), 99), Admission::Refused);
        assert_eq!(commands.admit(&command(200, 500), 100), Admission::Execute);
        // A forgotten one is too late for ever, even by a clock that was set back.
        assert_eq!(commands.admit(&command(3, 100), 50), Admission::Expired);
    }

    #[test]
    fn only_so_many_may_wait_for_confirmation() {
        let mut commands = Commands::default();
        for id in 0..16 {
            assert_eq!(commands.admit(&command(id, 100), 1), Admission::Execute);
        }
        assert_eq!(commands.admit(&command(77, 100), 1), Admission::Refused);
    }

    #[test]
    fn long_reasons_are_cut_at_a_letter() {
        assert_eq!(shortened(&"ä".repeat(33)).len(), 64);
        assert_eq!(shortened(&"a".repeat(99)).len(), 64);
    }
}
