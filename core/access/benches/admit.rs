//! What checking a holder costs a gateway.
#![allow(missing_docs, clippy::panic)]

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use criterion::{Criterion, criterion_group, criterion_main};
use fixture::*;
use stencil_access::trust::Policy;
use stencil_access::{Answer, admit};

fn benches(c: &mut Criterion) {
    let (issuer, holder) = (acme(), wallet(1));
    let trust = issuer.trust(Policy::default(), &[], &[], NOW_US);
    let mut desk = desk();
    let answer = answer(
        &holder,
        challenge(&mut desk, 1),
        credential(&issuer, &grant(&holder)),
    );
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    // All of it: the text is read, the challenge known again, the wallet's signature, both proofs and
    // both lists are looked at.
    c.bench_function("offline check at the gateway", |b| {
        b.iter(|| {
            let answer = Answer::parse(&text).map_err(|why| why.code());
            let answer = answer.unwrap_or_else(|why| panic!("{why}"));
            let mut desk = fixture::desk();
            assert!(desk.take(&answer.challenge, NOW_US).is_ok());
            assert!(admit(&trust, &answer, NOW_US).is_ok());
        });
    });
}

criterion_group!(all, benches);
criterion_main!(all);
