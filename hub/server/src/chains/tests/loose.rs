//! What a chain says of a payment long after its invoice is over: that it is final, or gone.

use stencil_payments::B256;
use stencil_payments::invoice::Way;
use stencil_payments::observation::Needs;

use super::fake::ESCROW;
use super::*;

const NONCE: B256 = B256::repeat_byte(0x4e);

/// When an invoice of these tests is looked for no more, seconds: it is open for a quarter of an hour, and closes two
/// minutes later; what was signed for it is worth nothing ten minutes after that.
const OVER_S: u64 = 15 * 60 + 120 + 600;

fn ways() -> [Way; 2] {
    let payer = PAYER;
    let (escrow, hold) = (ESCROW, NONCE);
    [
        Way::Nonce {
            payer,
            nonce: NONCE,
        },
        Way::Hold {
            escrow,
            hold,
            payer,
        },
    ]
}

/// What the chain shows of a purchase that is paid, by what was signed or by a hold that is released.
fn bought(way: Way) -> Vec<Seen> {
    match way {
        Way::Hold { escrow, hold, .. } => {
            let released = abi::Released {
                holdId: hold,
                invoiceId: B256::ZERO,
                captured: U256::from(DUE),
                returned: U256::ZERO,
            };
            vec![event(1, 0, escrow, &released)]
        }
        _ => {
            let used = abi::AuthorizationUsed {
                authorizer: PAYER,
                nonce: NONCE,
            };
            vec![event(1, 0, TOKEN, &used), transfer(1, 1, PAYEE, DUE)]
        }
    }
}

#[tokio::test]
async fn a_purchase_is_paid_once_that_is_final_however_late_it_is() {
    for way in ways() {
        let world = World::new().await;
        world.create(invoice(1, way, Needs::Finalized)).await;
        let number = world.block(40, &bought(way)).await;
        for late_s in [0, 7_200] {
            world.block(OVER_S + late_s, &[]).await;
            assert_eq!(world.state(1).await, "confirming");
        }
        world.finalize(number).await;
        assert_eq!(world.state(1).await, "settled", "{way:?}");
        assert_eq!(world.cashier.open_invoices(), 0, "nothing can change it");
    }
}

/// What nobody looks for any more was paid all the same: what takes that back is told.
#[tokio::test]
async fn a_purchase_that_was_final_and_is_taken_back_is_paid_no_more() {
    for way in ways() {
        let mut world = World::new().await;
        world.create(invoice(1, way, Needs::Finalized)).await;
        let before = world.block(20, &[]).await;
        let number = world.block(40, &bought(way)).await;
        world.finalize(number).await;
        world.block(OVER_S, &[]).await;
        assert_eq!(world.state(1).await, "settled");
        assert_eq!(world.cashier.open_invoices(), 0);
        world.back_to(before).await;
        assert_ne!(world.state(1).await, "settled", "{way:?}");
    }
}

#[tokio::test]
async fn what_a_chain_that_is_followed_no_more_has_said_keeps_no_invoice() {
    let mut world = World::new().await;
    let [way, _] = ways();
    world.create(invoice(1, way, Needs::Finalized)).await;
    world.block(40, &bought(way)).await;
    world.block(OVER_S, &[]).await;
    assert_eq!(world.cashier.open_invoices(), 1);
    world.restart_with(Chains::new(Vec::new())).await;
    world.cashier.till().sweep();
    assert_eq!(world.cashier.open_invoices(), 0);
}

/// A reorganisation begins the time anew in which an invoice may be paid; it is looked for until that is over, too.
#[tokio::test]
async fn an_invoice_that_is_disturbed_late_is_told_that_it_is_over() {
    let mut world = World::new().await;
    let day_s = 24 * 3_600;
    let mut definition = invoice(1, Way::Contract(CONTRACT), Needs::Finalized);
    definition.policy.grace_us = 2 * i64::try_from(day_s).unwrap() * 1_000_000;
    definition.policy.underpaid = stencil_payments::invoice::Underpaid::Refund;
    world.create(definition).await;
    let part = world.block(40, &paid(1, 1, TOKEN, DUE / 4)).await;
    world.finalize(part).await;
    let before = world.block(50, &[]).await;
    world.block(60, &paid(2, 1, TOKEN, DUE)).await;
    world.block(2 * day_s, &[]).await;
    assert_eq!(world.state(1).await, "confirming");
    world.back_to(before).await;
    assert_eq!(world.state(1).await, "seen");
    // It would have been looked for until a day after its first end.
    world.block(3 * day_s + 1_200, &[]).await;
    assert_eq!(world.state(1).await, "seen");
    world.block(4 * day_s + 1_200, &[]).await;
    assert_eq!(world.state(1).await, "expired");
    let refunds = world.invoice(1).await.kept.invoice.refunds().to_vec();
    assert_eq!(refunds.len(), 1, "the part goes back");
}
#[tokio::test]
async fn a_purchase_that_a_reorganisation_moves_late_is_seen_where_it_is_then() {
    for way in ways() {
        let mut world = World::new().await;
        world.create(invoice(1, way, Needs::Confirmations(1))).await;
        let before = world.block(20, &[]).await;
        world.block(40, &bought(way)).await;
        world.block(OVER_S + 60, &[]).await;
        assert_eq!(world.state(1).await, "settled");
        world.back_to(before).await;
        assert_ne!(world.state(1).await, "settled");
        let again = world.block(50, &bought(way)).await;
        assert_eq!(world.state(1).await, "settled", "{way:?}");
        world.finalize(again).await;
        assert_eq!(world.state(1).await, "settled");
    }
}
