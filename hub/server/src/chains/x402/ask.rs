//! What a chain says of a payment before it is taken.

use std::time::Duration;

use stencil_payments::money::Amount;
use stencil_payments::port::{Called, Chain, Unknown};
use stencil_payments::x402::{self, Answers, Checked, NonceState, Reason, Refused, Verified};
use stencil_payments::{Address, Bytes};
use tokio::time::timeout;

use super::purchase::Purchase;

/// How long a chain may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most gas of a settlement: USD Coin takes about 85,000, behind its proxy and with a payee that
/// never had any.
const GAS: u64 = 200_000;
/// The same where the payer's contract is asked for its signature.
const GAS_OF_CONTRACT: u64 = 600_000;

/// Asks a chain about a payment that is right as far as can be told without.
///
/// # Errors
/// Why it does not do; `unexpected_verify_error`: the chain could not be asked.
pub(super) async fn conclude(
    chain: &dyn Chain,
    token: Address,
    checked: Checked,
) -> Result<Verified, Refused> {
    let verified = asked(chain, token, checked).await?;
    simulate(chain, token, verified.call_data()).await?;
    Ok(verified)
}

/// The same of one that pays into the escrow. Gives what the payer has.
///
/// # Errors
/// Why it does not do.
pub(super) async fn conclude_hold(
    chain: &dyn Chain,
    token: Address,
    checked: Checked,
    (escrow, data): (Address, Bytes),
) -> Result<Amount, Refused> {
    let verified = asked(chain, token, checked).await?;
    simulate(chain, escrow, data).await?;
    Ok(verified.balance())
}

async fn asked(chain: &dyn Chain, token: Address, checked: Checked) -> Result<Verified, Refused> {
    let questions = checked.questions(token);
    let contract = async {
        match questions.contract {
            None => Ok(None),
            Some((payer, data)) if chain.has_code(payer).await? => {
                chain.call(payer, data).await.map(Some)
            }
            // An account without code has one key, and it has not signed.
            Some(_) => Ok(Some(Called::Returned(Bytes::new()))),
        }
    };
    let ((nonce_to, nonce), (balance_to, balance)) = (questions.nonce, questions.balance);
    let all = async {
        tokio::join!(
            chain.call(nonce_to, nonce),
            chain.call(balance_to, balance),
            contract
        )
    };
    let Ok((nonce, balance, contract)) = timeout(PATIENCE, all).await else {
        return Err(unknown(chain, "it has not answered in time"));
    };
    let failed = nonce.as_ref().err().or(balance.as_ref().err());
    if let Some(Unknown(why)) = failed.or(contract.as_ref().err()) {
        return Err(unknown(chain, why));
    }
    let contract = contract.ok().flatten();
    let answers = Answers::read(
        nonce.ok().as_ref(),
        balance.ok().as_ref(),
        contract.as_ref(),
    );
    checked.conclude(&answers)
}

/// Whether the settlement would go through as the chain stands: what it would cost if it did not is
/// gas for nothing.
async fn simulate(chain: &dyn Chain, to: Address, data: Bytes) -> Result<(), Refused> {
    match timeout(PATIENCE, chain.call(to, data)).await {
        Ok(Ok(Called::Returned(_))) => Ok(()),
        Ok(Ok(Called::Reverted(why))) => {
            let why: String = why
                .chars()
                .filter(|it| !it.is_control())
                .take(160)
                .collect();
            let detail = format!("the transfer would be reverted: {why}");
            Err(Refused::new(Reason::InvalidTransactionState, detail))
        }
        Ok(Err(Unknown(why))) => Err(unknown(chain, &why)),
        Err(_) => Err(unknown(chain, "it has not answered in time")),
    }
}

/// Whether a purchase that was verified before could still be settled.
///
/// # Errors
/// Why not.
pub(super) async fn still_good(chain: &dyn Chain, purchase: &Purchase) -> Result<(), Refused> {
    simulate(chain, purchase.to, purchase.call_data.clone()).await
}

/// The call that tells whether a purchase's nonce was used or cancelled.
pub(super) fn nonce(purchase: &Purchase) -> (Address, Bytes) {
    let token = purchase.token.asset().contract.unwrap_or_default();
    (
        token,
        x402::authorization_state(purchase.payer, purchase.nonce),
    )
}

/// What that call says; `None`: it is not understood.
pub(super) fn used(called: &Called) -> Option<bool> {
    match Answers::read(Some(called), None, None).nonce {
        NonceState::Used => Some(true),
        NonceState::Unused => Some(false),
        NonceState::Unknown => None,
    }
}

/// The most gas that the settlement takes.
pub(super) fn gas(verified: &Verified) -> u64 {
    if verified.checked().ask_contract {
        GAS_OF_CONTRACT
    } else {
        GAS
    }
}

fn unknown(chain: &dyn Chain, why: &str) -> Refused {
    tracing::warn!(chain = chain.name(), why, "a payment can't be verified now");
    let detail = format!("chain `{}` can't be asked now", chain.name());
    Refused::new(Reason::UnexpectedVerifyError, detail)
}
