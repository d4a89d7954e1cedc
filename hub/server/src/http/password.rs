//! Passwords: what one has to be, and its hash (Argon2id, RFC 9106, kept as a PHC string).

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use rand_core::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};

/// The fewest characters of a password.
pub(super) const MIN_CHARACTERS: usize = 12;
/// The longest password in bytes.
pub(super) const MAX_BYTES: usize = 256;
/// Fewer different characters than this are no password.
const MIN_DIFFERENT: usize = 5;
const SALT_BYTES: usize = 16;
/// Requests that wait for their turn, for each that has it.
const WAITING: usize = 16;

/// A hash with the same costs that belongs to no password: what is compared where there is no
/// user, so that the time tells nothing.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$c3RlbmNpbCBub2JvZHkncw\
                       $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What is wrong with a password; `None`: it is taken.
pub(super) fn weakness(password: &str, user: &str) -> Option<String> {
    let characters = password.chars().count();
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    if characters < MIN_CHARACTERS {
        Some(format!(
            "The password has {characters} characters; use {MIN_CHARACTERS} or more, a few words for example."
        ))
    } else if password.len() > MAX_BYTES {
        Some(format!(
            "The password is longer than {MAX_BYTES} bytes; use a shorter one."
        ))
    } else if different.len() < MIN_DIFFERENT {
        Some(format!(
            "The password has fewer than {MIN_DIFFERENT} different characters; use a few words for example."
        ))
    } else if password.to_lowercase().replace(user, "").chars().count() < MIN_CHARACTERS / 2 {
        Some("The password is little more than your name; use other words.".to_owned())
    } else {
        None
    }
}

/// Whether somebody has shown more than what they typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// By a session, a one-time link, or the cookie of a browser that has signed in before.
    Known,
    /// By nothing: it may be one of a flood.
    Unknown,
}

/// The room in which passwords are hashed: a few at a time, since each takes memory and a moment of
/// a processor, some that wait, and no more. Who is known waits apart, and behind one at most of the
/// others: however many of these come, they neither take the room nor hold the line.
#[derive(Debug)]
pub(super) struct Passwords {
    /// First come, first served.
    turns: Arc<Semaphore>,
    /// Places for those that are known, and for others.
    known: Arc<Semaphore>,
    unknown: Arc<Semaphore>,
    /// The one of the others that stands in the line for a turn.
    next_unknown: Semaphore,
    /// What passwords are verified in, one for each turn that was ever taken at a time: 19 MiB that
    /// come and go would leave the heap in pieces, and it would grow by hundreds of MiB.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Passwords {
    /// Room for so many at a time.
    pub(super) fn new(at_a_time: usize) -> Self {
        let turns = at_a_time.clamp(1, 1_024);
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            known: Arc::new(Semaphore::new(turns * (1 + WAITING))),
            unknown: Arc::new(Semaphore::new(turns * (1 + WAITING))),
            next_unknown: Semaphore::new(1),
            memory: Arc::default(),
        }
    }

    /// The PHC string of a password, which somebody sets who has shown that they may.
    pub(super) async fn hash(&self, password: String) -> Result<String, Problem> {
        let mut salt = [0; SALT_BYTES];
        stencil_crypto::rng::Os.fill_bytes(&mut salt);
        let hashed = self.work(Standing::Known, move || {
            let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
            hashed.map(|hash| hash.to_string())
        });
        hashed.await?.map_err(Problem::internal)
    }

    /// Whether a password is that of a PHC string. Without one it is not, which takes as long.
    pub(super) async fn is(
        &self,
        password: String,
        kept: Option<String>,
        standing: Standing,
    ) -> Result<bool, Problem> {
        let known = kept.is_some();
        let pool = Arc::clone(&self.memory);
        let verified = self.work(standing, move || {
            let held = || pool.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = held().pop().unwrap_or_default();
            let kept = kept.as_deref().unwrap_or(NOBODYS);
            let right = verify(password.as_bytes(), kept, &mut memory);
            held().push(memory);
            right
        });
        let right = verified.await?.map_err(Problem::internal)?;
        Ok(known && right)
    }

    async fn work<T: Send + 'static>(
        &self,
        standing: Standing,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let room = match standing {
            Standing::Known => &self.known,
            Standing::Unknown => &self.unknown,
        };
        let place = Arc::clone(room).try_acquire_owned();
        let place = place.map_err(|_| Problem::new(Kind::Busy, "too many sign in right now"))?;
        let next = match standing {
            Standing::Known => None,
            Standing::Unknown => {
                let next = self.next_unknown.acquire().await;
                Some(next.map_err(Problem::internal)?)
            }
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(Problem::internal)?;
        drop(next);
        // Both go with the work, not with the request: who goes away does not make room for more.
        let worked = tokio::task::spawn_blocking(move || {
            let _held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (place, turn);
            work()
        });
        worked.await.map_err(Problem::internal)
    }
}

