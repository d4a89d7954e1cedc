//! Runs that have led to others by transactions that the hub sent, and how many may.
//!
//! What a run sends can be what a workflow waits for, its own too: an event of the contract that it calls, or
//! the payment of an invoice. So each run keeps which ones led to it, and one that too many have led to is not
//! started: it is kept as one that has failed, with the way on which it came about.

use stencil_protocol::id::TenantId;
use stencil_store::{CausingRun, Error};

use super::Triggers;

/// How much of a way is shown at its beginning and at its end.
const SHOWN: (usize, usize) = (9, 3);
/// What stands for a workflow of another tenant.
const ANOTHERS: &str = "(a workflow of another tenant)";

impl Triggers {
    /// The runs that led to the transactions that something was caused by, each on its chain: of that which
    /// most have led to.
    pub(super) async fn led_by(
        &self,
        txs: &[(String, [u8; 32])],
    ) -> Result<Vec<CausingRun>, Error> {
        let mut most = Vec::new();
        for (chain, tx) in txs {
            let led = self.0.store.caused.causes_of(chain, tx).await?;
            if led.len() > most.len() {
                most = led;
            }
        }
        Ok(most)
    }
}

/// Why a run of a workflow is not started that these have led to; `None`: it is.
pub(super) fn refusal(
    causes: &[CausingRun],
    tenant: &TenantId,
    workflow: &str,
    max_caused_runs: u32,
) -> Option<String> {
    if causes.len() < usize::try_from(max_caused_runs).unwrap_or(usize::MAX) {
        return None;
    }
    let is_it = |cause: &&CausingRun| cause.tenant == *tenant && cause.workflow == workflow;
    let itself = causes.iter().filter(is_it).count();
    let why = match itself {
        0 => format!("{} runs have led to it by what they sent", causes.len()),
        1 => "the workflow has caused itself once".to_owned(),
        times => format!("the workflow has caused itself {times} times"),
    };
    Some(format!(
        "not started: {why}: {}. Each sent a transaction that caused the next; the hub lets {max_caused_runs} \
         runs follow each other like that (`workflow.max_caused_runs`)",
        way(causes, tenant, workflow)
    ))
}

/// `a → b → a`; names of others' workflows are nobody's business.
fn way(causes: &[CausingRun], tenant: &TenantId, workflow: &str) -> String {
    let names = causes.iter().map(|cause| match cause.tenant == *tenant {
        true => cause.workflow.as_str(),
        false => ANOTHERS,
    });
    let names: Vec<&str> = names.chain([workflow]).collect();
    let (first, last) = SHOWN;
    if names.len() <= first + last {
        return names.join(" → ");
    }
    let (begin, end) = (&names[..first], &names[names.len() - last..]);
    format!("{} → … → {}", begin.join(" → "), end.join(" → "))
}

#[cfg(test)]
mod tests {
    use stencil_store::RunId;

    use super::*;

    fn cause(tenant: &str, workflow: &str) -> CausingRun {
        CausingRun {
            tenant: TenantId::parse(tenant).unwrap(),
            run: RunId([1; 32]),
            workflow: workflow.to_owned(),
        }
    }

    #[test]
    fn who_is_refused_is_told_the_way_and_of_others_no_name() {
        let acme = TenantId::parse("acme").unwrap();
        let told = |causes: &[CausingRun]| refusal(causes, &acme, "a", 4);
        let two = [cause("acme", "a"), cause("acme", "b")];
        let three = [&two[..], &two[..1]].concat();
        assert_eq!(told(&[]), None);
        assert_eq!(told(&three), None);
        let why = told(&[&two[..], &two[..]].concat()).unwrap();
        let says = "not started: the workflow has caused itself 2 times: a → b → a → b → a. ";
        assert!(why.starts_with(says), "{why}");
        assert!(why.contains("lets 4 runs follow"), "{why}");
        let others = [cause("other", "secret"), cause("other", "a")];
        let why = told(&[&others[..], &others[..]].concat()).unwrap();
        assert!(
            why.starts_with("not started: 4 runs have led to it"),
            "{why}"
        );
        assert!(why.contains(&format!("{ANOTHERS} → a. ")), "{why}");
        assert!(!why.contains("secret"), "{why}");
        let many: Vec<_> = (0..64).map(|n| cause("acme", &n.to_string())).collect();
        let why = told(&many).unwrap();
        assert!(
            why.contains(": 0 → 1 → 2 → 3 → 4 → 5 → 6 → 7 → 8 → … → 62 → 63 → a. "),
            "{why}"
        );
    }
}
