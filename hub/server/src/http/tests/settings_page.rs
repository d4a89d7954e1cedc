//! Settings, the audit log, and what goes wrong as a page.

use stencil_store::{AuditOutcome, NewAudit, Opener, Role};

use super::client::Answer;
use super::{NOW_US, Served, seed};
use crate::Options;

/// What the hub of these tests is set to.
pub(super) fn options() -> Options {
    let mut options = Options::default();
    let mail = |from: &str, tenants: Vec<_>| stencil_connect::mail::Connection {
        server: "mail.marked".to_owned(),
        from: from.to_owned(),
        user: Some("user-of-mail".to_owned()),
        password_file: Some("/secret/place".into()),
        tenants,
        ..stencil_connect::mail::Connection::default()
    };
    let ours = mail("hub-marked@example.org", vec![seed::acme()]);
    options.connect.mail.insert("ours-marked".to_owned(), ours);
    options.connect.secrets = vec![stencil_connect::SecretFile {
        tenant: seed::acme(),
        name: "signing-marked".to_owned(),
        file: "/secret/place".into(),
        previous: Vec::new(),
    }];
    options
}

async fn seen(served: &Served, token: &str, path: &str) -> String {
    let answer = served.get(path).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

#[track_caller]
fn has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[track_caller]
fn has_not(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(!page.contains(part), "{part} is in {page}");
    }
}

#[tokio::test]
async fn an_admin_manages_people_and_tokens() {
    let served = Served::start().await;
    let users = &served.store.users;
    for (name, role) in [("ann", Role::Admin), ("ben", Role::Viewer)] {
        users
            .create_user(&seed::acme(), name, role, NOW_US)
            .await
            .unwrap();
    }
    let admin = seen(&served, &served.tokens.admin, "/settings").await;
    has(
        &admin,
        &[
            "data-send=\"POST /api/v1/users\"",
            "data-send=\"PATCH /api/v1/users/ben\"",
            "data-send=\"DELETE /api/v1/users/ben\"",
            "data-send=\"POST /api/v1/users/ben/link\"",
            "no password yet",
            "data-send=\"POST /api/v1/tokens\"",
            "href=\"/devices/freezer-marked\"",
            "href=\"/audit\"",
            "token test",
        ],
    );
    // Each form leads to a route that takes it.
    for form in admin.split("data-send=\"").skip(1) {
        let (method, path) = form.split('"').next().unwrap().split_once(' ').unwrap();
        let answer = served.ask(method, path).send().await;
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
    }
    has_not(
        &admin,
        &[served.tokens.admin.as_str(), served.tokens.device.as_str()],
    );
}

#[tokio::test]
async fn who_is_no_admin_sees_neither() {
    let served = Served::start().await;
    for token in [&served.tokens.reader, &served.tokens.editor] {
        let shown = seen(&served, token, "/settings").await;
        has(
            &shown,
            &["id=\"you\"", "id=\"sessions\"", "id=\"connections\""],
        );
        has_not(
            &shown,
            &[
                "id=\"people\"",
                "id=\"tokens\"",
                "/api/v1/users",
                "/api/v1/tokens",
                "href=\"/audit\"",
            ],
        );
    }
    served.read("/audit").await.problem(403);
}

#[tokio::test]
async fn retention_is_told_to_all_and_set_by_admins() {
    let served = Served::start().await;
    let shown = seen(&served, &served.tokens.reader, "/settings").await;
    has(
        &shown,
        &["<dt>Runs</dt><dd>365 days", "as the hub does by default"],
    );
    has_not(&shown, &["PUT /api/v1/retention"]);
    let set = serde_json::json!({
        "runs_days": 7, "series_days": "always", "alarms_days": null, "quarantine_days": null,
        "audit_days": null,
    });
    let ask = served
        .ask("PUT", "/api/v1/retention")
        .bearer(&served.tokens.admin);
    ask.json(&set).send().await.ok();
    let admin = seen(&served, &served.tokens.admin, "/settings").await;
    has(
        &admin,
        &[
            "<dt>Runs</dt><dd>7 days",
            "<dt>Readings</dt><dd>as long as the disk has room",
            "data-send=\"PUT /api/v1/retention\"",
            "name=\"runs_days\" value=\"7\"",
            "name=\"series_days\" value=\"always\"",
            // Who leaves a field empty says null, and does not leave the kind out.
            "name=\"audit_days\" value=\"\" data-type=\"value\" data-empty=\"null\"",
        ],
    );
}

#[tokio::test]
async fn connections_are_told_by_name_without_secrets() {
    let served = Served::start().await;
    let ours = seen(&served, &served.tokens.reader, "/settings").await;
    has(
        &ours,
        &[
            "ours-marked",
            "hub-marked@example.org",
            "signing-marked",
            env!("CARGO_PKG_VERSION"),
        ],
    );
    has_not(&ours, &["/secret/place", "user-of-mail"]);
    let rival = seen(&served, &served.tokens.rival, "/settings").await;
    has(&rival, &["None is set up", "goes unsigned"]);
    has_not(&rival, &[seed::MARK]);
}

