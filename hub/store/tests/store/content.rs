use serde_json::{Value, json};
use stencil_store::{Error, Fields, MAX_FIELDS, MAX_VERSIONS_KEPT};

use crate::{acme, fresh};

fn fields(value: Value) -> Fields {
    let Value::Object(fields) = value else {
        panic!("an object is expected")
    };
    fields
}

#[tokio::test]
async fn a_draft_becomes_public_when_it_is_published() {
    let fresh = fresh().await;
    let port = &fresh.store.content;
    let first = fields(json!({ "title": "Warm", "value": -11.5 }));
    let written = port
        .upsert(&acme(), "notices", "f-1", &first, Some("e1"), 5)
        .await
        .unwrap();
    assert!(written.fresh);
    assert_eq!(
        (written.version.version, &written.version.fields),
        (1, &first)
    );
    assert_eq!(
        port.published(&acme(), "notices", "f-1").await.unwrap(),
        None
    );

    port.publish(&acme(), "notices", "f-1", Some("e2"), 6)
        .await
        .unwrap();
    let seen = port
        .published(&acme(), "notices", "f-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((seen.version.version, seen.published_us), (1, 6));

    // A new draft is not public; fields that it does not name stay; null removes.
    let change = fields(json!({ "value": null, "by": "ann" }));
    port.upsert(&acme(), "notices", "f-1", &change, None, 7)
        .await
        .unwrap();
    let seen = port
        .published(&acme(), "notices", "f-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.version.fields, first);
    let entry = port.get(&acme(), "notices", "f-1").await.unwrap().unwrap();
    assert_eq!(
        entry.newest.fields,
        fields(json!({ "title": "Warm", "by": "ann" }))
    );
    assert_eq!(
        (entry.newest.version, entry.published_version),
        (2, Some(1))
    );

    assert!(port.unpublish(&acme(), "notices", "f-1").await.unwrap());
    assert!(!port.unpublish(&acme(), "notices", "f-1").await.unwrap());
    assert_eq!(
        port.published(&acme(), "notices", "f-1").await.unwrap(),
        None
    );
}

#[tokio::test]
async fn an_effect_happens_once() {
    let fresh = fresh().await;
    let port = &fresh.store.content;
    let one = fields(json!({ "n": 1 }));
    let two = fields(json!({ "n": 2 }));
    port.upsert(&acme(), "notices", "a", &one, Some("e1"), 5)
        .await
        .unwrap();
    port.upsert(&acme(), "notices", "a", &two, Some("e2"), 6)
        .await
        .unwrap();
    let again = port
        .upsert(&acme(), "notices", "a", &one, Some("e1"), 7)
        .await
        .unwrap();
    assert!(!again.fresh);
    assert_eq!((again.version.version, &again.version.fields), (1, &one));
    assert_eq!(
        port.versions(&acme(), "notices", "a", None, 10)
            .await
            .unwrap()
            .items
            .len(),
        2
    );

    let first = port
        .publish(&acme(), "notices", "a", Some("p1"), 8)
        .await
        .unwrap();
    port.upsert(&acme(), "notices", "a", &one, None, 9)
        .await
        .unwrap();
    let again = port
        .publish(&acme(), "notices", "a", Some("p1"), 10)
        .await
        .unwrap();
    assert!(first.fresh && !again.fresh);
    let seen = port
        .published(&acme(), "notices", "a")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((seen.version.version, seen.published_us), (2, 8));

    for misuse in [
        port.upsert(&acme(), "notices", "b", &one, Some("e1"), 11)
            .await,
        port.publish(&acme(), "notices", "a", Some("e1"), 11).await,
    ] {
        let error = misuse.unwrap_err();
        assert!(matches!(error, Error::Conflict(_)), "{error}");
    }
    // A forgotten key may be used again.
    assert_eq!(port.forget_effects(&acme(), 6, 10).await.unwrap(), 1);
    assert!(
        port.upsert(&acme(), "notices", "b", &one, Some("e1"), 12)
            .await
            .unwrap()
            .fresh
    );
}

#[tokio::test]
async fn many_at_once_with_one_key_make_one_version() {
    let fresh = fresh().await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let port = fresh.store.content.clone();
            tokio::spawn(async move {
                let fields = fields(json!({ "n": 1 }));
                port.upsert(&acme(), "notices", "a", &fields, Some("e"), n)
                    .await
                    .unwrap()
                    .fresh
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += u32::from(task.await.unwrap());
    }
    assert_eq!(done, 1);
    let versions = fresh
        .store
        .content
        .versions(&acme(), "notices", "a", None, 10)
        .await
        .unwrap();
    assert_eq!(versions.items.len(), 1);
}

#[tokio::test]
async fn versions_are_bounded_and_the_published_one_stays() {
    let fresh = fresh().await;
    let port = &fresh.store.content;
    for n in 1..=i64::from(MAX_VERSIONS_KEPT) + 20 {
        let fields = fields(json!({ "n": n }));
        let key = format!("e{n}");
        port.upsert(&acme(), "notices", "a", &fields, Some(&key), n)
            .await
            .unwrap();
        if n == 3 {
            port.publish(&acme(), "notices", "a", None, n)
                .await
                .unwrap();
        }
    }
    let kept = port
        .versions(&acme(), "notices", "a", None, 1_000)
        .await
        .unwrap()
        .items;
    assert_eq!(kept.len(), MAX_VERSIONS_KEPT as usize + 1);
    let seen = port
        .published(&acme(), "notices", "a")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.version.fields, fields(json!({ "n": 3 })));
    // The version of this key is gone, but it still happens once.
    let again = port
        .upsert(&acme(), "notices", "a", &Fields::new(), Some("e1"), 9)
        .await
        .unwrap();
    assert!(!again.fresh);
}

#[tokio::test]
async fn lists_show_entries_by_key() {
    let fresh = fresh().await;
    let port = &fresh.store.content;
    for (collection, key) in [
        ("notices", "a"),
        ("notices", "b"),
        ("notices", "c"),
        ("pages", "x"),
    ] {
        port.upsert(&acme(), collection, key, &Fields::new(), None, 1)
            .await
            .unwrap();
    }
    port.publish(&acme(), "notices", "c", None, 2)
        .await
        .unwrap();
    port.publish(&acme(), "notices", "a", None, 2)
        .await
        .unwrap();
    assert_eq!(
        port.collections(&acme()).await.unwrap(),
        ["notices", "pages"]
    );
    let first = port.list(&acme(), "notices", None, 2).await.unwrap();
    let rest = port
        .list(&acme(), "notices", first.next.as_deref(), 2)
        .await
        .unwrap();
    let keys: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|entry| entry.newest.key.as_str())
        .collect();
    assert_eq!(keys, ["a", "b", "c"]);
    let first = port
        .published_list(&acme(), "notices", None, 1)
        .await
        .unwrap();
    let rest = port
        .published_list(&acme(), "notices", first.next.as_deref(), 1)
        .await
        .unwrap();
    let keys: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|seen| seen.version.key.as_str())
        .collect();
    assert_eq!(keys, ["a", "c"]);
}

#[tokio::test]
async fn bad_names_and_too_much_are_refused() {
    let fresh = fresh().await;
    let port = &fresh.store.content;
    for key in ["", ".hidden", "a/b", "ä", "a b", &"k".repeat(129)] {
        let error = port
            .upsert(&acme(), "notices", key, &Fields::new(), None, 1)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Invalid {
                    what: "entry key",
                    ..
                }
            ),
            "{key}: {error}"
        );
    }
    for key in ["", &"k".repeat(257)] {
        let key = Some(key);
        let error = port
            .upsert(&acme(), "notices", "a", &Fields::new(), key, 1)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Invalid {
                    what: "effect key",
                    ..
                }
            ),
            "{error}"
        );
    }
    let huge = fields(json!({ "text": "x".repeat(MAX_FIELDS) }));
    let error = port
        .upsert(&acme(), "notices", "a", &huge, None, 1)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Invalid { what: "fields", .. }),
        "{error}"
    );
    let error = port
        .publish(&acme(), "notices", "missing", None, 1)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "entry", .. }),
        "{error}"
    );
}
