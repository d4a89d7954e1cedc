//! `/workflows`, `/workflows/new`, `/workflows/{workflow}` and the picture of the backtest.

use super::{ESCAPED, HOSTILE, NOW_US, Served, hides, page, seed, seen_with, shows};

/// Keeps a version and puts it in force.
async fn put(served: &Served, id: &str, version: u32, yaml: &str) {
    let (acme, workflows) = (seed::acme(), &served.store.workflows);
    let put = workflows.put(&acme, id, version, yaml, NOW_US);
    assert!(put.await.unwrap());
}

#[tokio::test]
async fn the_list_says_what_each_rule_watches_and_led_to() {
    let served = Served::start().await;
    let list = page(&served, "/workflows").await;
    shows(
        &list,
        &[
            "href=\"/workflows/warm-marked\"",
            "version 1 in force",
            "1 active",
            ">major<",
            "2023-11-14 22:13:20 UTC",
        ],
    );
    hides(&list, &["New rule"]);
    let editor = seen_with(&served, &served.tokens.editor, "/workflows").await;
    shows(&editor, &["New rule", "/workflows/new?template=absence"]);
    served
        .store
        .workflows
        .activate(&seed::acme(), "warm-marked", None, 1)
        .await
        .unwrap();
    shows(&page(&served, "/workflows").await, &["not in force"]);
    let none = seen_with(&served, &served.tokens.rival, "/workflows").await;
    shows(&none, &["No rule has been written yet"]);
}

#[tokio::test]
async fn a_text_that_is_no_definition_any_more_is_named_as_such() {
    let served = Served::start().await;
    put(
        &served,
        "broken",
        1,
        &format!("id: broken\ntitle: \"{HOSTILE}"),
    )
    .await;
    let titled = seed::workflow(1).replace(
        "id: warm-marked",
        &format!("id: titled\ntitle: {:?}", HOSTILE),
    );
    put(&served, "titled", 1, &titled).await;
    let list = page(&served, "/workflows").await;
    shows(&list, &["not understood", ESCAPED]);
    let one = page(&served, "/workflows/broken").await;
    shows(&one, &["<h1>broken</h1>", "&lt;img src=x"]);
    shows(
        &page(&served, "/workflows/titled").await,
        &[&format!("<h1>{ESCAPED}</h1>")],
    );
}

#[tokio::test]
async fn a_new_rule_begins_with_a_template_for_each_kind_of_condition() {
    let served = Served::start().await;
    let editor = &served.tokens.editor;
    for (template, words) in [
        ("threshold", "above: 30.0"),
        ("absence", "absent: 5m"),
        ("rate", "rate: { over: 1m"),
        ("window", "window: { of: mean"),
        ("expression", "expr: &quot;event.value"),
    ] {
        let path =
            format!("/workflows/new?template={template}&device=freezer-marked&name=co2%20level");
        let begun = seen_with(&served, editor, &path).await;
        shows(
            &begun,
            &[words, "freezer-marked", "co2 level", "id=\"save\""],
        );
        let text = begun.split("</textarea>").next().unwrap();
        let text = text.rsplit_once("aria-errormessage=\"check\">").unwrap().1;
        let text = text
            .trim_start()
            .replace("&quot;", "\"")
            .replace("&gt;", ">")
            .replace("&lt;", "<");
        let parsed = stencil_workflow::definition::parse(&text.replace("&amp;", "&"));
        assert!(parsed.is_ok(), "{template}: {parsed:?}");
    }
    let plain = seen_with(&served, editor, "/workflows/new").await;
    assert_eq!(plain.matches("aria-current=\"true\"").count(), 1);
    let unknown = served
        .read("/workflows/new?template=none")
        .await
        .problem(400);
    assert!(unknown.contains("`none`"), "{unknown}");
    served
        .read("/workflows/new?device=a%20b")
        .await
        .problem(400);
}

#[tokio::test]
async fn a_viewer_may_read_and_try_but_not_save() {
    let served = Served::start().await;
    for path in ["/workflows/new", "/workflows/warm-marked"] {
        let seen = page(&served, path).await;
        shows(&seen, &["readonly", "id=\"backtest-run\""]);
        hides(
            &seen,
            &["id=\"save\"", "data-writable", "Take out of force"],
        );
        let editor = seen_with(&served, &served.tokens.editor, path).await;
        shows(&editor, &["id=\"save\"", "data-writable"]);
    }
}

#[tokio::test]
async fn versions_are_listed_shown_and_compared() {
    let served = Served::start().await;
    let second = seed::workflow(2).replace("above: -12.0", "above: -10.5");
    put(&served, "warm-marked", 2, &second).await;
    let current = page(&served, "/workflows/warm-marked").await;
    shows(
        &current,
        &[
            "above: -10.5",
            "data-newest=\"2\"",
            "Version 1</a>",
            "Version 2</a>",
        ],
    );
    hides(&current, &["above: -12.0", "id=\"diff\""]);
    let first = page(&served, "/workflows/warm-marked?version=1").await;
    shows(
        &first,
        &["above: -12.0", "This is version 1. Version 2 is in force:"],
    );
    let compared = page(&served, "/workflows/warm-marked?from=1&to=2").await;
    let difference = compared.split("id=\"diff\"").nth(1).unwrap();
    shows(
        difference,
        &[
            "From version 1 to version 2",
            "<tr class=\"gone\"><td>−<span class=\"unseen\"> gone</span></td><td><pre>when: { above: -12.0, for: 3s }</pre>",
            "<tr class=\"new\"><td>+<span class=\"unseen\"> new</span></td><td><pre>when: { above: -10.5, for: 3s }</pre>",
        ],
    );
    let same = page(&served, "/workflows/warm-marked?from=2&to=2").await;
    shows(&same, &["The two texts are the same."]);
    for path in ["none", "warm-marked?version=9", "warm-marked?from=1&to=9"] {
        served
            .read(&format!("/workflows/{path}"))
            .await
            .problem(404);
    }
}

#[tokio::test]
async fn the_picture_has_the_series_of_the_window() {
    let served = Served::start().await;
    let (from, to) = (NOW_US - 9_000_000, NOW_US + 1);
    let path = |rest: &str| format!("/live/figure?from_us={from}&to_us={to}&{rest}");
    let figure = page(&served, &path("device=freezer-marked&name=temperature")).await;
    shows(
        &figure,
        &[
            "<figure",
            "10 points",
            "lowest -9 degC",
            "highest -8.1 degC",
        ],
    );
    hides(&figure, &["<html"]);
    // Without a name the first series of numbers.
    shows(
        &page(&served, &path("device=a-foreign-marked")).await,
        &["co2 level"],
    );
    for (rest, status) in [
        ("device=none", 404),
        ("device=freezer-marked&name=pressure", 404),
        ("device=a%20b", 400),
        ("name=temperature", 400),
    ] {
        served.read(&path(rest)).await.problem(status);
    }
    let turned = format!("/live/figure?device=freezer-marked&from_us={to}&to_us={from}");
    let detail = served.read(&turned).await.problem(400);
    assert!(detail.contains("not before"), "{detail}");
}
