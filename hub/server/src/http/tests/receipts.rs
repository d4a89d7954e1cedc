//! A gateway that was taken over notes the answer of a holder's wallet again.

use serde_json::Value;
use stencil_access::challenge::LIFE_US;
use stencil_access::receipt::Receipt;
use stencil_protocol::id::GatewayId;
use stencil_store::{CredentialStanding, RightStanding};

use super::access::{API, Notes, World, keeper};
use super::{NOW_US, seed};
use crate::access::Keeper;

const GATEWAY: &str = "gateway-marked";

/// What the hub has of receipts, in the order of their chains and numbers: why each conflicts.
async fn conflicts(world: &World) -> Vec<Value> {
    let shown = world.served.read("/api/v1/access/receipts").await.ok();
    let mut items = shown["items"].as_array().unwrap().clone();
    items.sort_by_key(|it| {
        let chain = it["chain"].as_str().unwrap().to_owned();
        (chain, it["number"].as_u64())
    });
    items.into_iter().map(|it| it["conflict"].clone()).collect()
}

/// The receipt with something else in it than its wallet's answer.
fn changed(text: &str, change: impl FnOnce(&mut Receipt)) -> String {
    let mut receipt = Receipt::parse(text).unwrap();
    change(&mut receipt);
    receipt.text().unwrap()
}

async fn bring(keeper: &Keeper, notes: &Notes, texts: &[String]) -> Result<usize, String> {
    let gateway = GatewayId::parse(GATEWAY).unwrap();
    let batch = notes.signed(texts, &notes.key);
    let kept = keeper.keep(&seed::acme(), &gateway, &batch).await;
    kept.map_err(|why| why.to_string())
}

#[tokio::test]
async fn an_answer_of_long_ago_is_no_receipt_of_now() {
    let world = World::new().await;
    let (mut notes, keeper) = (Notes::new(&world, GATEWAY, true).await, keeper(&world));
    let text = notes.note("urn:uuid:right-marked", NOW_US + 1);
    for (after_us, is_kept) in [(LIFE_US + 1, false), (-1, false), (LIFE_US, true)] {
        let text = changed(&text, |it| it.at_us += after_us);
        let kept = bring(&keeper, &notes, &[text]).await;
        match is_kept {
            true => assert_eq!(kept, Ok(1)),
            false => assert!(kept.unwrap_err().contains("0 to 300 s after it are right")),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_noted_again_speaks_against_the_gateway_and_not_against_its_holder() {
    let world = World::new().await;
    let acme = seed::acme();
    let wanted = World::wanted();
    let given = world.rights.grant(&acme, &wanted, API, NOW_US);
    let right = given.await.unwrap().right.right;
    let (suspended, credentials) = (
        CredentialStanding::Suspended,
        &world.served.store.credentials,
    );
    let set = credentials.set_standing(&acme, &right, suspended, NOW_US + 5);
    set.await.unwrap();
    let (mut notes, keeper) = (Notes::new(&world, GATEWAY, true).await, keeper(&world));
    let one = notes.note(&right, NOW_US + 1);
    let again = notes.note(&right, NOW_US + 1);
    assert_eq!(bring(&keeper, &notes, &[one, again]).await, Ok(2));
    let (none, used) = (Value::Null, Value::from("nonce_used"));
    assert_eq!(conflicts(&world).await, [none.clone(), used.clone()]);
    // In another message, and after the right was suspended.
    let later = notes.note(&right, NOW_US + 1);
    let later = changed(&later, |it| it.at_us += 9);
    assert_eq!(bring(&keeper, &notes, &[later]).await, Ok(1));
    // What was set back brings the same once more; what is of another command is another opening.
    notes.begin(&"cd".repeat(16), Some(notes.head()));
    let same = notes.note(&right, NOW_US + 1);
    assert_eq!(bring(&keeper, &notes, &[same]).await, Ok(1));
    notes.begin(&"ef".repeat(16), Some(notes.head()));
    let other = notes.note(&right, NOW_US + 1);
    let other = changed(&other, |it| it.command = "1".repeat(32));
    assert_eq!(bring(&keeper, &notes, &[other]).await, Ok(1));
    let all = [&none, &used, &used, &none, &used].map(Clone::clone);
    assert_eq!(conflicts(&world).await, all);
    // Whatever becomes known of the right.
    let stood = [(RightStanding::Sold, NOW_US)];
    let judging = &world.served.store.judging;
    judging
        .set_by_cause(&acme, &right, &stood, NOW_US + 20)
        .await
        .unwrap();
    while keeper.judge_page(2).await.unwrap() {}
    let sold = Value::from("sold");
    let all = [&sold, &used, &used, &sold, &used].map(Clone::clone);
    assert_eq!(conflicts(&world).await, all);
}
