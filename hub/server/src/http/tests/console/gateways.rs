//! The pages of gateways: their certificates, and how one is revoked.

use stencil_protocol::id::GatewayId;
use stencil_store::NewCertificate;

use super::super::{NOW_US, Served, seed};
use super::{hides, page, seen_with, shows};

const DAY_US: i64 = 86_400_000_000;

fn certificate(n: u8, left_days: i64) -> NewCertificate {
    NewCertificate {
        fingerprint: [n; 32],
        serial: format!("{n:02x}cafe"),
        key: [n; 32],
        not_before_us: NOW_US - 100 * DAY_US,
        not_after_us: NOW_US + left_days * DAY_US,
    }
}

#[tokio::test]
async fn an_admin_revokes_a_gateway_and_all_see_how_it_stands() {
    let served = Served::start().await;
    let (acme, gateway) = (seed::acme(), GatewayId::parse("gw-1").unwrap());
    let certificates = &served.store.certificates;
    for (n, left_days) in [(1, 10), (2, 200)] {
        let it = certificate(n, left_days);
        let at_us = NOW_US + i64::from(n);
        let added = certificates.add_certified(&acme, &gateway, &it, at_us);
        added.await.unwrap();
        let used = certificates.present(&acme, &gateway, &it, true, at_us);
        used.await.unwrap();
        if n == 1 {
            shows(&page(&served, "/gateways").await, &["ends soon"]);
        }
    }
    hides(&page(&served, "/gateways").await, &["ends soon"]);
    let path = "/gateways/gw-1";
    let shown = ["01cafe", "superseded", "02cafe", "current"];
    let viewer = page(&served, path).await;
    shows(&viewer, &shown);
    // As `stencil verify --gateway-key` takes it.
    shows(&viewer, &[&"01".repeat(32), &"02".repeat(32)]);
    let button = ["data-send=\"POST /api/v1/gateways/gw-1/revoke\""];
    hides(&viewer, &button);
    let admin = &served.tokens.admin;
    let page_of_admin = seen_with(&served, admin, path).await;
    shows(&page_of_admin, &button);
    shows(&page_of_admin, &["data-confirm=\"Revoke gateway gw-1?"]);

    for _ in 0..2 {
        let asked = served.ask("POST", "/api/v1/gateways/gw-1/revoke");
        let answer = asked.bearer(admin).send().await.ok();
        assert_eq!(answer["revoked_us"], NOW_US, "{answer}");
    }
    let after = seen_with(&served, admin, path).await;
    shows(&after, &["badge bad\">revoked"]);
    hides(&after, &button);
    hides(&after, &[">current<"]);
    let none = served.ask("POST", "/api/v1/gateways/gw-none/revoke");
    assert_eq!(none.bearer(admin).send().await.status, 404);
    let log = served.get("/audit").bearer(admin).send().await;
    shows(&log.body, &["gateways.revoke", "gateways.certify"]);
}
