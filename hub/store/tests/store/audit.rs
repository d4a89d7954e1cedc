use stencil_store::{AuditFilter, AuditOutcome, Error, MAX_AUDIT_TEXT, NewAudit};

use crate::{acme, fresh, other};

fn entry(at_us: i64, who: &str, action: &str, outcome: AuditOutcome) -> NewAudit {
    NewAudit {
        at_us,
        who: who.into(),
        action: action.into(),
        target: Some("bob".into()),
        outcome,
        detail: None,
        address: Some("::1".into()),
    }
}

#[tokio::test]
async fn entries_come_back_the_newest_first_and_by_what_is_asked() {
    use AuditOutcome::{Done, Refused};
    let fresh = fresh().await;
    let port = &fresh.store.audit;
    for (n, who, action, outcome) in [
        (1, "user ann", "users.create", Done),
        (2, "token ci", "users.create", Refused),
        (3, "user ann", "tokens.revoke", Done),
    ] {
        port.note(&acme(), &entry(n, who, action, outcome), 100)
            .await
            .unwrap();
    }
    let all = AuditFilter::default();
    let first = port.entries(&acme(), &all, None, 2).await.unwrap();
    let rest = port
        .entries(&acme(), &all, first.next.as_deref(), 2)
        .await
        .unwrap();
    let of = |entries: &[stencil_store::AuditEntry]| -> Vec<u64> {
        entries.iter().map(|entry| entry.entry).collect()
    };
    assert_eq!(
        (of(&first.items), of(&rest.items), rest.next),
        (vec![3, 2], vec![1], None)
    );
    assert_eq!(first.items[1].who, "token ci");
    assert_eq!(first.items[1].outcome, Refused);
    assert_eq!(first.items[1].target.as_deref(), Some("bob"));
    assert_eq!(first.items[1].address.as_deref(), Some("::1"));

    let found = async |filter: AuditFilter| {
        of(&port.entries(&acme(), &filter, None, 9).await.unwrap().items)
    };
    let who = Some("user ann".to_owned());
    let action = Some("users.create".to_owned());
    let by = |who: &Option<String>, action: &Option<String>, outcome| AuditFilter {
        who: who.clone(),
        action: action.clone(),
        outcome,
    };
    assert_eq!(found(by(&who, &None, None)).await, [3, 1]);
    assert_eq!(found(by(&None, &action, None)).await, [2, 1]);
    assert_eq!(found(by(&None, &None, Some(Refused))).await, [2]);
    assert_eq!(
        found(by(&who, &action, Some(Refused))).await,
        [] as [u64; 0]
    );
    let others = port.entries(&other(), &all, None, 9).await.unwrap();
    assert_eq!(others.items, []);
}

#[tokio::test]
async fn the_log_is_bounded_in_number_age_and_length() {
    let fresh = fresh().await;
    let port = &fresh.store.audit;
    let long = "x".repeat(MAX_AUDIT_TEXT * 3);
    port.note(&other(), &entry(1, "o", "a", AuditOutcome::Done), 2)
        .await
        .unwrap();
    for n in 1..=5 {
        port.note(&acme(), &entry(n, &long, "a\nb", AuditOutcome::Done), 3)
            .await
            .unwrap();
    }
    let all = AuditFilter::default();
    let kept = port.entries(&acme(), &all, None, 9).await.unwrap().items;
    let numbers: Vec<u64> = kept.iter().map(|entry| entry.entry).collect();
    assert_eq!(numbers, [5, 4, 3]);
    assert_eq!(kept[0].who.len(), MAX_AUDIT_TEXT);
    assert_eq!(kept[0].action, "a b");

    assert_eq!(port.forget_before(&acme(), 5, 1).await.unwrap(), 1);
    assert_eq!(port.forget_before(&acme(), 5, 9).await.unwrap(), 1);
    assert_eq!(port.forget_before(&acme(), 5, 9).await.unwrap(), 0);
    assert_eq!(port.forget_before(&acme(), 9, 9).await.unwrap(), 1);
    let others = port.entries(&other(), &all, None, 9).await.unwrap();
    assert_eq!(others.items.len(), 1);

    let nobody = stencil_protocol::id::TenantId::parse("nobody").unwrap();
    let error = port
        .note(&nobody, &entry(1, "o", "a", AuditOutcome::Done), 2)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "tenant", .. }),
        "{error}"
    );
}
