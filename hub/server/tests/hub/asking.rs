//! Who asks a gateway learns why it does not answer.

use stencil_protocol::question::Asked;
use stencil_protocol::topic::Topic;
use stencil_server::NoAnswer;

use crate::support::{TestHub, gateway, tenant};

#[tokio::test]
async fn a_gateway_that_has_just_connected_is_told_apart_from_one_that_is_too_old() {
    let test = TestHub::start().await;
    let gw = test.gateway("gw-1").await;
    let (whose, of) = (tenant("acme"), gateway("gw-1"));
    let ask = async || {
        let asked = test.hub().ask_gateway(&whose, &of, Asked::Figures);
        asked.await.unwrap_err()
    };
    assert!(matches!(ask().await, NoAnswer::Away));
    // As gateways do: commands first, the certificate last, and questions before it.
    let topics = [Topic::GatewayCommand, Topic::GatewayCertificate];
    let [commands, certificate] = topics.map(|topic| topic(gateway("gw-1")).to_string());
    assert!(gw.subscribe(&commands).await);
    assert!(matches!(ask().await, NoAnswer::Unready));
    assert!(gw.subscribe(&certificate).await);
    assert!(matches!(ask().await, NoAnswer::Deaf));
}
