//! Pages that were changed by somebody who knows how they are read: each is refused, and says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_proof::document::Document;
use stencil_proof::page::{self, Error, Flaw, MAX_FIGURES, Mismatch};

/// A proof of -18.75 degC.
const SEALED: &str = include_str!("vectors/sealed.json");
const TRUE: &str = "<data data-proof=\"p\">-18.75</data>";
const FALSE: &str = "<data data-proof=\"p\">-4.0</data>";

fn proof(name: &str) -> String {
    let json = serde_json::from_str(SEALED).unwrap();
    let script = page::script(&json);
    format!("<script type=\"application/json\" id=\"{name}\" data-stencil-proof>{script}</script>")
}

fn page(body: &str) -> String {
    let proof = proof("p");
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>a</title></head>\n\
         <body><p>It was {body}</p>{proof}</body></html>"
    )
}

#[derive(Debug)]
enum Wrong {
    Page(Error),
    Figure(Mismatch),
}

fn judge(text: &str) -> Result<(), Wrong> {
    let found = page::find(text.as_bytes()).map_err(Wrong::Page)?;
    let mut found = found.iter();
    found.try_for_each(|one| one.figures_match().map_err(Wrong::Figure))
}

fn flaw(body: &str) -> Flaw {
    match judge(&page(body)) {
        Err(Wrong::Page(error @ Error::Mark { .. })) => {
            assert!(error.is_false(), "{error}");
            assert!(error.to_string().contains("line 2"), "{error}");
            let Error::Mark { flaw, .. } = error else {
                unreachable!()
            };
            flaw
        }
        other => panic!("{body}: {other:?}"),
    }
}

