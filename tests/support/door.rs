//! A door whose gateway lets holders of rights in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};

use super::{Gateway, Hub, http, wait_for};

/// A gateway that lets holders in, and its device, which does what it is told.
pub(crate) struct Door {
    pub(crate) gateway: Gateway,
    device: String,
    told: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    linked: Option<JoinHandle<()>>,
}

impl Door {
    /// The gateway `gw-1` of a hub, with a device that the hub knows by it.
    pub(crate) fn at(hub: &Hub, name: &str) -> Self {
        let mut gateway = Gateway::add(hub, "gw-1");
        gateway.listen_for_holders();
        let psk = gateway.add_device(name);
        gateway.start();
        let mut device = gateway.link(name, &psk);
        device.deliver(1, 1, 1);
        wait_for("the hub to know the device", || {
            (hub.points(name, "n") == 1).then_some(())
        });
        let (told, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::default());
        let (notes, end): (_, Arc<AtomicBool>) = (Arc::clone(&told), Arc::clone(&ends));
        let linked = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let command = device.obeys(Duration::from_secs(1));
                notes.lock().unwrap().extend(command);
            }
        });
        Self {
            gateway,
            device: name.to_owned(),
            told,
            ends,
            linked: Some(linked),
        }
    }

    /// What its device was told, and has done.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// What the gateway goes by, as it keeps it.
    pub(crate) fn trust(&self) -> Value {
        let file = self.gateway.folder().join("data/access/trust.json");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A holder has the device do something, which has to go well.
    pub(crate) fn opens(&self, key: &PrivateKeySigner, credential: &Value, command: &str) {
        let port = self.gateway.access().port();
        let path = format!("/challenge?device={}&command={command}", self.device);
        // It is asked once it has all that it goes by: who asks too often is let wait.
        let given = wait_for("a challenge", || {
            let lists = self.trust()["lists"].as_array()?.len();
            (lists == 2).then_some(())?;
            let given = http::get(port, &path, None).json();
            given["admits_until_us"].is_i64().then_some(given)
        });
        let text = given["text"].as_str().unwrap();
        let signature = key.sign_message_sync(text.as_bytes()).unwrap();
        let answer = json!({
            "challenge": given["challenge"],
            "signature": format!("0x{}", hex::encode(signature.as_bytes())),
            "credential": credential,
        });
        let body = answer.to_string();
        let body = Some(("application/json", body.as_str()));
        let said = http::request(port, "POST", "/open", None, body);
        assert_eq!(
            (said.status, &said.json()["state"]),
            (200, &json!("done")),
            "{said:?}"
        );
    }

    /// Its device is linked no more.
    pub(crate) fn unlink(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(linked) = self.linked.take() {
            let _ = linked.join();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.unlink();
    }
}
