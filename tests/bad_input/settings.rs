//! What an operator mistypes is told: the key, the place, and what would be right.

use std::path::Path;
use std::process::Command;

use crate::support::{Gateway, Hub, stencil, succeed, text};

/// Runs a command that must fail as a mistake of its user, and gives what it said.
pub(crate) fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
    assert!(output.stdout.is_empty(), "{command:?}: {said}");
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    said
}

fn file(dir: &Path, content: &str) -> std::path::PathBuf {
    let file = dir.join("settings.toml");
    std::fs::write(&file, content).unwrap();
    file
}

const PARTS: [&[&str]; 5] = [
    &["hub"],
    &["gateway"],
    &["sim", "fleet"],
    &["sim", "replay"],
    &["sim", "receiver"],
];

#[test]
fn an_unknown_key_in_a_file_is_named_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), "misspelt = 1\n");
    for part in PARTS {
        let said = refused(stencil().args(part).arg("--config").arg(&file));
        assert!(said.contains("misspelt"), "{part:?}: {said}");
        assert!(
            said.contains("settings.toml"),
            "{part:?} names no place: {said}"
        );
    }
    for (part, content, key) in [
        (
            "hub",
            "[mqtt]\npliain = \"127.0.0.1:1883\"\n",
            "mqtt.pliain",
        ),
        ("hub", "[log]\nkeep_byte = 1\n", "log.keep_byte"),
        ("gateway", "[link]\ntpc = []\n", "link.tpc"),
        ("gateway", "[spool]\nmax_size = 5\n", "spool.max_size"),
    ] {
        std::fs::write(&file, content).unwrap();
        let said = refused(stencil().args([part, "--config"]).arg(&file));
        let last = key.rsplit('.').next().unwrap();
        assert!(
            said.contains(last) && said.contains("settings.toml"),
            "{key}: {said}"
        );
        // What would be right: the keys that there are.
        assert!(said.contains("expected"), "{key}: {said}");
    }
}

#[test]
fn an_unknown_key_in_the_environment_is_named_with_the_place() {
    for (part, variable, key) in [
        (["hub"].as_slice(), "STENCIL_HUB_MQTT__PLIAIN", "pliain"),
        (&["hub"], "STENCIL_HUB_DATADIR", "datadir"),
        (&["gateway"], "STENCIL_GATEWAY_HUB__ADRESS", "adress"),
        (&["sim", "fleet"], "STENCIL_SIM_FREZERS", "frezers"),
    ] {
        let said = refused(stencil().args(part).env(variable, "1"));
        assert!(
            said.contains(key) && said.contains("environment"),
            "{variable}: {said}"
        );
    }
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_place() {
    let dir = tempfile::tempdir().unwrap();
    for (part, content, words) in [
        (
            "hub",
            "[http]\nlisten = \"everywhere\"\n",
            ["http.listen", "settings.toml"],
        ),
        (
            "hub",
            "[mqtt]\nmax_connections = -1\n",
            ["mqtt.max_connections", "settings.toml"],
        ),
        (
            "hub",
            "[mqtt]\nplain = \"0.0.0.0:1883\"\n",
            ["mqtt.plain", "loopback"],
        ),
        (
            "hub",
            "[mqtt]\nmax_connections = 0\n",
            ["mqtt.max_connections", "use 1 "],
        ),
        (
            "gateway",
            "[hub]\naddress = \"hub.example\"\n",
            ["hub.address", "host:port"],
        ),
        (
            "gateway",
            "[http]\nlisten = \"0.0.0.0:9464\"\n",
            ["http.listen", "http.allow_plain"],
        ),
        ("hub", "[mqtt\n", ["settings.toml", "TOML"]),
    ] {
        let said = refused(
            stencil()
                .args([part, "--config"])
                .arg(file(dir.path(), content)),
        );
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{content}{words:?}: {said}"
        );
    }
    let said = refused(
        stencil()
            .arg("hub")
            .env("STENCIL_HUB_HTTP__LISTEN", "everywhere"),
    );
    assert!(
        said.contains("STENCIL_HUB_HTTP__LISTEN") && said.contains("the environment"),
        "{said}"
    );
    let said = refused(stencil().args(["hub", "--config", "/nowhere/hub.toml"]));
    assert!(said.contains("/nowhere/hub.toml"), "{said}");
}

