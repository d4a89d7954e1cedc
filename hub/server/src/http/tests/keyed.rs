//! `Idempotency-Key`.

use serde_json::{Value, json};
use stencil_store::{Begun, Keyed, Role};

use super::{Answer, NOW_US, PASSWORD, Served, seed};

async fn make(served: &Served, key: &str, body: &Value) -> Answer {
    served
        .ask("POST", "/api/v1/tokens")
        .bearer(&served.tokens.admin)
        .header("idempotency-key", key)
        .json(body)
        .send()
        .await
}

fn wanted(name: &str) -> Value {
    json!({ "kind": "api", "role": "viewer", "name": name })
}

async fn tokens(served: &Served) -> usize {
    let acme = seed::acme();
    let all = served.store.tenancy.tokens(&acme, None, 1_000);
    all.await.unwrap().items.len()
}

#[tokio::test]
async fn the_same_request_makes_one_thing_and_is_answered_the_same() {
    let served = Served::start().await;
    let before = tokens(&served).await;
    let first = make(&served, "k-1", &wanted("ci")).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert!(first.header("idempotency-replayed").is_none());
    for _ in 0..3 {
        let again = make(&served, "k-1", &wanted("ci")).await;
        assert_eq!((again.status, again.json()), (201, first.json()));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    assert_eq!(tokens(&served).await, before + 1);
    let secret = first.json()["token"].as_str().unwrap().to_owned();
    served.get("/api/v1/me").bearer(&secret).send().await.ok();
    // What was done once is noted once.
    let log = served.get("/api/v1/audit").bearer(&served.tokens.admin);
    assert_eq!(log.send().await.ok()["items"].as_array().unwrap().len(), 1);
    // Without a key, or with another, it is another.
    let second = make(&served, "k-2", &wanted("ci")).await;
    assert_ne!(second.json()["id"], first.json()["id"]);
    served.later(24 * 3_600 + 1);
    let later = make(&served, "k-1", &wanted("ci")).await;
    assert_ne!(later.json()["id"], first.json()["id"]);
}

#[tokio::test]
async fn an_address_is_answered_again_too() {
    let served = Served::start().await;
    let user = json!({ "name": "ann", "role": "viewer" });
    let ask = async || {
        let ask = served.ask("POST", "/api/v1/users");
        let ask = ask.bearer(&served.tokens.admin).json(&user);
        ask.header("idempotency-key", "k").send().await
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.status, again.status), (201, 201), "{again:?}");
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("location"), Some("/api/v1/users/ann"));
    assert_eq!(again.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn another_request_or_another_caller_has_not_the_same_key() {
    let served = Served::start().await;
    let first = make(&served, "k", &wanted("ci")).await;
    let other = make(&served, "k", &wanted("other")).await;
    assert!(other.problem(422).contains("another request"));
    let path = served.ask("POST", "/api/v1/users");
    let path = path.bearer(&served.tokens.admin);
    let path = path.header("idempotency-key", "k").json(&wanted("ci"));
    path.send().await.problem(422);

    let rival = served.ask("POST", "/api/v1/tokens");
    let rival = rival.bearer(&served.tokens.rival);
    let rival = rival.header("idempotency-key", "k").json(&wanted("ci"));
    let rival = rival.send().await;
    assert_eq!(rival.status, 201, "{rival:?}");
    assert_ne!(rival.json()["id"], first.json()["id"]);
    // Who may not do it learns nothing by a key.
    let viewer = served.ask("POST", "/api/v1/tokens");
    let viewer = viewer.bearer(&served.tokens.reader);
    let viewer = viewer.header("idempotency-key", "k").json(&wanted("ci"));
    viewer.send().await.problem(403);
}

#[tokio::test]
async fn what_did_nothing_may_be_tried_again_and_a_wrong_key_is_none() {
    let served = Served::start().await;
    make(&served, "k", &json!({ "kind": "api" }))
        .await
        .problem(400);
    let made = make(&served, "k", &wanted("ci")).await;
    assert_eq!(made.status, 201, "{made:?}");
    for wrong in ["", &"x".repeat(129)] {
        let detail = make(&served, wrong, &wanted("ci")).await.problem(400);
        assert!(detail.contains("1 to 128"), "{detail}");
    }
    let long = vec![b'a'; 200_000];
    let ask = served.ask("POST", "/api/v1/tokens");
    let ask = ask
        .bearer(&served.tokens.admin)
        .header("idempotency-key", "l");
    ask.header("content-type", "application/json")
        .body(long)
        .send()
        .await
        .problem(413);
}

#[tokio::test]
async fn a_request_that_was_never_answered_is_not_done_again() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ada", Role::Admin).await;
    let session = served.sign_in("acme", "ada", PASSWORD).await.session();
    let body = wanted("ci").to_string();
    let mut request = sha2::Sha256::default();
    sha2::Digest::update(&mut request, b"POST\0/api/v1/tokens\0");
    sha2::Digest::update(&mut request, body.as_bytes());
    let keyed = Keyed {
        tenant: Some(seed::acme()),
        caller: "user ada".to_owned(),
        key: <sha2::Sha256 as sha2::Digest>::digest("k").into(),
        request: sha2::Digest::finalize(request).into(),
    };
    let begun = served.store.answers.begin(&keyed, 0, NOW_US).await.unwrap();
    assert_eq!(begun, Begun::Fresh);
    let before = tokens(&served).await;
    let ask = async |session: &str, key: &str| {
        let ask = served.ask("POST", "/api/v1/tokens").session(session);
        ask.header("idempotency-key", key)
            .json(&wanted("ci"))
            .send()
            .await
    };
    assert!(
        ask(&session, "k")
            .await
            .problem(409)
            .contains("another key")
    );
    assert_eq!(tokens(&served).await, before);

    // With another session it is known to be done; the answer is sealed for the first.
    assert_eq!(ask(&session, "l").await.status, 201);
    let other = served.sign_in("acme", "ada", PASSWORD).await.session();
    let told = ask(&other, "l").await.problem(409);
    assert!(told.contains("was done"), "{told}");
    assert_eq!(tokens(&served).await, before + 1);
}

#[tokio::test]
async fn no_secret_of_an_answer_is_on_the_disk() {
    let served = Served::start().await;
    let made = make(&served, "k", &wanted("ci")).await.json();
    let secret = made["token"].as_str().unwrap();
    let keyed = Keyed {
        tenant: Some(seed::acme()),
        caller: {
            let owner = served
                .store
                .tenancy
                .verify_token(&served.tokens.admin, NOW_US);
            format!("token {}", owner.await.unwrap().unwrap().id)
        },
        key: <sha2::Sha256 as sha2::Digest>::digest("k").into(),
        request: [0; 32],
    };
    // It is kept: another request by this key is another.
    let begun = served.store.answers.begin(&keyed, 0, NOW_US).await.unwrap();
    assert_eq!(begun, Begun::Another);
    let files = std::fs::read_dir(served.folder.path()).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    for file in paths.filter(|path| path.is_file()) {
        let bytes = std::fs::read(file).unwrap();
        for hidden in [secret, &secret[secret.len() - 32..], &served.tokens.admin] {
            let found = bytes
                .windows(hidden.len())
                .any(|part| part == hidden.as_bytes());
            assert!(!found, "a secret is on the disk");
        }
    }
}
