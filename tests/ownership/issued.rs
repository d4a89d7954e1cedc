//! `stencil passport issue` and `issue-right`: what is issued is on the chain and at the hub, and what the contracts would
//! refuse is told before anything is sent.

use std::path::Path;
use std::process::Command;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue as _};
use serde_json::{Value, json};
use stencil_chain::signer::{self, Cost};
use stencil_ownership::{abi, cid::Cid, token_of};

use crate::support::chain::number;
use crate::support::{http, stencil, text};
use crate::world::{DEVICE, DID, World};

/// Another locker, which has no passport yet.
const NEXT: &str = "locker-8";
const NEXT_DID: &str = "did:web:hub.example:tenants:acme:devices:locker-8";
const DOCUMENT: &str = r#"{"name":"Locker 8"}"#;

/// An account in a keystore file that has coins, and is no issuer of anything.
struct Issuer<'w> {
    world: &'w World,
    folder: tempfile::TempDir,
    account: Address,
}

impl<'w> Issuer<'w> {
    fn new(world: &'w World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let account =
            signer::create(&folder.path().join("key.json"), "a password", Cost::Light).unwrap();
        stencil_crypto::keyfile::write(folder.path().join("password"), b"a password\n").unwrap();
        std::fs::write(folder.path().join("locker.json"), DOCUMENT).unwrap();
        let coins = U256::from(10).pow(U256::from(18));
        world.chain.transact(0, Some(account), &[], coins);
        Self {
            world,
            folder,
            account,
        }
    }

    /// The administrator makes it an issuer of both contracts.
    fn named(&self) {
        let selector = &keccak256("grantRole(bytes32,address)")[..4];
        let arguments = (keccak256("ISSUER_ROLE"), self.account).abi_encode_params();
        let data = [selector, &arguments].concat();
        for contract in [self.world.passports, self.world.rights] {
            self.world
                .chain
                .transact(0, Some(contract), &data, U256::ZERO);
        }
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = self.folder.path();
        path.join(name).to_str().unwrap().to_owned()
    }

    /// The command without a hub.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = stencil();
        command.env_remove("STENCIL_TOKEN");
        command.arg("passport").args(words);
        command.args(["--rpc", self.world.chain.url()]);
        command.args(["--keystore", &self.path("key.json")]);
        command.args(["--password-file", &self.path("password")]);
        command
    }

    fn on_chain(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.args(["--chain-id", "31337"]);
        command
    }

    fn at_hub(&self, words: &[&str]) -> Command {
        let hub = &self.world.hub;
        let mut command = self.on_chain(words);
        command.env("STENCIL_TOKEN", &hub.token);
        let at = format!("http://127.0.0.1:{}", hub.port("http"));
        command.env("STENCIL_HUB_URL", at);
        command
    }

    fn nonce(&self) -> u64 {
        let count = json!([self.account, "pending"]);
        number(&self.world.chain.rpc("eth_getTransactionCount", count))
    }

    /// What the newest block says of the time, seconds since 1970.
    fn now_s(&self) -> u64 {
        let newest = json!(["latest", false]);
        number(&self.world.chain.rpc("eth_getBlockByNumber", newest)["timestamp"])
    }

    fn read<C: SolCall>(&self, contract: Address, call: &C) -> C::Return {
        let call =
            json!({ "to": contract, "input": format!("0x{}", hex::encode(call.abi_encode())) });
        let said = self.world.chain.rpc("eth_call", json!([call, "latest"]));
        let said = hex::decode(said.as_str().unwrap().trim_start_matches("0x")).unwrap();
        C::abi_decode_returns(&said).unwrap()
    }
}

