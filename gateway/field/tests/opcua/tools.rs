//! What `check` tells of a mapping, and the first one that `scan` writes.

use std::sync::Arc;

use serde_json::json;
use stencil_field::{
    check,
    mapping::{self, Connection, Protocol, Security, Server, User},
    opcua::{look, offers, skeleton},
};
use stencil_protocol::sample::OwnedValue;

use crate::{one, peer::OpcUaPeer};

fn connection(peer: &OpcUaPeer) -> Connection {
    let server = Server {
        url: peer.url().into(),
        address: mapping::opcua_address(peer.url()).unwrap(),
        security: Security::None,
        user: User::Anonymous,
        files_in: None,
    };
    Connection::new("line", Protocol::OpcUa(server))
}

#[tokio::test]
async fn each_node_is_tried() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 21.5, "Double");
    peer.set("text", "warm", "String");
    peer.set_with("bad", 1.0, "Double", json!({ "status": "BadOutOfService" }));
    peer.set_with(
        "doubt",
        1.0,
        "Double",
        json!({ "status": "UncertainInitialValue" }),
    );
    let points = "      temp: { node: \"ns=2;s=temp\", unit: Cel, scale: 2 }\n      text: { node: \
                  \"ns=2;s=text\", unit: Cel }\n      bad: { node: \"ns=2;s=bad\" }\n      gone: { \
                  node: \"ns=2;i=99\" }\n      doubt: { node: \"ns=2;s=doubt\" }\n";
    let mapping = mapping::parse(&one(&peer.plain(), "", points)).unwrap();
    let tried = check(&mapping, None).await;
    assert_eq!(tried[0].value, Some(OwnedValue::Number(43.0)));
    assert_eq!(tried[0].place, "ns=2;s=temp");
    assert!(tried[0].took_us.is_some());
    let faults: Vec<&str> = tried
        .iter()
        .skip(1)
        .map(|it| it.fault.as_deref().unwrap())
        .collect();
    for (fault, says) in faults.iter().zip([
        "the device gives a text",
        "BadOutOfService",
        "BadNodeIdUnknown",
        "UncertainInitialValue",
    ]) {
        assert!(fault.contains(says), "{faults:?}");
    }
    peer.listen(false);
    let tried = check(&mapping, None).await;
    assert_eq!(tried.len(), 5);
    assert!(
        tried
            .iter()
            .all(|it| it.fault.as_deref().unwrap().contains("nothing listens"))
    );
    assert!(tried.iter().all(|it| it.took_us.is_none()));
}

#[tokio::test]
async fn a_scan_lists_offers_and_variables() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 21.5, "Double");
    peer.set("list", json!([1, 2]), "Int32");
    peer.set("name", "press", "String");
    let connection = connection(&peer);
    let offers = offers(&connection).await.unwrap();
    let names: Vec<&str> = offers.iter().map(|offer| &*offer.security).collect();
    for name in ["none", "Basic256Sha256", "Aes256_Sha256_RsaPss"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let secure = offers
        .iter()
        .find(|offer| offer.security == "Basic256Sha256")
        .unwrap();
    assert!(secure.is_supported);
    let kept = peer.file("kept.pem");
    secure.keep(&kept).unwrap();
    let same = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().collect::<String>()
    };
    assert_eq!(same(&kept), same(&peer.file("server.pem")));
    assert!(secure.keep(&kept).unwrap_err().contains("exists"));

    let mut steps = 0;
    let found = look(&connection, |_| steps += 1).await.unwrap();
    assert!(steps > 0);
    let text = skeleton(&connection, &found);
    let mapping = mapping::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert!(
        text.contains("\"temp\": { node: \"ns=2;s=temp\" } # 21.5"),
        "{text}"
    );
    assert!(
        text.contains("# \"list\": { node: \"ns=2;s=list\" } # an array"),
        "{text}"
    );
    let mapped: Arc<_> = Arc::clone(mapping.devices().next().unwrap());
    assert_eq!(mapped.points.len(), 2, "{text}");
    let tried = check(&mapping, None).await;
    assert!(tried.iter().all(|it| it.fault.is_none()), "{tried:?}");
}
