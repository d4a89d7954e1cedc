//! What is done for one thing at a time, whatever is done for others meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Turns of things by their ids. There are as many as there are of who waits.
#[derive(Debug, Default)]
pub(super) struct OneByOne(Mutex<HashMap<[u8; 16], Arc<Turn<()>>>>);

impl OneByOne {
    /// Waits for the turn of one, which ends when what is given is dropped.
    pub(super) async fn turn(&self, id: [u8; 16]) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has or waits for a turn has a share of it.
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(all.entry(id).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_waits_for_the_same_and_for_no_other() {
        let turns = Arc::new(OneByOne::default());
        let first = turns.turn([1; 16]).await;
        drop(turns.turn([2; 16]).await);
        let second = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { drop(turns.turn([1; 16]).await) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap();
        drop(turns.turn([3; 16]).await);
        assert_eq!(
            turns.0.lock().unwrap().len(),
            1,
            "what nobody has is forgotten"
        );
    }
}