fn answered(mut command: Command) -> Value {
    let output = command.args(["--output", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(mut command: Command, why: &str) {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(why), "{why:?} is not in {said}");
}

/// A time as it is written on a command line.
fn written(at_s: u64) -> String {
    stencil_protocol::moment::rfc3339(i64::try_from(at_s).unwrap() * 1_000_000)
}

#[test]
fn an_issuer_issues_passports_and_rights_by_command() {
    let world = World::start();
    let issuer = Issuer::new(&world);
    let (passports, rights) = (
        world.passports.to_checksum(None),
        world.rights.to_checksum(None),
    );
    let (buyer, guest) = (world.buyer.to_checksum(None), world.guest.to_checksum(None));
    let document = issuer.path("locker.json");
    let issue = [
        "issue",
        "--contract",
        &passports,
        "--owner",
        &buyer,
        "--did",
        NEXT_DID,
        "--document",
        &document,
    ];
    let token = token_of(NEXT_DID).unwrap();
    let until = written(issuer.now_s() + 7_200);
    let passport = token.to_string();
    let lend = |until: &str| {
        let words = [
            "issue-right",
            "--contract",
            &rights,
            "--user",
            &guest,
            "--passport",
            &passport,
            "--until",
            until,
        ];
        issuer.on_chain(&words)
    };

    // Somebody else's key.
    let none = format!("{} is no issuer of this contract", issuer.account);
    refused(issuer.on_chain(&issue), &none);
    refused(lend(&until), &none);
    issuer.named();

    // What is wrong is told, and costs nothing.
    let mut elsewhere = issuer.command(&issue);
    elsewhere.args(["--chain-id", "1"]);
    refused(elsewhere, "of chain 31337, not 1: nothing was sent");
    let changed = |at: usize, to: &str| {
        let mut words = issue;
        words[at] = to;
        issuer.on_chain(&words)
    };
    refused(changed(4, &format!("0x{}", "0".repeat(40))), "zero address");
    refused(changed(4, &buyer.replace('a', "A")), "checksum");
    refused(changed(6, "urn:x"), "begins with `did:`");
    refused(changed(6, DID), "has its passport already, token 0x");
    refused(changed(2, &buyer), "there is no contract at");
    refused(
        changed(2, &rights),
        "is it a `DevicePassport`? Nothing was sent",
    );
    refused(
        changed(4, &world.market.to_checksum(None)),
        "is a contract that takes no tokens",
    );
    refused(
        lend(&written(issuer.now_s() - 60)),
        "a right ends after that",
    );
    refused(
        lend(&written(issuer.now_s() + 3_700 * 86_400)),
        "and no right ends after",
    );
    let mut dry = issuer.on_chain(&issue);
    dry.arg("--dry-run");
    let planned = answered(dry);
    assert_eq!(planned["token"], passport.as_str());
    assert!(planned["issued"].is_null(), "{planned}");
    assert_eq!(issuer.nonce(), 0, "nothing was sent");

    // Without a hub: by JSON, and for people.
    let issued = answered(issuer.on_chain(&issue));
    let cid = Cid::of(DOCUMENT.as_bytes());
    assert_eq!(issued["token"], passport.as_str());
    assert_eq!(issued["document"]["uri"], cid.uri());
    assert_eq!(issued["issued"]["block"], world.chain.head());
    let sent = &issued["issued"];
    let receipt = world
        .chain
        .rpc("eth_getTransactionReceipt", json!([sent["tx"]]));
    assert_eq!(
        number(&receipt["gasUsed"]),
        sent["gas_used"].as_u64().unwrap()
    );
    let id = U256::from_be_bytes(token.0);
    let owner = issuer.read(world.passports, &abi::ownerOfCall { tokenId: id });
    assert_eq!(owner, world.buyer);
    let metadata = issuer.read(world.passports, &abi::metadataOfCall { tokenId: id });
    assert_eq!(metadata, cid.0);
    refused(
        issuer.on_chain(&issue),
        &format!("has its passport already, token {passport}"),
    );

    let told = said(lend(&until));
    for line in ["right        1\n", &format!("passport     {passport}\n")] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let first = U256::from(1);
    let user = issuer.read(world.rights, &abi::userOfCall { tokenId: first });
    assert_eq!(user, world.guest);
    let right = issuer.read(world.rights, &abi::rightOfCall { tokenId: first });
    assert_eq!((right.device, written(right.ends)), (id, until.clone()));
    // By the device's DID, too, and the contract's number is told.
    let by_did = [
        "issue-right",
        "--contract",
        &rights,
        "--user",
        &buyer,
        "--did",
        NEXT_DID,
        "--until",
        &until,
    ];
    let lent = answered(issuer.on_chain(&by_did));
    assert_eq!(
        (&lent["token"], &lent["passport"]),
        (&json!("2"), &json!(passport))
    );
    assert_eq!(issuer.nonce(), 3);
}

#[test]
fn a_device_of_the_hub_gets_the_passport_that_is_issued() {
    let world = World::start();
    let issuer = Issuer::new(&world);
    issuer.named();
    let mut device = world.hub.foreign(NEXT);
    device.deliver("v1/devices/me/telemetry", b"{\"door\": 0}");
    world.hub.wait_for_latest(NEXT, "door", &json!(0));
    let passports = world.passports.to_checksum(None);
    let buyer = world.buyer.to_checksum(None);
    let document = issuer.path("locker.json");
    let issue = |did: &str, device: &str| {
        issuer.at_hub(&[
            "issue",
            "--contract",
            &passports,
            "--owner",
            &buyer,
            "--did",
            did,
            "--document",
            &document,
            "--device",
            device,
        ])
    };
    refused(issue(NEXT_DID, "locker-9"), "nothing was sent");
    assert_eq!(issuer.nonce(), 0, "the hub knows no such device");

    // Nobody has to write its DID.
    let shown = world.hub.get(&format!("/api/v1/devices/{NEXT}")).json();
    let own = shown["did"].as_str().unwrap();
    assert!(
        own.ends_with(&format!(":tenants:acme:devices:{NEXT}")),
        "{own}"
    );
    let told = said(world.hub.command(&["device", "show", NEXT]));
    assert!(told.contains(&format!("DID       {own}\n")), "{told}");
    let without = issuer.at_hub(&[
        "issue",
        "--contract",
        &passports,
        "--owner",
        &buyer,
        "--document",
        &document,
        "--device",
        NEXT,
        "--dry-run",
    ]);
    assert_eq!(answered(without)["did"], own);

    let told = said(issue(NEXT_DID, NEXT));
    assert!(told.contains(&format!("device       {NEXT}\n")), "{told}");
    assert!(!told.contains("next"), "{told}");
    let shown = world.hub.get(&format!("/api/v1/devices/{NEXT}/passport"));
    let token: B256 = token_of(NEXT_DID).unwrap();
    assert_eq!(shown.json()["passport"], token.to_string());
    let cid = Cid::of(DOCUMENT.as_bytes());
    let kept = world.hub.get(&format!("/ipfs/{cid}"));
    assert_eq!((kept.status, kept.body.as_str()), (200, DOCUMENT));

    // What would be refused afterwards, or take a device from its owner, is refused before.
    let third = "did:web:hub.example:tenants:acme:devices:locker-x";
    let sent = issuer.nonce();
    refused(
        issue(third, NEXT),
        "--replace gives it this one all the same",
    );
    let editor = said(world.hub.command(&["token", "create", "--role", "editor"]));
    let mut by_editor = issue(third, NEXT);
    by_editor.env("STENCIL_TOKEN", editor.trim());
    refused(by_editor, "has to be an admin: nothing was sent");
    std::fs::write(&document, "{\"name\":").unwrap();
    refused(issue(third, NEXT), "it is no JSON");
    std::fs::write(&document, DOCUMENT).unwrap();
    assert_eq!(issuer.nonce(), sent, "nothing was sent");

    let given = world.hub.command(&["passport", "give", NEXT]);
    let given = answered(given);
    let token = token_of(own).unwrap().to_string();
    assert_eq!(
        (&given["did"], &given["passport"]),
        (&json!(own), &json!(token))
    );

    // Whose tokens count is not set any more: the passport is issued all the same, and it is said what is left.
    let (port, token) = (world.hub.port("http"), Some(world.hub.token.as_str()));
    let removed = http::request(port, "DELETE", "/api/v1/ownership", token, None);
    assert_eq!(removed.status, 204, "{removed:?}");
    refused(
        issue(third, DEVICE),
        &format!("`stencil passport give {DEVICE} --did {third}` does that"),
    );
    let id = U256::from_be_bytes(token_of(third).unwrap().0);
    let owner = issuer.read(world.passports, &abi::ownerOfCall { tokenId: id });
    assert_eq!(owner, world.buyer);
}
