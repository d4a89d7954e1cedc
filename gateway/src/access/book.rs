//! The receipts, as those who must not block ask them.

use std::sync::{Arc, Mutex, MutexGuard};

use stencil_protocol::{
    command::State,
    id::{CommandId, DeviceId},
};
use tokio::sync::Notify;

use super::receipts::{Receipts, Theirs};

/// The receipts that the hub has not yet.
pub(super) struct Book {
    receipts: Mutex<Receipts>,
    theirs: Theirs,
    /// There may be something for the hub.
    pub(super) news: Notify,
}

impl Book {
    pub(super) fn of(receipts: Receipts) -> Arc<Self> {
        Arc::new(Self {
            theirs: receipts.theirs().clone(),
            receipts: Mutex::new(receipts),
            news: Notify::new(),
        })
    }

    /// The receipts. They are held while one of them is written: blocks.
    pub(super) fn lock(&self) -> MutexGuard<'_, Receipts> {
        super::lock(&self.receipts)
    }

    /// A device says how a command stands; when this returns, what became of it is on disk, and goes to the hub
    /// with its receipt. `false`: it is no command of one of these, or not this device's. That it is none costs nothing, and waits for nobody.
    pub(super) async fn said(
        self: &Arc<Self>,
        device: &DeviceId,
        command: CommandId,
        state: State,
    ) -> bool {
        if !self.theirs.has(command) {
            return false;
        }
        let (book, device) = (Arc::clone(self), device.clone());
        // Who waits for this may be gone before it is done: the hub is told all the same.
        let noting = tokio::task::spawn_blocking(move || {
            let noted = book.lock().said(&device, command, state);
            if noted && state.is_settled() {
                book.news.notify_one();
            }
            noted
        });
        noting.await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::access::receipts::tests::{locker, note, open};

    #[tokio::test]
    async fn what_a_device_says_of_a_command_of_the_hub_s_waits_for_no_receipt() {
        let dir = tempfile::tempdir().unwrap();
        let mut receipts = open(dir.path());
        receipts.note(note(1)).unwrap();
        let book = Book::of(receipts);
        let (locker, id) = (locker(), |n| CommandId([n; 16]));
        let mut context = Context::from_waker(Waker::noop());
        let mut of_a_holder = pin!(book.said(&locker, id(1), State::Done));
        {
            // One is being written.
            let _held = book.lock();
            let of_the_hub = pin!(book.said(&locker, id(9), State::Done));
            assert_eq!(of_the_hub.poll(&mut context), Poll::Ready(false));
            assert_eq!(of_a_holder.as_mut().poll(&mut context), Poll::Pending);
        }
        assert!(of_a_holder.await);
    }
}
