//! People are let in from the hub's machine and by each other, with the commands that do it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{Hub, http, stencil, succeed};

const PASSWORD: &str = "correct-horse-battery";
const FORM: &str = "application/x-www-form-urlencoded";

/// The path of a one-time link.
fn path(link: &str) -> String {
    let at = link
        .find("/link/")
        .unwrap_or_else(|| panic!("no link: {link}"));
    link[at..].trim().to_owned()
}

/// Sets a password by a link, which signs in.
fn use_link(hub: &Hub, link: &str) -> u16 {
    let form = format!("password={PASSWORD}&again={PASSWORD}");
    let path = path(link);
    http::request(hub.port("http"), "POST", &path, None, Some((FORM, &form))).status
}

fn sign_in(hub: &Hub, tenant: &str, name: &str) -> u16 {
    let form = format!("tenant={tenant}&name={name}&password={PASSWORD}");
    http::request(
        hub.port("http"),
        "POST",
        "/login",
        None,
        Some((FORM, &form)),
    )
    .status
}

/// A `stencil hub` command on the hub's data folder.
fn on_the_machine(hub: &Hub, arguments: &[&str]) -> String {
    let mut command = stencil();
    command.arg("hub").args(arguments);
    succeed(command.arg("--data-dir").arg(hub.data()))
        .trim()
        .to_owned()
}