#[tokio::test]
async fn sessions_are_ones_own() {
    let served = Served::start().await;
    let users = &served.store.users;
    users
        .create_user(&seed::acme(), "ann", Role::Viewer, NOW_US)
        .await
        .unwrap();
    let open = async |address| {
        let opener = Opener::User("ann".to_owned());
        let later = NOW_US + 1_000_000_000;
        let acme = seed::acme();
        let opened = users.open_session(&acme, &opener, Some(address), later, NOW_US);
        opened.await.unwrap()
    };
    let (here, secret, _) = open("192.0.2.1").await;
    let (other, ..) = open("192.0.2.2").await;
    let answer = served
        .get("/settings")
        .header("cookie", &format!("stencil_session={}", secret.reveal()))
        .send()
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    has(
        &answer.body,
        &[
            "user ann",
            "192.0.2.1",
            "192.0.2.2",
            "this one",
            &format!("DELETE /api/v1/sessions/{}", other.id),
            "data-send=\"POST /api/v1/me/password\"",
        ],
    );
    has_not(&answer.body, &[&here.id, secret.reveal()]);
    let by_token = seen(&served, &served.tokens.reader, "/settings").await;
    has(&by_token, &["you are here by a token"]);
    has_not(&by_token, &["/api/v1/me/password", "192.0.2."]);
}

#[tokio::test]
async fn the_audit_log_is_filtered_and_goes_on_by_pages() {
    let served = Served::start().await;
    for n in 0..150_i64 {
        let entry = NewAudit {
            at_us: NOW_US + n,
            who: if n % 2 == 0 { "user ann" } else { "token <ci>" }.to_owned(),
            action: "tokens.create".to_owned(),
            target: Some(format!("t{n}")),
            outcome: if n == 3 {
                AuditOutcome::Refused
            } else {
                AuditOutcome::Done
            },
            detail: None,
            address: Some("192.0.2.7".to_owned()),
        };
        served
            .store
            .audit
            .note(&seed::acme(), &entry, 1_000)
            .await
            .unwrap();
    }
    let admin = served.tokens.admin.as_str();
    let newest = seen(&served, admin, "/audit").await;
    has(&newest, &[">t149<", "token &lt;ci&gt;", "192.0.2.7"]);
    has_not(&newest, &["<ci>", ">t0<"]);
    let older = newest.split("rel=\"next\" href=\"").nth(1).unwrap();
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    has(&seen(&served, admin, &older).await, &[">t0<", ">t49<"]);
    let refused = seen(&served, admin, "/audit?outcome=refused&who=&action=").await;
    has(&refused, &[">t3<"]);
    assert_eq!(
        refused
            .matches("<th class=\"nowrap\" scope=\"row\">")
            .count(),
        1
    );
    let none = seen(&served, admin, "/audit?who=user+zoe").await;
    has(&none, &["No entry is like that"]);
    let wrong = served.get("/audit?outcome=good").bearer(admin).send().await;
    assert!(wrong.problem(400).contains("done, refused or failed"));
    let rival = seen(&served, &served.tokens.rival, "/audit").await;
    has(&rival, &["Nobody has changed anything yet"]);
}

async fn browser(served: &Served, token: &str, path: &str) -> Answer {
    let ask = served.get(path).bearer(token);
    ask.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        .send()
        .await
}

#[tokio::test]
async fn what_goes_wrong_is_a_page_for_a_browser() {
    let served = Served::start().await;
    let reader = served.tokens.reader.as_str();
    for (path, status, words) in [
        ("/devices/none", 404, "There is no device none."),
        ("/devices?link=%3Cb%3E", 400, "&lt;b&gt;"),
        ("/audit", 403, "this needs an admin"),
        ("/devices?link=up", 400, "connected, cut-off or unknown"),
    ] {
        let answer = browser(&served, reader, path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(answer.header("content-security-policy").is_some());
        let body = answer.body.to_lowercase();
        assert!(body.contains(&words.to_lowercase()), "{path}: {body}");
        has(&answer.body, &["id=\"side\"", "<strong>acme</strong>"]);
        has_not(&answer.body, &["<b>"]);
    }
    // Without a session there is no frame, and what needs one leads to signing in.
    let nobody = served
        .get("/nothing/here")
        .header("accept", "text/html")
        .send()
        .await;
    assert_eq!(nobody.status, 404, "{nobody:?}");
    has(&nobody.body, &["<h1>", "/nothing/here"]);
    has_not(&nobody.body, &["id=\"side\""]);
    let audit = served
        .get("/audit")
        .header("accept", "text/html")
        .send()
        .await;
    assert_eq!(
        (audit.status, audit.header("location")),
        (303, Some("/login?next=%2faudit"))
    );
    // Programs get documents, also those that take pages.
    browser(&served, reader, "/api/v1/devices/none")
        .await
        .problem(404);
    served.read("/devices/none").await.problem(404);
}
