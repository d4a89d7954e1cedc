//! Where records of a stream do not come, or in another order, the hub fires nothing by itself, and
//! takes the gateway's word; told in which state the gateway's judge is, it judges alike again.

use std::collections::{BTreeMap, BTreeSet};

use stencil_edge::{Record, What};
use stencil_protocol::topic::Topic;
use stencil_store::RunId;
use stencil_workflow::Definition;

use crate::random_streams::{self, Run};
use crate::site;

const STREAMS: u64 = 300;

fn some(run: &mut Run<'_>, steps: usize) {
    for at in 0..steps {
        if at % 4 == 3 {
            run.wait();
        } else {
            run.send();
        }
        run.site.judge(3, run.gateway_us);
    }
    run.site.judge_all(run.gateway_us);
}

/// The runs of which the entries in this range tell.
fn told_in(
    run: &Run<'_>,
    range: std::ops::Range<usize>,
    all: &BTreeMap<(String, u32), Definition>,
) -> BTreeSet<RunId> {
    let told: Vec<_> = run.site.spool[range]
        .iter()
        .filter_map(|(topic, payload)| match topic {
            Topic::GatewayStream(_) => match Record::decode(payload).unwrap().what {
                What::Told(told) => Some(told),
                _ => None,
            },
            _ => None,
        })
        .collect();
    site::runs(&told, all)
        .into_iter()
        .map(|run| run.run)
        .collect()
}

fn each(test: impl Fn(u64, &mut Run<'_>, &BTreeMap<(String, u32), Definition>)) {
    let yaml = random_streams::yaml();
    let yaml: Vec<&str> = yaml.iter().map(String::as_str).collect();
    let all = site::definitions(&yaml);
    for seed in 0..STREAMS {
        let mut run = random_streams::begin(seed, &yaml, &all);
        test(seed, &mut run, &all);
    }
}

#[test]
fn what_is_missing_makes_the_hub_take_the_gateways_word_until_it_knows_again() {
    let mut after = 0;
    let after = std::cell::RefCell::new(&mut after);
    each(|seed, run, all| {
        some(run, 20);
        while run.hub.publish(&run.site, 64, run.hub_us) {}
        let before = run.hub.judged.len();
        let start = run.site.spool.len();
        some(run, 12);
        let missed = run
            .hub
            .miss(1 + run.site.spool.len().saturating_sub(start) / 2);
        some(run, 12);
        while run.hub.publish(&run.site, 64, run.hub_us) {}
        run.hub.restart();
        assert_eq!(
            run.hub.judged.len(),
            before,
            "stream {seed}: nothing by itself"
        );

        run.site.tell_state(run.gateway_us);
        let known = run.site.spool.len();
        some(run, 30);
        while run.hub.publish(&run.site, 64, run.hub_us) {}
        let judged: BTreeSet<RunId> = run.hub.judged[before..].iter().map(|it| it.run).collect();
        let end = run.site.spool.len();
        assert_eq!(judged, told_in(run, known..end, all), "stream {seed}");
        **after.borrow_mut() += judged.len();

        // All runs there are come from a word that has come, and none is left out.
        let triggers = run.hub.all.iter().flat_map(|found| &found.triggers);
        let started: BTreeSet<RunId> = triggers.map(|it| it.run).collect();
        let mut expected = told_in(run, 0..missed.start.min(end), all);
        expected.extend(told_in(run, missed.end.min(end)..end, all));
        assert_eq!(started, expected, "stream {seed}");
    });
    assert!(*after.into_inner() > 300, "rules have fired afterwards");
}

#[test]
fn what_is_new_may_come_before_what_has_waited() {
    each(|seed, run, all| {
        some(run, 10);
        while run.hub.publish(&run.site, 64, run.hub_us) {}
        let start = run.site.spool.len();
        some(run, 20);
        let middle = run.site.spool.len();
        run.hub.miss(middle - start);
        some(run, 10);
        while run.hub.publish(&run.site, 64, run.hub_us) {}
        // And what has waited.
        run.hub.publish_these(&run.site, start..middle, run.hub_us);
        run.site.tell_state(run.gateway_us);
        some(run, 10);
        while run.hub.publish(&run.site, 64, run.hub_us) {}
        let triggers = run.hub.all.iter().flat_map(|found| &found.triggers);
        let started: BTreeSet<RunId> = triggers.map(|it| it.run).collect();
        let end = run.site.spool.len();
        assert_eq!(started, told_in(run, 0..end, all), "stream {seed}");
    });
}