fn unsure(body: &str) -> String {
    match judge(&page(body)) {
        Err(Wrong::Page(Error::Unsure { what, .. })) => what,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn pages_as_people_write_them_are_read() {
    let icon = "<svg viewBox=\"0 0 9 9\"><title>Cold</title><g><path d=\"M0 0\"/></g></svg>";
    for good in [
        TRUE,
        "<DATA DATA-PROOF=p CLASS='figure'>-18.75</DATA\n>",
        "<b>It was</b> <span id=f lang=en data-x=\"1\" data-proof='p'>-18.75 degC</span>.",
        "(<data data-proof=\"p\" value=\"-18.75\">−18.75</data>&nbsp;degC)",
        "<data data-proof=\"p\">-18.75</data>degC, and that is all",
        "<i>&deg;</i> <data data-proof=\"&#112;\">&#45;18.75</data>",
        "R&amp;D: <data data-proof=\"p\">-18.75</data> &copy; Acme",
        "&copy; Acme: (<data data-proof=\"p\">-18.75</data>)",
        "1</p><p><data data-proof=\"p\">-18.75</data></p><p>2",
        "1<br><data data-proof=\"p\">-18.75</data><br>2",
        &format!("{icon} {TRUE} <svg/><!-- a < b --><select><option>1</option></select>")
            .replace("<svg/>", ""),
        &format!("<style>[data-proof] {{ color: red }}</style> {TRUE} <?php a <br> ?>"),
        &format!("<script>if (1 < 2) document.write('<b>')</script> {TRUE}"),
        &format!("<noscript><iframe src='a'></iframe></noscript> {TRUE} 1 < 2 &lt; 3"),
        &format!("温度は{TRUE}です"),
    ] {
        let text = page(good);
        if let Err(wrong) = judge(&text) {
            panic!("{good}: {wrong:?}");
        }
        let changed = text
            .replace("18.75<", "4.0<")
            .replace("18.75 degC<", "4.0 degC<");
        assert!(
            matches!(
                judge(&changed),
                Err(Wrong::Figure(Mismatch::Changed { .. }))
            ),
            "{good}"
        );
    }
}

#[test]
fn a_mark_without_its_proof_is_told_by_its_name() {
    let two = page(&format!(
        "{TRUE} <data data-proof=\"second_proof\">-18.75</data>"
    ));
    let with = two.replace("</body>", &format!("{}</body>", proof("second_proof")));
    judge(&with).unwrap();
    let without = [
        two.clone(),
        two.replace(">-18.75</data></p>", ">-4.0</data></p>"),
        with.replace("id=\"second_proof\"", "id=\"other\""),
        with.replace(
            "id=\"second_proof\" data-stencil-proof",
            "id=\"second_proof\"",
        ),
    ];
    for text in &without {
        let Err(Wrong::Page(error)) = judge(text) else {
            panic!("{text}")
        };
        assert_eq!(error, Error::Unproven("second_proof".to_owned()));
        assert!(error.is_false() && error.to_string().contains("\"second_proof\""));
    }
    // With none at all it is no page without proofs.
    let none = page(FALSE).replace(" data-stencil-proof", "");
    assert!(matches!(judge(&none), Err(Wrong::Page(Error::Unproven(_)))));
    assert!(matches!(
        judge(&none.replace(" data-proof=\"p\"", "")),
        Err(Wrong::Page(Error::None))
    ));
}

#[test]
fn a_field_whose_proof_is_none_is_told_by_its_name() {
    let sealed: serde_json::Value = serde_json::from_str(SEALED).unwrap();
    let entry = |second: serde_json::Value, proof: serde_json::Value| {
        let fields = serde_json::json!({
            "value": -18.75, "proof": sealed, "second": second, "second_proof": proof, "fire_proof": "F30",
        });
        serde_json::json!({ "key": "a", "fields": fields }).to_string()
    };
    judge(&entry((-18.75).into(), sealed.clone())).unwrap();
    for none in [
        serde_json::Value::Null,
        "".into(),
        serde_json::json!({}),
        serde_json::json!({ "format": "stencil-proof-0" }),
    ] {
        let Err(Wrong::Page(error)) = judge(&entry((-4).into(), none)) else {
            panic!()
        };
        assert!(error.is_false(), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("has \"second\" and no proof of it: its \"second_proof\" is"),
            "{said}"
        );
    }
    let alone = serde_json::json!({ "fields": { "value": 1, "proof": null } }).to_string();
    assert!(matches!(
        judge(&alone),
        Err(Wrong::Page(Error::NoProof { .. }))
    ));
}

#[test]
fn a_marked_figure_is_text_alone() {
    for content in [
        "<data data-proof=\"p\">-18.75<data></data>00 degF</data>",
        "<data data-proof=\"p\">-18.75</datalist>00 (times 1000)</data>",
        "<data data-proof=\"p\">< -4.0 degC, never >-18.75</data>",
        "<data data-proof=\"p\"><span hidden>-18.75</span><input readonly value=\"-4.0 degC\"></data>",
        "<data data-proof=\"p\"><b>-18.75</b></data>",
        "<data data-proof=\"p\">-1<!-- -->8.75</data>",
        "<data data-proof=\"p\">-18.75<br>-4.0</data>",
        "<data data-proof=\"p\">-18.75</data x>",
        "<span data-proof=\"p\">-18.75</span/>",
    ] {
        assert!(matches!(flaw(content), Flaw::Content(_)), "{content}");
    }
    assert!(matches!(
        flaw("<data data-proof=\"p\">-18.75&frac12;</data>"),
        Flaw::Reference(it) if it == "&frac12"
    ));
    assert!(matches!(
        flaw("<data data-proof=p>&minus18.75</data>"),
        Flaw::Reference(_)
    ));
    for element in [
        "input", "option", "button", "datalist", "textarea", "x-data",
    ] {
        let text = format!("<{element} data-proof=\"p\">-18.75</{element}>");
        assert!(matches!(flaw(&text), Flaw::Element(it) if it == element));
    }
    for attribute in [
        "hidden",
        "style=\"font-size:0\"",
        "dir=rtl",
        "aria-label=\"-4.0\"",
        "title=\"-4.0\"",
        "onclick=\"a()\"",
        "data-proof=\"q\"",
        "inert",
        "/slot",
    ] {
        let text = format!("<data data-proof=\"p\" {attribute}>-18.75</data>");
        assert!(matches!(flaw(&text), Flaw::Attribute(_)), "{attribute}");
    }
}

#[test]
fn a_mark_where_nothing_or_something_else_is_drawn_is_refused() {
    for (before, behind) in [
        ("<noscript>", "</noscript>"),
        ("<svg>", "</svg>"),
        ("<svg><g>", "</g></svg>"),
        ("<math>", "</math>"),
        ("<template>", "</template>"),
        ("<xmp>", "</xmp>"),
        ("<textarea>", "</textarea>"),
        ("<title>", "</title>"),
        ("<style>", "</style>"),
        ("<script>", "</script>"),
        ("<iframe>", "</iframe>"),
        ("<select>", "</select>"),
        ("<canvas>", "</canvas>"),
        ("<object>", "</object>"),
        ("<datalist>", "</datalist>"),
        ("<ruby>1<rp>", "</rp></ruby>"),
        ("<dialog>", "</dialog>"),
        ("<dialog open>", "</dialog>"),
        ("<option label=-4.0>", "</option>"),
        ("<optgroup label=-4.0>", "</optgroup>"),
        ("<marquee>", "</marquee>"),
        ("<audio>", "</audio>"),
        ("<video>", "</video>"),
        ("<noembed>", "</noembed>"),
        ("<noframes>", "</noframes>"),
        ("<math><annotation>", "</annotation></math>"),
        ("<svg><defs>", "</defs></svg>"),
        ("<!-- ", " -->"),
        ("<svg><style>", "</style></svg>"),
    ] {
        let Flaw::Inside(_) = flaw(&format!("{before}{TRUE}{behind} -4.0")) else {
            panic!("{before}")
        };
    }
}

/// A figure that is right and not drawn, beside one that is drawn and not marked.
#[test]
fn a_mark_in_what_an_attribute_hides_is_refused_by_its_name() {
    for (before, behind, told) in [
        ("<div hidden>", "</div>", "<div hidden>"),
        ("<div HIDDEN=''>", "</div>", "<div hidden>"),
        ("<div hidden=until-found>", "</div>", "<div hidden>"),
        ("<div hidden=false>", "</div>", "<div hidden>"),
        ("<div hidden/>", "</div>", "<div hidden>"),
        ("<x-a hidden><i><b>", "</b></i></x-a>", "<x-a hidden>"),
        ("<section popover>", "</section>", "<section popover>"),
        ("<p popover=manual>", "</p>", "<p popover>"),
        ("<ul hidden><li>", "</li></ul>", "<ul hidden>"),
        (
            "<table hidden><tr><td>",
            "</td></tr></table>",
            "<table hidden>",
        ),
        (
            "<table><tr hidden><td>",
            "</td></tr></table>",
            "<tr hidden>",
        ),
        ("<div hidden><svg></svg>", "</div>", "<div hidden>"),
        ("<details>", "</details>", "<details> that is not open"),
        (
            "<details><p>",
            "</p></details>",
            "<details> that is not open",
        ),
        (
            "<details><summary>a</summary>",
            "</details>",
            "<details> that is not open",
        ),
        // A browser ends the paragraph there, and shows the first alone.
        (
            "<details><p><summary>a</summary></p><summary>",
            "</summary></details>",
            "<details> that is not open",
        ),
        (
            "<details><summary>a</summary><summary>",
            "</summary></details>",
            "<details> that is not open",
        ),
        (
            "<details><div><summary>",
            "</summary></div></details>",
            "<details> that is not open",
        ),
        (
            "<details><details><summary>",
            "</summary></details></details>",
            "<details> that is not open",
        ),
        (
            "<details><summary hidden>",
            "</summary></details>",
            "<summary hidden>",
        ),
        (
            "<details hidden><summary>",
            "</summary></details>",
            "<details hidden>",
        ),
        ("<details open hidden>", "</details>", "<details hidden>"),
        (
            "<details><summary><template>",
            "</template></summary></details>",
            "<template>",
        ),
        (
            "<details open name=a></details><details open name=a>",
            "</details>",
            "<details name>, of which one alone stays open",
        ),
        ("<body hidden>", "", "<body hidden>"),
        ("", "<html hidden>", "<html hidden>"),
        ("", "<body popover>", "<body popover>"),
    ] {
        let flaw = flaw(&format!("{before}{TRUE}{behind} -4.0"));
        assert!(
            matches!(&flaw, Flaw::Inside(it) if it == told),
            "{before}: {flaw:?}"
        );
    }
    for good in [
        "<div inert aria-hidden=true>{TRUE}</div>",
        "<details open>{TRUE}</details>",
        "<details open><summary>a</summary><p>{TRUE}</details>",
        "<details><summary>a</summary>b</details><p>{TRUE}",
        "<details><summary>It was {TRUE} then</summary><p>9</p></details>",
        "<details><!-- a --> a <summary><b>{TRUE}</b></summary></details>",
        "<details><summary><div>9</div>{TRUE}</summary></details>9",
        "9<details><summary>{TRUE}</summary>9</details>9",
        "<details><summary><details><summary>{TRUE}</summary></details></summary></details>",
        "<details name=a><summary>{TRUE}</summary></details>",
        "<summary>{TRUE}</summary>",
        "<a hidden href=x>9</a> {TRUE}",
        "<div hidden>9</div> {TRUE}",
        "<ul><li hidden>9</li><li>{TRUE}</ul>",
        "<input type=hidden hidden> {TRUE}",
        "<map><area hidden></map> {TRUE}",
        "<ruby>a<rp>(</rp><rt>b</rt></ruby> {TRUE}",
    ] {
        let judged = judge(&page(&good.replace("{TRUE}", TRUE)));
        assert!(judged.is_ok(), "{good}: {judged:?}");
    }
    // What is not drawn keeps nothing apart.
    for body in [
        "9<br hidden>{TRUE}",
        "9<div hidden> </div>{TRUE}",
        "9<hr popover>{TRUE}",
        "{TRUE}<p hidden>a</p>9",
        "<details><summary>9{TRUE}</summary></details>",
    ] {
        let judged = judge(&page(&body.replace("{TRUE}", TRUE)));
        assert!(
            matches!(judged, Err(Wrong::Figure(Mismatch::Beside { .. }))),
            "{body}: {judged:?}"
        );
    }
}

/// Browsers draw it before the table, right at what stands there.
#[test]
fn what_stands_beside_the_cells_of_a_table_is_refused() {
    let cell = "<tr><td>9</td></tr>";
    for body in [
        "</p>9<table>{TRUE}</table>",
        "</p>{TRUE}<table>9</table>",
        "</p>{TRUE}<table><tr><td></td>9</tr></table>",
        "</p>{TRUE}<table><tr><td></td></tr>9</table>",
        "</p>{TRUE}<table><tbody>&#57;<tr><td></td></tr></table>",
        "</p>{TRUE}<table><caption></caption><b>9</b></table>",
        "</p>{TRUE}<table><colgroup>9</colgroup></table>",
        "</p>{TRUE}<table>&nbsp;9{CELL}</table>",
        "</p>{TRUE}<table><textarea>9</textarea>{CELL}</table>",
        "</p>{TRUE}<table>{CELL}<tr><th><table>{CELL}</table></th>9</tr></table>",
        "<table><tr><td></td>{TRUE}</tr></table>",
        "<table><tr data-x><td data-proof=p>-18.75</td>9</tr></table>",
    ] {
        let flaw = flaw(&body.replace("{TRUE}", TRUE).replace("{CELL}", cell));
        assert!(matches!(flaw, Flaw::Displaced(_)), "{body}: {flaw:?}");
    }
    for good in [
        "<table>{CELL}<tr><td>{TRUE}</td>\n</tr></table>9",
        "<table><caption>9</caption><colgroup><col><col></colgroup><thead>{CELL}<tbody><tr><th>{TRUE}<td>9</table>",
        "<table><!-- 9 --><input type=Hidden value=9><script>9</script><template>9</template>{CELL}</table>9<p>{TRUE}",
        "<table><tr><td><table>{CELL}</table>9<p>{TRUE}</p></td></tr></table>",
        "<table><tr hidden><td>9</td></tr><tr><td>{TRUE}</td></tr></table>",
        "<tr>9<p>{TRUE}",
    ] {
        let judged = judge(&page(&good.replace("{TRUE}", TRUE).replace("{CELL}", cell)));
        assert!(judged.is_ok(), "{good}: {judged:?}");
    }
    // However many elements are open.
    let many = "<li>".repeat(300);
    for cell in ["", "<p></p>"] {
        let body = format!("{many}{TRUE}<table><tr><td>{cell}</td></tr>9</table>");
        assert!(matches!(flaw(&body), Flaw::Displaced(_)));
    }
}

/// What rounds to the same 64 bits has other digits, and is another figure.
#[test]
fn a_figure_that_rounds_to_what_was_measured_is_another_one() {
    let mut document: Document = serde_json::from_str(SEALED).unwrap();
    let measured = "9.746246337890625";
    document.reading.value = stencil_proof::document::ValueForm::Number(measured.to_owned());
    let proof = document.to_json().to_string();
    let entry = |figure: &str| {
        format!("{{\"fields\":{{\"a\": {figure} ,\"a_proof\":{proof},\"b\":[1.0]}}}}")
    };
    let on_page = |figure: &str| {
        page(&format!(
            "<data data-proof=p value='{figure}'>{figure}</data>"
        ))
        .replace(&self::proof("p"), "")
        .replace(
            "</body>",
            &format!("<script id=p data-stencil-proof>{proof}</script></body>"),
        )
    };
    for right in [measured, "9.74624633789062500"] {
        judge(&entry(right)).unwrap();
        judge(&entry(&format!("\"{right} degC\""))).unwrap();
        judge(&on_page(right)).unwrap();
    }
    for other in [
        "9.74624633789062549",
        "9.74624633789062501",
        "9.7462463378906250000000000001",
        "9746246337890625e-15",
        "0.9746246337890625e1",
    ] {
        for text in [entry(other), entry(&format!("\"{other}\"")), on_page(other)] {
            let judged = judge(&text);
            let Err(Wrong::Figure(Mismatch::Changed { shown, proven })) = judged else {
                panic!("{text}: {judged:?}")
            };
            assert_eq!(
                (shown.as_str(), proven.as_str()),
                (other, "9.746246337890625 degC")
            );
        }
    }
    // Of two fields with one name readers show one or the other.
    let twice = entry(&format!("4.0,\"a\":{measured}"));
    let Err(Wrong::Page(error)) = judge(&twice) else {
        panic!()
    };
    assert!(
        error.to_string().contains("\"a\" stands in it twice"),
        "{error}"
    );
}

/// What a browser takes for markup in one place and not in another, or ends elsewhere.
#[test]
fn what_is_not_read_in_one_way_is_refused() {
    for body in [
        "<svg><![CDATA[>]]></svg> {TRUE}",
        "<svg><style><a title='</style></svg>{TRUE}<p title='>{FALSE}'>",
        "<select><style><a title='</style></select>{TRUE}<p title='>{FALSE}'>",
        "<svg><style/>{TRUE}</svg>",
        "<svg><desc><div></svg>{TRUE}",
        "<svg><foreignObject><p></p></foreignObject></svg>{TRUE}",
        "<svg><p></svg>{TRUE}",
        "<canvas><p></canvas>{TRUE}</p></canvas>",
        "<template><div></template>{TRUE}</div></template>",
        "<div><template shadowrootmode=open>-4.0</template>{TRUE}</div>",
        "<script><!-- <script> --></script>{TRUE}<!-- --></script>",
        "<plaintext>{TRUE}",
        "<div hidden><p></div>{TRUE}",
        "{TRUE} <div hidden>a",
        "<b hidden><p>a</b>{TRUE}",
        // A browser has the <b> open once more behind all of this.
        "<table><tr><td><table><b hidden><marquee><tr></tr></marquee></b></table></td></tr></table>{TRUE}",
        "<details><summary>a</details>{TRUE}",
        "<frameset>{TRUE}",
        "<noscript><!--</noscript>{TRUE}<!-- -->",
        "<meta charset=\"iso-2022-jp\">{TRUE}",
        "<meta http-equiv=content-type content=\"text/html; charset=utf-7\">{TRUE}",
        "\0{TRUE}",
        "<textarea>{TRUE}",
        "{TRUE}<p title='",
        "{TRUE}<!--",
        "{TRUE}<svg>",
    ] {
        let body = body
            .replace("{TRUE}", TRUE)
            .replace("{FALSE}", "<b>-4.0</b>");
        assert!(!unsure(&body).is_empty());
    }
}

#[test]
fn what_a_browser_shows_is_what_is_compared() {
    for shown in [
        "<!-->{FALSE}<!-- -->",
        "<!--->{FALSE}",
        "<!-- --!>{FALSE}",
        "<!a title='>{FALSE}'>",
        "</a title='>'>{FALSE}",
        "</ title='>{FALSE}'>",
        "<a title=x'>{FALSE}'>",
        "<a title=\u{a0}'>{FALSE}'>",
        "<a =title='' '>{FALSE}'>",
        "<a:b title='x'>{FALSE}",
        "<script/>'</scripts>'</script>{FALSE}",
        "<style>a</style x='>'>{FALSE}",
        "<span hidden>-18.75</span> {FALSE}",
        "{FALSE} {TRUE}",
        "<span data-proof=q data-stencil-proof>1</span>",
    ] {
        let body = shown.replace("{TRUE}", TRUE).replace("{FALSE}", FALSE);
        let judged = judge(&page(&format!("{TRUE} {body}")));
        assert!(
            matches!(
                judged,
                Err(Wrong::Figure(Mismatch::Changed { .. }) | Wrong::Page(Error::Unproven(_)))
            ),
            "{shown}: {judged:?}"
        );
    }
    // As programs read it.
    let value = page("<data data-proof=\"p\" value=\"-4.0\">-18.75</data>");
    assert!(matches!(
        judge(&value),
        Err(Wrong::Figure(Mismatch::Changed { shown, .. })) if shown == "-4.0"
    ));
}

#[test]
fn what_touches_a_figure_is_told() {
    for body in [
        "1{TRUE}",
        "-{TRUE}",
        "<b>1</b>{TRUE}",
        "0.<!-- -->{TRUE}",
        "&#49;{TRUE}",
        "&frac12;{TRUE}",
        "&frac12{TRUE}",
        "x{TRUE}",
        "{TRUE}9",
        "{TRUE}<i>00</i>",
        "{TRUE}.5",
        "{TRUE}&#57;",
        "{TRUE}&frac12;",
        "{TRUE}e3",
        "{TRUE}degF",
        "{TRUE}degCelsius-4.0",
        "{TRUE}%",
        "{TRUE}{TRUE}",
        "{TRUE}<span></span>00",
    ] {
        let text = page(&body.replace("{TRUE}", TRUE));
        let judged = judge(&text);
        assert!(
            matches!(judged, Err(Wrong::Figure(Mismatch::Beside { .. }))),
            "{body}: {judged:?}"
        );
    }
}

/// What nobody sees ends no figure, nor do spaces that stand within numbers.
#[test]
fn what_nobody_sees_and_signs_of_all_kinds_are_told() {
    let hidden = [
        0xad, 0x34f, 0x61c, 0x115f, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x202a,
        0x202b, 0x202c, 0x202d, 0x202e, 0x2060, 0x2061, 0x2063, 0x2066, 0x2067, 0x2068, 0x2069,
        0x206a, 0x2800, 0x3164, 0xfe00, 0xfe0f, 0xfeff, 0xfff9, 0x1d173, 0xe0001, 0xe0020, 0xe0035,
        0xe007f, 0xe0100,
    ];
    let narrow = [
        0xa0, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x202f, 0x205f,
    ];
    let signs = "-+\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{2795}\u{2796}\u{2797}\u{fe63}\u{ff0d}\
        \u{ff0b}\u{207b}\u{208b}\u{2052}\u{2043}\u{30fc}\u{ff70}\u{1680}±∓¬~≈^*×·•÷⁄∕√¼²³½‰\u{302}\u{336}\u{20e0}\
        一万千１٣\u{1d7d7}\u{1f4a9}";
    let written = |code: u32| {
        let c = char::from_u32(code).unwrap();
        [
            c.to_string(),
            format!("&#{code};"),
            format!("&#x{code:X};"),
            format!("&#x{code:0>90x};"),
            format!("<i>{c}</i>"),
        ]
    };
    let mut bodies: Vec<String> = Vec::new();
    for code in hidden {
        for it in written(code) {
            bodies.extend([
                format!("9{it}{TRUE}"),
                format!("{TRUE}{it}9"),
                format!("9{it}&nbsp;{TRUE}"),
                format!("{TRUE}&nbsp;{it}9"),
                format!("{TRUE}.{it}9"),
                format!("9{}{TRUE}", it.repeat(40)),
                format!("{TRUE}{}9", it.repeat(40)),
            ]);
        }
    }
    for code in narrow {
        for it in written(code) {
            bodies.extend([
                format!("9{it}{TRUE}"),
                format!("-{it}{TRUE}"),
                format!("{TRUE}{it}9"),
                format!("{TRUE}{it}e3"),
                format!("{TRUE}{it}×10"),
                format!("{TRUE}{it}degC9"),
                format!("9{}{TRUE}", it.repeat(40)),
                format!("{TRUE}{}9", it.repeat(40)),
            ]);
        }
    }
    for code in narrow {
        for it in written(code).iter().filter(|it| !it.contains('<')) {
            bodies.extend([
                format!("9<data data-proof=\"p\">{it}-18.75</data>"),
                format!("<data data-proof=\"p\">-18.75{it}</data>9"),
            ]);
        }
    }
    for c in signs.chars() {
        for it in written(c.into()) {
            bodies.extend([format!("{it}{TRUE}"), format!("{TRUE}{it}")]);
        }
    }
    // Named references, elements that a browser takes no notice of, and those that are not drawn.
    for body in [
        "9&ZeroWidthSpace;{TRUE}",
        "{TRUE}&hairsp;9",
        "9&shy;{TRUE}",
        "{TRUE}&zwj;9",
        "9<img src=a width=0>{TRUE}",
        "9<td>{TRUE}",
        "9<tr>{TRUE}",
        "9</td>{TRUE}",
        "9</div>{TRUE}",
        "9</form>{TRUE}",
        "9<body>{TRUE}",
        "9<td data-proof=p>-18.75</td>",
        "<td data-proof=p>-18.75</td>9",
        "<table><tr><td>9</section>{TRUE}</td></tr></table>",
        "9<template> </template>{TRUE}",
        "9<svg><section></section></svg>{TRUE}",
        "<bdi>9</bdi>{TRUE}",
        "&lt;{TRUE}",
    ] {
        bodies.push(body.replace("{TRUE}", TRUE));
    }
    for body in &bodies {
        let judged = judge(&page(body));
        let is_told = match &judged {
            Err(Wrong::Figure(Mismatch::Beside { .. } | Mismatch::Hidden { .. })) => true,
            Err(Wrong::Page(Error::Mark { flaw, .. })) => matches!(flaw, Flaw::Turned(_)),
            _ => false,
        };
        assert!(is_told, "{body:?}: {judged:?}");
    }
    let Err(Wrong::Figure(named)) = judge(&page(&format!("9\u{200b}{TRUE}"))) else {
        panic!()
    };
    assert!(named.to_string().contains("U+200B"), "{named}");
    for good in [
        "“{TRUE}”, it said",
        "({TRUE}&nbsp;degC); and on",
        "{TRUE}&thinsp;degC.",
        "{TRUE}&#x202f;degC",
        "at&nbsp;{TRUE}&nbsp;on",
        "Temperature:{TRUE}: cold",
        "{TRUE}, {TRUE}; {TRUE}. {TRUE}! {TRUE}?",
        "9&#8195;{TRUE}&#12288;9",
        "9 {TRUE} 9",
        "Ann\u{ad}ex soft\u{200b}ware \u{2068}name\u{2069}: {TRUE} a\u{200d}b",
        "<bdi>Ann</bdi> <i dir=ltr>a</i> {TRUE}",
        "<table><tr><td>9</td><td data-proof=p>-18.75</td><td>9</td></tr></table>9<p>{TRUE}</p>9",
        "9<div>{TRUE}</div>9",
        "9<ul><li>{TRUE}<li>9</ul>",
        "「{TRUE}」",
    ] {
        let judged = judge(&page(&good.replace("{TRUE}", TRUE)));
        assert!(judged.is_ok(), "{good:?}: {judged:?}");
    }
}

#[test]
fn a_page_whose_text_is_turned_around_is_refused() {
    for body in [
        "\u{202e}57.81 {TRUE}",
        "&#x202e;57.81 {TRUE}",
        "{TRUE} &#8238;",
        "\u{202d}a\u{202c} {TRUE}",
        "\u{2067}a {TRUE} \u{2069}",
        "<bdo dir=rtl>{TRUE}</bdo>",
        "<bdo>{TRUE}</bdo>",
        "<bdi>{TRUE}</bdi>",
        "<BDI>a <b>{TRUE}</b></BDI>",
        "<p dir=rtl>{TRUE}</p>",
        "<p DIR='auto'>{TRUE}</p>",
        "{TRUE}<body dir=rtl>",
    ] {
        let flaw = flaw(&body.replace("{TRUE}", TRUE));
        assert!(matches!(flaw, Flaw::Turned(_)), "{body}: {flaw:?}");
    }
    // In a text that a device said, or that stands in an entry.
    let mut document: Document = serde_json::from_str(SEALED).unwrap();
    let text = "\u{202e}57.81";
    document.reading.value = stencil_proof::document::ValueForm::Text(text.to_owned());
    let fields = serde_json::json!({ "value": text, "proof": document.to_json() });
    let judged = judge(&serde_json::json!({ "fields": fields }).to_string());
    assert!(
        matches!(
            judged,
            Err(Wrong::Figure(Mismatch::Hidden { code: 0x202e, .. }))
        ),
        "{judged:?}"
    );
}

#[test]
fn more_figures_than_are_compared_are_told() {
    let many = |figures: usize| format!("<i>{}</i>", format!("{TRUE} ").repeat(figures));
    judge(&page(&many(MAX_FIGURES))).unwrap();
    for one_more in [TRUE, FALSE] {
        let judged = judge(&page(&format!("{}{one_more}", many(MAX_FIGURES))));
        let Err(Wrong::Page(error)) = judged else {
            panic!("{judged:?}")
        };
        assert!(error.is_false());
        assert!(error.to_string().contains("more than 256 marked figures"));
    }
}

/// A unit is a device's own text.
#[test]
fn a_unit_is_no_part_of_a_number() {
    let mut document: Document = serde_json::from_str(SEALED).unwrap();
    for (unit, shown, is_right) in [
        ("0", "-18.750", true),
        ("5", "-18.755", false),
        ("5", "-18.75 5", true),
        ("e1", "-18.75e1", false),
        ("V", "-18.75V", true),
        ("%", "-18.75%", true),
        (".5", "-18.75.5", false),
    ] {
        document.reading.unit = Some(unit.to_owned());
        let text = page("").replace(&proof("p"), "");
        let script = page::script(&document.to_json());
        let text = format!(
            "{text}<b data-proof=p>{shown}</b><script id=p data-stencil-proof>{script}</script>"
        );
        assert_eq!(judge(&text).is_ok(), is_right, "{unit} {shown}");
    }
}

/// No page takes more than it has characters, whatever it repeats.
#[test]
fn a_large_page_is_read_in_one_go() {
    let size = 256 << 10;
    for part in [
        "<",
        "<a",
        "<a ",
        "<!--",
        "</",
        "<a b='",
        "<script>",
        "<svg>",
        "<svg></svg>",
        "&",
        "<b>1</b>",
        "<!---",
        "<title>",
        "<script></scripts",
        "<data>&#49",
        "a=",
    ] {
        let text = format!("{TRUE} {}", part.repeat(size / part.len()));
        let _ = page::find(text.as_bytes());
        let _ = page::find(format!("{} {TRUE}", part.repeat(size / part.len())).as_bytes());
    }
}
