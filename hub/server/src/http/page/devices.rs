//! `GET /devices`: the fleet, searched, filtered, by pages, with newest values that live.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_protocol::id::GatewayId;
use stencil_store::{Device, DeviceCounts, DeviceFilter, Linked, Newest, Standing};

use super::super::input::Query;
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::overview::row;
use super::{Frame, Nav, encoded, shell, value};

/// Devices on one page.
const DEVICES: u32 = 50;
/// Values shown of one device.
const VALUES: u32 = 6;
/// The longest text to search for, in bytes: as long as an id may be.
const MAX_SEARCH: usize = 128;

/// Which devices. A filter that is empty is none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    search: Option<String>,
    link: Option<String>,
    gateway: Option<String>,
    protection: Option<String>,
    after: Option<String>,
}

/// The links that may be asked for: the address's word, and the reader's.
const LINKS: [(&str, &str, Linked); 3] = [
    ("connected", "Linked", Linked::Connected),
    ("cut-off", "Cut off", Linked::CutOff),
    ("unknown", "Never linked", Linked::Unknown),
];

/// The same of how they are protected.
const PROTECTIONS: [(&str, &str, bool); 2] = [
    ("post-quantum", "Post-quantum", true),
    ("classical", "Not post-quantum", false),
];

impl Which {
    fn filter(&self) -> Result<DeviceFilter, Problem> {
        let search = set(&self.search).map(str::trim);
        if search.is_some_and(|search| search.len() > MAX_SEARCH) {
            return Err(Problem::invalid(format!(
                "`search` has more than {MAX_SEARCH} bytes; no id is as long"
            )));
        }
        let linked = set(&self.link).map(|name| {
            let found = LINKS.iter().find(|(link, ..)| *link == name);
            found.map(|(.., linked)| *linked).ok_or_else(|| {
                let right = "connected, cut-off or unknown";
                Problem::invalid(format!("`link` is `{name}`, it has to be {right}"))
            })
        });
        let post_quantum = set(&self.protection).map(|name| {
            let found = PROTECTIONS.iter().find(|(kind, ..)| *kind == name);
            found.map(|(.., is)| *is).ok_or_else(|| {
                let right = "post-quantum or classical";
                Problem::invalid(format!("`protection` is `{name}`, it has to be {right}"))
            })
        });
        let gateway = set(&self.gateway).map(|name| {
            GatewayId::parse(name)
                .map_err(|error| Problem::invalid(format!("the gateway: {error}")))
        });
        Ok(DeviceFilter {
            search: search
                .filter(|search| !search.is_empty())
                .map(str::to_owned),
            linked: linked.transpose()?,
            gateway: gateway.transpose()?,
            post_quantum: post_quantum.transpose()?,
            standing: Standing::default(),
        })
    }

    /// The same filter with another link, from a cursor on.
    fn address(&self, link: Option<&str>, after: Option<&str>) -> String {
        let mut address = "/devices".to_owned();
        let mut sign = '?';
        for (name, text) in [
            ("search", set(&self.search)),
            ("link", link),
            ("gateway", set(&self.gateway)),
            ("protection", set(&self.protection)),
            ("after", after),
        ] {
            if let Some(text) = text {
                address.push_str(&format!("{sign}{name}={}", encoded(text)));
                sign = '&';
            }
        }
        address
    }

    fn is_narrowed(&self) -> bool {
        [&self.search, &self.link, &self.gateway, &self.protection]
            .into_iter()
            .any(|text| set(text).is_some())
    }
}

fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// `GET /devices?search&link&gateway&protection&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let filter = which.filter()?;
    let (devices, tenant) = (&state.store.devices, &caller.tenant);
    let after = which.after.as_deref();
    let page = devices.find(tenant, &filter, after, DEVICES).await?;
    let ids: Vec<_> = page.items.iter().map(|device| device.id.clone()).collect();
    let newest = devices.newest(tenant, &ids, VALUES).await?;
    let counts = devices.counts(tenant, &Standing::default()).await?;
    let gateways = devices.gateways(tenant).await?;
    let now_us = state.clock.now_us();
    let body = html! {
        div.row.filters {
            (links(&which, &counts))
            (narrow(&which, &gateways))
        }
        section #devices.card data-live="fleet" data-every="15" aria-label="Devices" {
            @if page.items.is_empty() { (nothing(&which, counts.devices)) }
            @else { (table(&page.items, &newest, now_us)) }
            @if which.after.is_some() || page.next.is_some() {
                nav.pager aria-label="Pages of the devices" {
                    span.dim { "By id" }
                    @if which.after.is_some() {
                        a.button href=(which.address(set(&which.link), None)) { "First page" }
                    }
                    @if let Some(next) = &page.next {
                        a.button rel="next" href=(which.address(set(&which.link), Some(next))) { "Next page" }
                    }
                }
            }
        }
    };
    let frame = Frame::new(Nav::Devices, "Devices").actions(html! {
        a.button href="/claim" { "Claim a device" }
        a.button href="/enrolment" { "Enrolment" }
    });
    shell(&state, &caller, frame, body).await
}