#[test]
fn somebody_without_a_password_is_let_in_and_lets_others_in() {
    let hub = Hub::start(&[]);
    // The machine opens the door for the first user, once a link.
    let url = "https://hub.example.org";
    let link = on_the_machine(&hub, &["login-link", "--tenant", "acme", "--url", url]);
    assert!(
        link.starts_with("https://hub.example.org/link/stencil_link_"),
        "{link}"
    );
    assert_ne!(sign_in(&hub, "acme", "admin"), 303);
    assert_eq!(use_link(&hub, &link), 303);
    assert_eq!(use_link(&hub, &link), 404);
    assert_eq!(sign_in(&hub, "acme", "admin"), 303);

    let ann = hub.ask(&["user", "add", "ann", "--role", "editor"]);
    assert_eq!(use_link(&hub, ann["link"].as_str().unwrap()), 303);
    let link = ["add-user", "--tenant", "acme", "--role", "viewer", "ben"];
    assert_eq!(use_link(&hub, &on_the_machine(&hub, &link)), 303);
    let users = hub.ask(&["user", "list"]);
    let users: Vec<_> = users
        .as_array()
        .unwrap()
        .iter()
        .map(|user| {
            assert_eq!(user["has_password"], true);
            (
                user["name"].as_str().unwrap(),
                user["role"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        users,
        [("admin", "admin"), ("ann", "editor"), ("ben", "viewer")]
    );

    let sessions = hub.ask(&["session", "list", "--user", "ann"]);
    let id = sessions[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(hub.ask(&["session", "end", &id])["ended"], true);
    assert_eq!(
        hub.ask(&["session", "list", "--user", "ann"]),
        Value::Array(Vec::new())
    );
    assert_eq!(
        hub.ask(&["user", "set-role", "ann", "viewer"])["role"],
        "viewer"
    );
    assert!(hub.ask(&["user", "disable", "ann"])["disabled_us"].is_i64());
    assert_ne!(sign_in(&hub, "acme", "ann"), 303);
    hub.ask(&["user", "enable", "ann"]);
    assert_eq!(sign_in(&hub, "acme", "ann"), 303);
    assert_eq!(hub.ask(&["user", "delete", "ben"])["deleted"], true);
    let last = hub.command(&["user", "delete", "admin"]).output().unwrap();
    assert_eq!(last.status.code(), Some(2));
    assert!(
        support::text(&last).contains("last admin"),
        "{}",
        support::text(&last)
    );

    let log = hub.ask(&["audit", "list", "--who", "command line"]);
    let told: Vec<_> = log.as_array().unwrap().iter().map(told).collect();
    assert_eq!(
        told,
        [
            ["users.create", "ben", "role viewer"],
            ["users.make_link", "admin", "-"]
        ]
    );
    let log = hub.ask(&[
        "audit",
        "list",
        "--action",
        "users.create",
        "--who",
        "token first",
    ]);
    assert_eq!(told_of(&log), [["users.create", "ann", "role editor"]]);
    let log = hub.ask(&["audit", "list", "--action", "users.delete"]);
    assert_eq!(
        (&log[0]["target"], &log[0]["outcome"]),
        (&"admin".into(), &"failed".into())
    );
    assert_eq!(
        (&log[1]["target"], &log[1]["outcome"]),
        (&"ben".into(), &"done".into())
    );
    hub.is_sound();
}

/// Action, target and detail of an entry of the audit log.
fn told(entry: &Value) -> [&str; 3] {
    ["action", "target", "detail"].map(|field| entry[field].as_str().unwrap_or("-"))
}

fn told_of(log: &Value) -> Vec<[&str; 3]> {
    log.as_array().unwrap().iter().map(told).collect()
}

#[test]
fn a_new_gateway_has_the_keys_that_sign_its_tenants_images_and_no_others() {
    let hub = Hub::start(&[]);
    hub.add_tenant("rival");
    let keys = hub.data().join("../keys");
    let keys = keys.to_str().unwrap();
    succeed(stencil().args(["update", "keygen", "--out", keys]));
    let trusted = format!("{keys}/trust.keys");
    let gateway = |tenant: &str, name: &str| {
        let out = hub.data().join("..").join(name);
        let folder = out.to_str().unwrap();
        let made = ["add-gateway", "--tenant", tenant, "--out", folder, name];
        let said = on_the_machine(&hub, &made);
        let mut settings = stencil();
        settings.args(["gateway", "--dump-config", "--config"]);
        let settings = succeed(settings.arg(out.join("gateway.toml")));
        (out.join("trust.keys"), said, settings)
    };
    let has_none = |(file, said, settings): (std::path::PathBuf, String, String)| {
        assert!(said.contains("stencil image trust"), "{said}");
        assert!(said.contains(&file.display().to_string()), "{said}");
        assert!(!settings.contains("trust.keys"), "{settings}");
        assert!(!file.exists());
    };
    has_none(gateway("acme", "gw-early"));
    succeed(&mut hub.command(&["image", "trust", &trusted]));
    let (file, said, settings) = gateway("acme", "gw-late");
    assert!(!said.contains("stencil image trust"), "{said}");
    let trust = format!("trust = \"{}\"", file.display());
    assert!(settings.contains(&trust), "{settings}");
    let given = std::fs::read_to_string(file).unwrap();
    assert_eq!(given, std::fs::read_to_string(&trusted).unwrap());
    has_none(gateway("rival", "gw-rival"));
}

#[test]
fn who_got_the_keys_stands_in_the_tenants_log() {
    let hub = Hub::start(&[]);
    let out = hub.data().join("../gw-7");
    let out = out.to_str().unwrap();
    let gateway = ["add-gateway", "--tenant", "acme", "--out", out, "gw-7"];
    on_the_machine(&hub, &gateway);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "it holds a key");
    let operator = on_the_machine(&hub, &["add-operator", "--name", "ops"]);
    let list = ["list-operators", "--output", "json"];
    let operators: Value = serde_json::from_str(&on_the_machine(&hub, &list)).unwrap();
    assert_eq!(operators[0]["name"], "ops");
    assert!(operators[0]["revoked_us"].is_null());
    let id = operators[0]["id"].as_str().unwrap();

    let tenants = || {
        let mut command = hub.command(&["tenant", "list"]);
        command.env("STENCIL_TOKEN", &operator).output().unwrap()
    };
    assert!(tenants().status.success());
    on_the_machine(&hub, &["remove-operator", id]);
    assert_eq!(tenants().status.code(), Some(2));
    let operators: Value = serde_json::from_str(&on_the_machine(&hub, &list)).unwrap();
    assert!(operators[0]["revoked_us"].is_i64());
    let mut again = stencil();
    again.args(["hub", "remove-operator", id, "--data-dir"]);
    let again = again.arg(hub.data()).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(
        support::text(&again).contains(id),
        "{}",
        support::text(&again)
    );

    let made = hub.ask(&["token", "create", "--role", "viewer", "--name", "dashboard"]);
    let token = made["id"].as_str().unwrap();
    let log = hub.ask(&["audit", "list"]);
    // Which certificate a gateway was given is told by its serial number, 16 bytes.
    let told = told_of(&log);
    let certificate = told[3][2];
    let serial = certificate.strip_prefix("certificate ").unwrap_or_default();
    assert_eq!(hex::decode(serial).unwrap().len(), 16, "{log}");
    assert_eq!(
        told,
        [
            ["tokens.create", token, "role viewer"],
            ["operators.revoke", id, "named ops"],
            ["operators.create", id, "named ops"],
            ["gateways.create", "gw-7", certificate],
        ]
    );
    hub.is_sound();
}

#[test]
fn an_operator_makes_and_erases_a_tenant() {
    let hub = Hub::start(&[]);
    let operator = on_the_machine(&hub, &["add-operator"]);
    let tenant = |arguments: &[&str]| {
        let mut command = hub.command(&["tenant"]);
        command.args(arguments).env("STENCIL_TOKEN", &operator);
        command
    };
    let made = succeed(&mut tenant(&["create", "globex", "--admin", "hank"]));
    assert_eq!(use_link(&hub, &made), 303);
    assert_eq!(sign_in(&hub, "globex", "hank"), 303);
    let list = succeed(&mut tenant(&["list"]));
    assert!(list.contains("acme") && list.contains("globex"), "{list}");

    let mistyped = ["delete", "globex", "--confirm", "globey"];
    assert_eq!(tenant(&mistyped).output().unwrap().status.code(), Some(2));
    assert_eq!(sign_in(&hub, "globex", "hank"), 303);
    succeed(&mut tenant(&["delete", "globex", "--confirm", "globex"]));
    assert_ne!(sign_in(&hub, "globex", "hank"), 303);
    let list = succeed(&mut tenant(&["list"]));
    assert!(list.contains("acme") && !list.contains("globex"), "{list}");
    // An admin of a tenant is no operator.
    assert_eq!(
        hub.command(&["tenant", "list"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
    assert_eq!(hub.get("/api/v1/me").status, 200);
    hub.is_sound();
}

#[test]
fn the_first_link_says_where_it_leads_and_what_to_do_if_the_hub_is_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let init = |tenant: &str, more: &[&str]| {
        let mut command = stencil();
        command.args(["hub", "init", "--tenant", tenant, "--data-dir"]);
        command.arg(dir.path().join("hub"));
        succeed(command.args(more))
    };
    let said = init("acme", &[]);
    assert!(said.contains("http://127.0.0.1:8080/link/"), "{said}");
    let hint = said.lines().last().unwrap();
    for part in [
        "listens on 127.0.0.1:8080",
        "in place of http://127.0.0.1:8080",
        "--url",
    ] {
        assert!(hint.contains(part), "{part}: {said}");
    }
    let settings = dir.path().join("hub.toml");
    std::fs::write(&settings, "[http]\nlisten = \"127.0.0.1:9090\"\n").unwrap();
    let said = init("second", &["--config", settings.to_str().unwrap()]);
    assert!(said.contains("http://127.0.0.1:9090/link/"), "{said}");
    assert!(said.contains("in place of http://127.0.0.1:9090"), "{said}");
    let said = init("third", &["--url", "https://hub.example.org"]);
    assert!(said.contains("https://hub.example.org/link/"), "{said}");
    assert!(!said.contains("in place of"), "{said}");
}
