//! `mail.send`: what is refused as it is read, and what comes of its templates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use stencil_workflow::definition::{EffectError, parse};
use stencil_workflow::template::Scope;
use stencil_workflow::{Effect, Mail};

fn definition(with: &str) -> String {
    format!(
        "id: warm\nversion: 1\non: {{ telemetry: {{ devices: \"*\", name: t }} }}\n\
         when: {{ above: 1 }}\nsteps:\n  - {{ id: tell, use: mail.send, with: {{ {with} }} }}\n"
    )
}

fn mail(with: &str, device: &str) -> Result<Mail, EffectError> {
    let definition = parse(&definition(with)).unwrap();
    let event = json!({ "device": device, "value": 7.5 });
    match definition.steps[0].action.effect(&Scope::new(&event, []))? {
        Effect::MailSend(mail) => Ok(mail),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_recipient_or_a_list_with_what_an_event_gives() {
    let with = r#"to: ops@example.org, subject: "{{ event.device }} is warm", text: "It is {{ event.value }}.""#;
    let expected = Mail {
        connection: "default".to_owned(),
        to: vec!["ops@example.org".to_owned()],
        subject: "f-1 is warm".to_owned(),
        text: "It is 7.5.".to_owned(),
        html: None,
    };
    assert_eq!(mail(with, "f-1"), Ok(expected));

    let with = r#"connection: night, to: ["{{ event.device }}@example.org", b@example.org],
        subject: s, text: t, html: "<b>{{ event.device }}</b>""#;
    let found = mail(with, "f-1").unwrap();
    assert_eq!(found.connection, "night");
    assert_eq!(found.to, ["f-1@example.org", "b@example.org"]);
    assert_eq!(found.html.unwrap(), "<b>f-1</b>");
}

#[test]
fn what_a_device_says_adds_no_header_no_recipient_and_no_markup() {
    let evil = "x\r\nBcc: everybody@example.org\r\n\r\n<script>";
    let with =
        r#"to: a@example.org, subject: "{{ event.device }}", text: t, html: "{{ event.device }}""#;
    let found = mail(with, evil).unwrap();
    assert_eq!(found.subject, "x Bcc: everybody@example.org <script>");
    assert!(found.html.unwrap().ends_with("&lt;script&gt;"));

    let with = r#"to: "{{ event.device }}", subject: s, text: t"#;
    for evil in [
        "a@example.org\r\nRCPT TO:<b@example.org>",
        "a@example.org, b@example.org",
        "a@example.org> SIZE=1",
    ] {
        let error = mail(with, evil).unwrap_err().to_string();
        assert!(error.contains("is not a mail address"), "{error}");
    }
}

#[track_caller]
fn refused(with: &str, says: &str) {
    let error = parse(&definition(with)).unwrap_err().to_string();
    assert!(
        error.starts_with("line 6, column") && error.contains(says),
        "{error}"
    );
}

#[test]
fn what_cannot_be_sent_is_refused_as_it_is_read() {
    refused(
        "to: ops, subject: s, text: t",
        "\"ops\" is not a mail address",
    );
    refused(
        "to: [a@b.example, \"x y@z\"], subject: s, text: t",
        "\"x y@z\" is not",
    );
    refused(
        "to: [], subject: s, text: t",
        "`to` names 0 recipients; 1 to 50",
    );
    refused("to: 7, subject: s, text: t", "`to` is a number");
    refused("subject: s, text: t", "has no `to`; add one");
    refused("to: a@b.example, text: t", "has no `subject`");
    refused("to: a@b.example, subject: s", "has no `text`");
    refused(
        "to: a@b.example, subject: s, text: t, bcc: c@d.example",
        "`bcc` is not a key of the `with` of mail.send",
    );
    refused(
        r#"to: a@b.example, subject: "{{ event.nothing }}", text: t"#,
        "event.nothing",
    );
}