/// Whether a password is that of a PHC string; in constant time, as outputs are compared.
fn verify(password: &[u8], kept: &str, memory: &mut Vec<Block>) -> Result<bool, String> {
    let kept = PasswordHash::new(kept).map_err(|error| error.to_string())?;
    let params = Params::try_from(&kept).map_err(|error| error.to_string())?;
    let (Some(salt), Some(output)) = (kept.salt, kept.hash) else {
        return Err("a hash without a salt or an output".to_owned());
    };
    memory.resize(params.block_count(), Block::default());
    let mut found = vec![0; output.as_bytes().len()];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt.as_ref(), &mut found, memory.as_mut_slice())
        .map_err(|error| error.to_string())?;
    let found = Output::new(&found).map_err(|error| error.to_string())?;
    Ok(found == output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_itself_and_no_other() {
        let passwords = Passwords::new(2);
        let hash = passwords.hash("correct horse battery".to_owned());
        let hash = hash.await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let again = passwords.hash("correct horse battery".to_owned());
        assert_ne!(hash, again.await.unwrap(), "salted");
        for (password, kept, right) in [
            ("correct horse battery", Some(hash.clone()), true),
            ("correct horse batterz", Some(hash.clone()), false),
            ("", Some(hash), false),
            ("correct horse battery", None, false),
        ] {
            let is = passwords
                .is(password.to_owned(), kept, Standing::Unknown)
                .await
                .unwrap();
            assert_eq!(is, right, "{password}");
        }
        let damaged = passwords.is(
            "any".to_owned(),
            Some("no hash".to_owned()),
            Standing::Unknown,
        );
        assert!(damaged.await.is_err());
    }

    #[test]
    fn nobodys_hash_costs_what_others_cost() {
        let nobodys = PasswordHash::new(NOBODYS).unwrap();
        let params = argon2::Params::try_from(&nobodys).unwrap();
        assert_eq!(params.m_cost(), argon2::Params::DEFAULT_M_COST);
        assert_eq!(params.t_cost(), argon2::Params::DEFAULT_T_COST);
        assert_eq!(params.p_cost(), argon2::Params::DEFAULT_P_COST);
    }

    #[test]
    fn what_is_easily_guessed_is_no_password() {
        for (password, user, told) in [
            ("", "ann", "0 characters"),
            ("short", "ann", "12 or more"),
            ("aaaaaaaaaaaaaaaa", "ann", "different"),
            ("christine-christine1", "christine", "your name"),
            (&"ab3d5".repeat(60), "ann", "256 bytes"),
        ] {
            let why = weakness(password, user).expect(password);
            assert!(why.contains(told), "{password}: {why}");
        }
        for password in ["correct horse battery", "ümläut wörds ok", "q7#kP2!vvZ9$m"] {
            assert_eq!(weakness(password, "ann"), None, "{password}");
        }
    }

    #[tokio::test]
    async fn so_many_wait_and_no_more_and_who_is_known_comes_next() {
        let passwords = Arc::new(Passwords::new(1));
        let held = Arc::clone(&passwords.turns).acquire_owned().await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        let mut wait = |standing| {
            let (passwords, order) = (Arc::clone(&passwords), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let worked = passwords.work(standing, move || order.lock().unwrap().push(standing));
                worked.await.is_ok()
            }));
        };
        for _ in 0..=WAITING {
            wait(Standing::Unknown);
        }
        while passwords.unknown.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(passwords.work(Standing::Unknown, || ()).await.is_err());
        // There is room for who is known all the same.
        wait(Standing::Known);
        while passwords.known.available_permits() > WAITING {
            tokio::task::yield_now().await;
        }
        drop(held);
        for one in waiting {
            assert!(one.await.unwrap());
        }
        let order = order.lock().unwrap().clone();
        let place = order.iter().position(|who| *who == Standing::Known);
        assert_eq!((order.len(), place), (WAITING + 2, Some(1)));
        assert!(passwords.work(Standing::Unknown, || ()).await.is_ok());
    }
}
