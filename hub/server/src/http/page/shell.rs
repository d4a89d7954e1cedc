//! The frame around each page of the console: navigation, search, the state of the event stream,
//! the page's head.

use axum::response::Html;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use stencil_store::{Opener, Role};

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::assets::{self, Asset};

/// A place of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Nav {
    /// `/`
    Overview,
    /// `/devices…`
    Devices,
    /// `/gateways…`
    Gateways,
    /// `/alarms`
    Alarms,
    /// `/workflows…`
    Rules,
    /// `/runs…`
    Runs,
    /// `/rollouts…`
    Rollouts,
    /// `/invoices…`
    Invoices,
    /// `/content…`
    Content,
    /// `/ledger`
    Ledger,
    /// `/quarantine`
    Quarantine,
    /// `/settings`
    Settings,
    /// `/audit`
    Audit,
}

/// What the frame is told of a page.
#[derive(Debug)]
pub(in crate::http) struct Frame<'a> {
    nav: Nav,
    title: &'a str,
    crumbs: Vec<(String, String)>,
    actions: Option<Markup>,
    scripts: Vec<&'static Asset>,
    styles: Vec<&'static Asset>,
    watch: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// A page at this place of the navigation; `title` is its only `h1`.
    pub(in crate::http) fn new(nav: Nav, title: &'a str) -> Self {
        Self {
            nav,
            title,
            crumbs: Vec::new(),
            actions: None,
            scripts: Vec::new(),
            styles: Vec::new(),
            watch: None,
        }
    }

    /// A page above this one.
    pub(in crate::http) fn crumb(mut self, href: &str, text: &str) -> Self {
        self.crumbs.push((href.to_owned(), text.to_owned()));
        self
    }

    /// What stands at the right of the title: state, buttons.
    pub(in crate::http) fn actions(mut self, actions: Markup) -> Self {
        self.actions = Some(actions);
        self
    }

    /// A script of the page's own, after the core's.
    pub(in crate::http) fn script(mut self, script: &'static Asset) -> Self {
        self.scripts.push(script);
        self
    }

    /// A style sheet of the page's own, after the design's.
    pub(in crate::http) fn style(mut self, style: &'static Asset) -> Self {
        self.styles.push(style);
        self
    }

    /// Of readings, the event stream brings those of this device alone.
    pub(in crate::http) fn watch(mut self, device: &'a str) -> Self {
        self.watch = Some(device);
        self
    }
}

/// The page in its frame.
pub(in crate::http) async fn shell(
    state: &State,
    caller: &Caller,
    frame: Frame<'_>,
    body: Markup,
) -> Result<Html<String>, Problem> {
    let alarms = active_alarms(state, caller).await?;
    let readiness = state.control.readiness();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head(&if frame.nav == Nav::Overview { "Stencil Hub".to_owned() } else { format!("{} · Stencil Hub", frame.title) }))
                @for style in &frame.styles { link rel="stylesheet" href=(style.url()); }
                script src=(assets::CORE.url()) defer data-now=(state.clock.now_us()) {}
                @for script in &frame.scripts { script src=(script.url()) defer {} }
            }
            body.app data-watch=[frame.watch] {
                a.skip href="#main" { "Skip to the page" }
                (bar())
                (side(caller, frame.nav, alarms))
                main #main.page tabindex="-1" {
                    @for problem in readiness.checks.iter().filter_map(|check| check.problem.as_ref()) {
                        p.alert role="alert" { "The hub has a problem: " (problem) }
                    }
                    div.head {
                        @if !frame.crumbs.is_empty() {
                            nav.crumbs aria-label="Pages above" { ol {
                                @for (href, text) in &frame.crumbs { li { a href=(href) { (text) } } }
                            } }
                        }
                        h1 { (frame.title) }
                        @if let Some(actions) = &frame.actions { div.actions { (actions) } }
                    }
                    (body)
                }
                div #told role="status" aria-live="polite" {}
            }
        }
    };
    Ok(Html(page.into_string()))
}

/// A page of one card, for who is not signed in.
pub(in crate::http) fn alone(title: &str, body: &Markup) -> Html<String> {
    alone_with(title, &[], &[], body)
}

/// The same with style sheets and scripts of its own.
pub(in crate::http) fn alone_with(
    title: &str,
    styles: &[&'static Asset],
    scripts: &[&'static Asset],
    body: &Markup,
) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head(title))
                @for style in styles { link rel="stylesheet" href=(style.url()); }
                @for script in scripts { script src=(script.url()) defer {} }
            }
            body.alone { main.narrow { p.brand { (mark()) "Stencil Hub" } (body) } }
        }
    };
    Html(page.into_string())
}

/// What the head of each page holds.
pub(super) fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) }
        (style())
    }
}

/// The links to the style sheet and the icon.
pub(in crate::http) fn style() -> Markup {
    html! {
        link rel="stylesheet" href=(assets::STYLE.url());
        link rel="icon" type="image/svg+xml" href=(assets::icon_url());
    }
}

async fn active_alarms(state: &State, caller: &Caller) -> Result<u64, Problem> {
    Ok(state.store.alarms.counts(&caller.tenant).await?.active())
}