fn links(which: &Which, counts: &DeviceCounts) -> Markup {
    let told = counts.connected.saturating_add(counts.cut_off);
    let count = |linked: Linked| match linked {
        Linked::Connected => counts.connected,
        Linked::CutOff => counts.cut_off,
        Linked::Unknown => counts.devices.saturating_sub(told),
    };
    let chosen = set(&which.link);
    html! {
        nav #device-links.segments aria-label="Link" data-live="links fleet" {
            a href=(which.address(None, None)) aria-current=[chosen.is_none().then_some("true")] {
                "All" span.dim { (value::count(counts.devices)) }
            }
            @for (name, text, linked) in LINKS {
                a href=(which.address(Some(name), None))
                    aria-current=[(chosen == Some(name)).then_some("true")] {
                    (text) span.dim { (value::count(count(linked))) }
                }
            }
        }
    }
}

fn narrow(which: &Which, gateways: &[GatewayId]) -> Markup {
    let chosen = set(&which.gateway);
    html! {
        form.row method="get" action="/devices" {
            @if let Some(link) = set(&which.link) { input type="hidden" name="link" value=(link); }
            input type="search" name="search" value=[set(&which.search)] placeholder="Part of an id"
                aria-label="Part of an id" maxlength=(MAX_SEARCH) autocomplete="off";
            @if !gateways.is_empty() || chosen.is_some() {
                select name="gateway" aria-label="Gateway" {
                    option value="" { "Any gateway" }
                    @for gateway in gateways {
                        option value=(gateway) selected[chosen == Some(gateway.as_str())] { (gateway) }
                    }
                    @if let Some(other) = chosen.filter(|name| gateways.iter().all(|g| g.as_str() != *name)) {
                        option value=(other) selected { (other) }
                    }
                }
            }
            select name="protection" aria-label="Protection" {
                option value="" { "Any protection" }
                @for (name, text, _) in PROTECTIONS {
                    option value=(name) selected[set(&which.protection) == Some(name)] { (text) }
                }
            }
            button { "Show" }
            @if which.is_narrowed() { a.button href="/devices" { "Clear" } }
        }
    }
}

fn nothing(which: &Which, all: u64) -> Markup {
    html! {
        div.empty {
            @if which.after.is_some() {
                h2 { "No further devices" }
                p { a href=(which.address(set(&which.link), None)) { "First page" } }
            } @else if which.is_narrowed() {
                h2 { "No device is like that" }
                @if let Some(search) = set(&which.search) {
                    p { "None of " (value::count(all)) " devices has " q { (search) } " in its id"
                        @if which.link.is_some() || which.gateway.is_some() || which.protection.is_some() {
                            " and fits the other filters"
                        } "." }
                }
                p { a href="/devices" { "All devices" } }
            } @else {
                h2 { "No device has been heard yet" }
                p { "A device appears with its first reading. " a href="/" { "First steps" } }
            }
        }
    }
}

fn table(devices: &[Device], newest: &[Newest], now_us: i64) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Devices" {
            table.cards {
                thead { tr {
                    th scope="col" { "Device" }
                    th scope="col" { "Link" }
                    th scope="col" { "Gateway" }
                    th scope="col" { "Newest values" }
                    th.num scope="col" { "Heard" }
                } }
                tbody { @for device in devices { (row(device, newest, Some(gateway(device)), now_us)) } }
            }
        }
    }
}

fn gateway(device: &Device) -> Markup {
    html! {
        @if let Some(gateway) = &device.gateway {
            a href={ "/devices?gateway=" (encoded(gateway.as_str())) } { (gateway) }
        } @else { span.dim { "none" } }
    }
}