#[test]
fn variables_of_the_command_line_tools_are_no_settings_of_the_hub() {
    // Who asks the hub by `stencil device` on the machine where it runs has this set.
    let mut command = stencil();
    command
        .args(["hub", "--dump-config"])
        .env("STENCIL_HUB_URL", "http://127.0.0.1:8080");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn wrong_flags_are_told_with_the_usage() {
    for (arguments, word) in [
        (["hub", "--prot", "1"].as_slice(), "--prot"),
        (&["hub", "--http", "everywhere"], "--http"),
        (&["gateway", "--listen", "x"], "--listen"),
        (&["demo", "--chaos"], "--once"),
        (&["demo", "--once", "--seconds", "5"], "10..=600"),
        (&["demo", "--once", "--output", "xml"], "json"),
        (&["pub", "-q", "2", "-m", "x"], "0..=1"),
        (&["pub"], "--message"),
        (&["token", "create", "--role", "king"], "editor"),
        (&["hubb"], "hubb"),
        (&["hub", "init"], "--tenant"),
    ] {
        let said = refused(stencil().args(arguments));
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(said.contains("--help"), "{arguments:?}: {said}");
    }
    let said = refused(stencil().args(["--log", "loud=1=2", "hub"]));
    assert!(
        said.contains("loud=1=2") && said.contains("stencil_mqtt=debug"),
        "{said}"
    );
}

#[test]
fn a_folder_that_is_no_hubs_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for folder in [empty.clone(), dir.path().join("missing")] {
        let ports = ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"];
        let said = refused(
            stencil()
                .arg("hub")
                .args(ports)
                .arg("--data-dir")
                .arg(&folder),
        );
        let name = folder.display().to_string();
        assert!(
            said.contains(&name) && said.contains("stencil hub init"),
            "{said}"
        );
        let said = refused(
            stencil()
                .args([
                    "hub",
                    "add-gateway",
                    "--tenant",
                    "acme",
                    "gw-1",
                    "--data-dir",
                ])
                .arg(&folder)
                .arg("--out")
                .arg(dir.path().join("out")),
        );
        assert!(
            said.contains(&name) && said.contains("stencil hub init"),
            "{said}"
        );
    }
    // Nothing was made by the way.
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    assert!(!dir.path().join("missing").exists());
}

#[test]
fn a_gateway_without_its_keys_is_told_which_file_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = file(dir.path(), "[hub]\nroot = \"/nowhere/root.pem\"\n");
    let said = refused(stencil().args(["gateway", "--config"]).arg(settings));
    assert!(said.contains("/nowhere/root.pem"), "{said}");
}

#[test]
fn a_tenant_that_is_there_keeps_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let init = || {
        let mut command = stencil();
        command
            .args(["hub", "init", "--tenant", "acme", "--data-dir"])
            .arg(dir.path());
        command
    };
    succeed(&mut init());
    let said = refused(&mut init());
    assert!(
        said.contains("acme exists already") && said.contains("stencil hub add-token"),
        "{said}"
    );
    let said = refused(
        stencil()
            .args(["hub", "init", "--tenant", "no spaces", "--data-dir"])
            .arg(dir.path()),
    );
    assert!(said.contains("tenant"), "{said}");
}

#[test]
fn a_gateway_of_a_tenant_that_is_not_there_is_not_made() {
    let hub = Hub::start(&[]);
    let out = hub.dir.path().join("out");
    let said = refused(
        stencil()
            .args([
                "hub",
                "add-gateway",
                "--tenant",
                "amce",
                "gw-1",
                "--data-dir",
            ])
            .arg(hub.data())
            .arg("--out")
            .arg(&out),
    );
    let words = ["no tenant amce", "stencil hub init"];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert!(!out.exists());
}

#[test]
fn a_second_process_on_the_same_data_is_told_of_the_first() {
    let hub = Hub::start(&[]);
    let ports = ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"];
    let said = refused(
        stencil()
            .arg("hub")
            .args(ports)
            .arg("--data-dir")
            .arg(hub.data()),
    );
    let holder = format!("process {}", hub.pid());
    assert_eq!(
        said.matches(&holder).count(),
        1,
        "once, and which one: {said}"
    );
    hub.wait_until_ready(true);

    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    let settings = gateway.folder().join("gateway.toml");
    let said = refused(stencil().args(["gateway", "--config"]).arg(settings));
    assert!(said.contains("only one process"), "{said}");
}

#[test]
fn an_address_in_use_is_named_with_its_key() {
    let hub = Hub::start(&[]);
    let taken = format!("127.0.0.1:{}", hub.port("http"));
    let other = tempfile::tempdir().unwrap();
    let mut init = stencil();
    init.args(["hub", "init", "--tenant", "acme", "--data-dir"])
        .arg(other.path());
    succeed(&mut init);
    let said = refused(
        stencil()
            .args([
                "hub",
                "--http",
                &taken,
                "--mqtt",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(other.path()),
    );
    assert!(
        said.contains("http.listen") && said.contains(&taken),
        "{said}"
    );
}

#[test]
fn a_demo_leaves_somebody_elses_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let said = refused(
        stencil()
            .args(["demo", "--once", "--data-dir"])
            .arg(dir.path()),
    );
    assert!(said.contains("--data-dir"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_workflow_with_a_mistake_is_told_with_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("warm.yaml");
    let good = "id: warm\nversion: 1\non: { telemetry: { devices: \"freezer-*\", name: t } }\n\
        when: { above: 1 }\nsteps:\n  - { id: a, use: content.publish, with: { collection: c, key: k } }\n";
    for (from, to, words) in [
        ("above", "abvoe", ["line 4", "`above`"]),
        (
            "content.publish",
            "content.pubish",
            ["line 6", "content.pubish"],
        ),
        ("version: 1", "version: one", ["line 2", "version"]),
    ] {
        std::fs::write(&file, good.replace(from, to)).unwrap();
        let said = refused(stencil().args(["workflow", "check"]).arg(&file));
        assert!(said.contains("warm.yaml"), "{said}");
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{to} {words:?}: {said}"
        );
    }
    std::fs::write(&file, good).unwrap();
    succeed(stencil().args(["workflow", "check"]).arg(&file));
}
