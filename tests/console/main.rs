//! The console in a real browser: what somebody does with it from signing in to an acknowledged
//! alarm, and how each page looks and can be used on a desk and in a hand, by light and in the
//! dark, with a mouse and without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod checkout;
mod door;
mod enrolment;
mod gateway;
mod history;
mod keyboard;
mod market;
mod pages;
mod rollouts;
mod secure;
mod shop;
mod signing;
mod story;
mod wallet;

use support::browser::Browser;
use support::{Hub, stencil, succeed};

/// The password of the tenant's first user.
const PASSWORD: &str = "correct horse battery staple";

/// A browser that has signed in at a hub, and how to come to its pages.
struct Visit {
    browser: Browser,
    origin: String,
}

impl Visit {
    /// Comes as the tenant's first user does: by a one-time link, which asks for a password.
    fn of(hub: &Hub) -> Self {
        let browser = Browser::start();
        let origin = format!("http://127.0.0.1:{}", hub.port("http"));
        let mut command = stencil();
        command.args([
            "hub",
            "login-link",
            "--tenant",
            "acme",
            "--url",
            &origin,
            "--data-dir",
        ]);
        let link = succeed(command.arg(hub.data()).arg("admin"));
        browser.open(link.trim());
        browser.type_into("#password", PASSWORD);
        browser.type_into("#again", PASSWORD);
        browser.click("main button");
        browser.wait_for_path("the overview", |path| path == "/");
        Self { browser, origin }
    }

    /// Signs out, and in again with the form, which is where an unknown visitor is sent.
    fn signs_in_again(&self) {
        self.signs_out();
        self.browser.open(&format!("{}/alarms", self.origin));
        self.browser
            .wait_for_path("the form", |path| path.starts_with("/login"));
        self.signs_in(PASSWORD);
        self.browser
            .wait_for_path("the page that was asked for", |path| path == "/alarms");
    }

    fn signs_out(&self) {
        self.browser.click("form[action='/logout'] button");
        self.browser
            .wait_for_path("the form", |path| path.starts_with("/login"));
    }

    /// Fills the form in, and sends it.
    fn signs_in(&self, password: &str) {
        self.browser.fill("#tenant", "acme");
        self.browser.fill("#name", "admin");
        self.browser.type_into("#password", password);
        self.browser.click("#by-password button");
    }

    /// Opens a page, and waits until it is alive.
    fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.origin));
        self.browser.wait_for_text("#stream", "Live");
    }

    /// Marks the page, so that a reload can be told.
    fn mark(&self) {
        self.browser.run("window.stillTheSame = true");
    }

    /// The page that was marked is still there: nothing was reloaded.
    #[track_caller]
    fn is_the_same(&self) {
        let same = self.browser.run("return window.stillTheSame === true");
        assert_eq!(same, true, "the page was loaded anew");
    }

    /// Nobody but the hub was asked for anything, and the browser had nothing to complain of.
    #[track_caller]
    fn is_clean(&self) {
        self.complains_only_of(&[]);
    }

    /// As [`Visit::is_clean`], but answers of these statuses came, which the browser notes.
    #[track_caller]
    fn complains_only_of(&self, statuses: &[u16]) {
        let elsewhere: Vec<String> = self
            .browser
            .requests()
            .into_iter()
            // What Chromium draws fields with is of its own, and no request.
            .filter(|url| {
                !url.starts_with("data:") && !url.starts_with(&format!("{}/", self.origin))
            })
            .collect();
        assert!(elsewhere.is_empty(), "asked elsewhere: {elsewhere:?}");
        let mut complaints = self.browser.complaints();
        complaints.retain(|complaint| {
            let expected = statuses.iter().map(|status| format!("status of {status}"));
            !expected.into_iter().any(|words| complaint.contains(&words))
        });
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}
