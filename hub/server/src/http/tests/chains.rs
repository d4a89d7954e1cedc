//! Chains, for who runs the hub.

use stencil_store::{
    AuditFilter, AuditOutcome, BlockMark, ChainCommit, KeptBlock, Watch, WatchKind,
};

use super::{NOW_US, Served, seed};
use crate::chains::tests::fake::{CHAIN, ID, TOKEN};

const WHY: &str = "a reorganisation goes deeper than the blocks that are kept";

async fn stopped(served: &Served) {
    let chains = &served.store.chains;
    chains.open_chain(CHAIN, ID, NOW_US).await.unwrap();
    let mark = BlockMark {
        number: 7,
        hash: [0xab; 32],
    };
    let kept = KeptBlock {
        mark,
        parent: [0xaa; 32],
    };
    let state = chains.chain(CHAIN).await.unwrap().unwrap();
    let commit = ChainCommit {
        chain: CHAIN.to_owned(),
        from: state.cursor,
        interest: state.interest,
        blocks: vec![kept],
        cursor: Some(mark),
        cursor_s: Some(1),
        at_us: NOW_US,
        ..ChainCommit::default()
    };
    chains.commit_chain(&commit).await.unwrap();
    let watch = Watch {
        owner: seed::acme().to_string(),
        address: TOKEN.into_array(),
        kind: WatchKind::AnyEvent,
    };
    chains.watch_chain(CHAIN, &[watch]).await.unwrap();
    chains.stop_chain(CHAIN, Some(WHY), NOW_US).await.unwrap();
}

#[tokio::test]
async fn an_operator_has_a_chain_go_on_and_its_tenants_can_see_who() {
    let served = Served::start().await;
    let made = served
        .store
        .operators
        .create_operator("ops", None, NOW_US)
        .await;
    let operator = made.unwrap().1.reveal().to_owned();
    stopped(&served).await;
    let chain = async || {
        let list = served.get("/api/v1/operator/chains").bearer(&operator);
        let list = list.send().await.ok();
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .find(|it| it["chain"] == CHAIN)
            .unwrap()
            .clone()
    };
    let stands = chain().await;
    assert_eq!(stands["stopped"], WHY);
    assert_eq!(stands["followed"], true);
    assert_eq!(stands["cursor"]["number"], 7);

    let path = format!("/api/v1/operator/chains/{CHAIN}/resume");
    let resume =
        async |path: &str, token: &str| served.ask("POST", path).bearer(token).send().await;
    // A tenant's admin runs no hub.
    let refused = resume(&path, &served.tokens.admin).await;
    assert!(matches!(refused.status, 401 | 403), "{refused:?}");
    assert_eq!(chain().await["stopped"], WHY);

    let resumed = resume(&path, &operator).await.ok();
    assert_eq!(resumed["was_stopped"], WHY);
    assert_eq!(resumed["cursor"]["hash"], format!("0x{}", "ab".repeat(32)));
    let means = resumed["means"].as_str().unwrap();
    assert!(
        means.contains("it stops again and nothing changes"),
        "{means}"
    );
    assert_eq!(chain().await["stopped"], serde_json::Value::Null);
    let filter = AuditFilter::default();
    let noted = served
        .store
        .audit
        .entries(&seed::acme(), &filter, None, 10)
        .await
        .unwrap();
    let noted: Vec<_> = noted
        .items
        .iter()
        .filter(|entry| entry.action == "operator.resume_chain")
        .filter(|entry| entry.outcome == AuditOutcome::Done)
        .collect();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0].who, "operator ops");
    assert_eq!(noted[0].target.as_deref(), Some(CHAIN));
    assert!(noted[0].detail.as_ref().unwrap().contains(WHY));

    let again = resume(&path, &operator).await;
    assert!(again.problem(409).contains("was not stopped"));
    let unknown = resume("/api/v1/operator/chains/nowhere/resume", &operator).await;
    assert!(unknown.problem(404).contains("`nowhere`"));
}