fn bar() -> Markup {
    html! {
        header.bar {
            button.menu.icon type="button" popovertarget="side" aria-label="Menu" {
                (drawn("M2 4h14M2 9h14M2 14h14"))
            }
            search {
                form action="/devices" method="get" {
                    input #search name="search" type="search" placeholder="Search devices"
                        aria-label="Search devices" aria-keyshortcuts="/" autocomplete="off" maxlength="128";
                    kbd aria-hidden="true" { "/" }
                }
            }
            div.live {
                p #stream role="status" { "Not live: reload to see what is new" }
                button #pause type="button" aria-pressed="false" hidden { "Pause" }
            }
        }
    }
}

fn side(caller: &Caller, here: Nav, alarms: u64) -> Markup {
    let place = |nav: Nav, href: &str, text: &str, path: &str, count: u64| {
        html! {
            li {
                a href=(href) aria-current=[(nav == here).then_some("page")] {
                    (drawn(path))
                    span { (text) }
                    @if count > 0 {
                        span.count { (count) span.unseen { " active" } }
                    }
                }
            }
        }
    };
    html! {
        nav #side.side popover aria-label="Console" {
            a.brand href="/" { (mark()) "Stencil Hub" }
            ul {
                (place(Nav::Overview, "/", "Overview", "M2.5 2.5h5v6h-5zM10.5 2.5h5v3h-5zM10.5 8.5h5v7h-5zM2.5 11.5h5v4h-5z", 0))
                (place(Nav::Devices, "/devices", "Devices", "M4.5 4.5h9v9h-9zM7 7h4v4H7zM7 4.5v-3M11 4.5v-3M7 16.5v-3M11 16.5v-3M4.5 7h-3M4.5 11h-3M16.5 7h-3M16.5 11h-3", 0))
                (place(Nav::Gateways, "/gateways", "Gateways", "M2.5 8.500h13v6h-13zM5 11.500h.500M8 11.500h.500M5.500 8.500V5M12.500 8.500V5M3.500 3a3 3 0 0 1 4 0M10.500 3a3 3 0 0 1 4 0", 0))
                (place(Nav::Alarms, "/alarms", "Alarms", "M9 2a5 5 0 0 0-5 5v3.5L2.5 13.5h13L14 10.500V7a5 5 0 0 0-5-5zM7 13.500a2 2 0 0 0 4 0", alarms))
                li.group aria-hidden="true" {}
                (place(Nav::Rules, "/workflows", "Rules", "M3 3h4v4H3zM11 11h4v4h-4zM5 7v4a2 2 0 0 0 2 2h4", 0))
                (place(Nav::Runs, "/runs", "Runs", "M2.500 4.500h7M2.500 9h10M2.500 13.500h5M13 11.500l3 2-3 2z", 0))
                (place(Nav::Rollouts, "/rollouts", "Roll-outs", "M9 2.500v8M5.500 7l3.500 3.500L12.500 7M2.500 12v3.500h13V12", 0))
                (place(Nav::Content, "/content", "Content", "M4 2h7l3 3v11H4zM6.500 8h5M6.500 11h5", 0))
                (place(Nav::Invoices, "/invoices", "Invoices", "M4 2h10v14l-2-1.500-1.500 1.500-1.500-1.500-1.500 1.500L6 14.500 4 16zM6.500 6h5M6.500 9h5", 0))
                li.group aria-hidden="true" {}
                (place(Nav::Ledger, "/ledger", "Ledger", "M3 2.500h12v13H3zM6 2.500v13M8.500 6h4M8.500 9h4", 0))
                (place(Nav::Quarantine, "/quarantine", "Quarantine", "M9 2l7 13H2zM9 7v4M9 13v.500", 0))
                (place(Nav::Settings, "/settings", "Settings", "M2 5h8M14 5h2M2 13h2M8 13h8M10 5a2 2 0 1 0 4 0 2 2 0 1 0-4 0M4 13a2 2 0 1 0 4 0 2 2 0 1 0-4 0", 0))
                @if caller.role == Role::Admin {
                    (place(Nav::Audit, "/audit", "Audit log", "M4 2h10v14H4zM6.500 6l1 1 2-2M11 6h1M6.500 10.500l1 1 2-2M11 10.500h1", 0))
                }
            }
            div.foot {
                p { strong { (caller.tenant) } span.dim.small { "signed in as " (caller.role.as_str()) } }
                @if matches!(caller.opener, Opener::Wallet(_)) { p { a href="/wallet" { "Your wallet" } } }
                p.link { (over(caller)) }
                form method="post" action="/logout" { button { "Sign out" } }
            }
        }
    }
}

/// What this page came through.
fn over(caller: &Caller) -> Markup {
    match &caller.link {
        Some(link) if link.post_quantum => html! {
            (super::badge("good", "post-quantum")) span.dim.small { "TLS 1.3, " (link.group) }
        },
        Some(link) => html! {
            (super::badge("warn", "classical")) span.dim.small { "TLS 1.3, " (link.group) }
        },
        None => html! { (super::badge("", "no TLS")) span.dim.small { "to this hub's address" } },
    }
}

/// A line drawing of 18 by 18.
fn drawn(path: &str) -> Markup {
    html! { svg viewBox="0 0 18 18" aria-hidden="true" { path d=(path) {} } }
}

fn mark() -> Markup {
    PreEscaped(
        "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><rect width=\"16\" height=\"16\" rx=\"3.5\" \
         fill=\"#1f5fc4\"></rect><path d=\"M3 11l3-5 3 4 4-6\" fill=\"none\" stroke=\"#fff\" \
         stroke-width=\"1.6\" stroke-linecap=\"round\" stroke-linejoin=\"round\"></path></svg>"
            .to_owned(),
    )
}
