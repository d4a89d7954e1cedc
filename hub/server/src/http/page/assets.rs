//! Scripts, style sheets and the icon, in the binary. Their addresses change with their bytes, so
//! that a browser keeps them for ever and still never mixes versions.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::input::{Path, Query};
use super::super::problem::Problem;

/// A file that pages name.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    text: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The design: its constants, the elements, the frame and the parts of pages.
pub(super) static STYLE: Asset = Asset {
    name: "stencil.css",
    text: concat!(
        include_str!("css/tokens.css"),
        include_str!("css/base.css"),
        include_str!("css/frame.css"),
        include_str!("css/parts.css"),
        include_str!("css/records.css"),
        include_str!("css/figures.css"),
        include_str!("css/overview.css"),
        include_str!("css/device.css"),
        include_str!("css/settings.css"),
    ),
};
/// The editor of rules.
pub(super) static RULES_STYLE: Asset = Asset {
    name: "rules.css",
    text: include_str!("css/rules.css"),
};
/// What every page does.
pub(super) static CORE: Asset = Asset {
    name: "core.js",
    text: include_str!("core.js"),
};
/// The dialogs of the alarms' pages.
pub(super) static ALARMS: Asset = Asset {
    name: "alarms.js",
    text: include_str!("alarms.js"),
};
/// The editor of rules.
pub(super) static EDITOR: Asset = Asset {
    name: "editor.js",
    text: include_str!("editor.js"),
};
/// The editor's backtest.
pub(super) static BACKTEST: Asset = Asset {
    name: "backtest.js",
    text: include_str!("backtest.js"),
};
/// The chart of a device's series.
pub(super) static CHART: Asset = Asset {
    name: "chart.js",
    text: include_str!("chart.js"),
};
/// Secrets that are shown once.
pub(super) static SETTINGS: Asset = Asset {
    name: "settings.js",
    text: include_str!("settings.js"),
};
/// Codes that were scanned, and files of devices.
pub(super) static ENROLMENT: Asset = Asset {
    name: "enrolment.js",
    text: include_str!("enrolment.js"),
};
/// What a gateway is asked from its page.
pub(super) static GATEWAY: Asset = Asset {
    name: "gateway.js",
    text: include_str!("gateway.js"),
};
/// The checkout page, which is no page of the console.
pub(super) static CHECKOUT_STYLE: Asset = Asset {
    name: "checkout.css",
    text: include_str!("css/checkout.css"),
};
/// The checkout page as it follows its invoice.
pub(super) static CHECKOUT: Asset = Asset {
    name: "checkout.js",
    text: include_str!("checkout.js"),
};
/// Wallets in the browser.
pub(super) static WALLETS: Asset = Asset {
    name: "wallets.js",
    text: include_str!("wallets.js"),
};
/// Signing in with them.
pub(super) static SIGNING: Asset = Asset {
    name: "signing.js",
    text: include_str!("signing.js"),
};
/// Paying with them.
pub(super) static PAYING: Asset = Asset {
    name: "paying.js",
    text: include_str!("paying.js"),
};
/// What the pages that sell and buy have in common.
pub(super) static TRADING: Asset = Asset {
    name: "trading.js",
    text: include_str!("trading.js"),
};
/// Selling what a wallet's account holds.
pub(super) static SELLING: Asset = Asset {
    name: "selling.js",
    text: include_str!("selling.js"),
};
/// Buying what is listed.
pub(super) static BUYING: Asset = Asset {
    name: "buying.js",
    text: include_str!("buying.js"),
};
/// How these two pages look beside what the checkout has.
pub(super) static TRADING_STYLE: Asset = Asset {
    name: "trading.css",
    text: include_str!("css/trading.css"),
};
/// The icon of the browser's tab.
static ICON: Asset = Asset {
    name: "icon.svg",
    text: "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">\
           <rect width=\"16\" height=\"16\" rx=\"3.5\" fill=\"#1f5fc4\"/>\
           <path d=\"M3 11l3-5 3 4 4-6\" fill=\"none\" stroke=\"#fff\" stroke-width=\"1.6\" \
           stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg>",
};

/// Every file that is served, one a line.
static ALL: &[&Asset] = &[
    &STYLE,
    &RULES_STYLE,
    &CORE,
    &ALARMS,
    &EDITOR,
    &BACKTEST,
    &CHART,
    &SETTINGS,
    &ENROLMENT,
    &GATEWAY,
    &CHECKOUT_STYLE,
    &CHECKOUT,
    &WALLETS,
    &SIGNING,
    &PAYING,
    &TRADING,
    &SELLING,
    &BUYING,
    &TRADING_STYLE,
    &ICON,
];

/// The addresses, in the order of [`ALL`].
static URLS: LazyLock<Vec<String>> =
    LazyLock::new(|| ALL.iter().map(|asset| asset.address()).collect());

impl Asset {
    /// Where it is.
    pub(super) fn url(&self) -> &'static str {
        let place = ALL.iter().position(|asset| asset.name == self.name);
        let url = place.and_then(|place| URLS.get(place));
        url.map(String::as_str).unwrap_or_default()
    }

    fn address(&self) -> String {
        let digest = Sha256::digest(self.text.as_bytes());
        let version = hex::encode(digest.get(..6).unwrap_or_default());
        format!("/assets/{}?v={version}", self.name)
    }

    fn kind(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("css") => CSS,
            Some("js") => JS,
            _ => SVG,
        }
    }
}

/// Where the icon is.
pub(super) fn icon_url() -> &'static str {
    ICON.url()
}

/// What an address has besides the name: it is another one when the bytes are others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Version {
    #[serde(rename = "v")]
    _version: Option<String>,
}

/// `GET /assets/{file}?v`
pub(in crate::http) async fn file(
    Path(name): Path<String>,
    Query(_): Query<Version>,
) -> Result<Response, Problem> {
    let Some(asset) = ALL.iter().find(|asset| asset.name == name) else {
        return Err(Problem::not_found("asset", name));
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind()),
        (header::CACHE_CONTROL, FOREVER),
    ];
    Ok((headers, asset.text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_an_address_of_its_own_that_names_its_bytes() {
        for (place, asset) in ALL.iter().enumerate() {
            let url = asset.url();
            assert!(
                url.starts_with(&format!("/assets/{}?v=", asset.name)),
                "{url}"
            );
            assert!(
                ALL[..place].iter().all(|other| other.url() != url),
                "{url} is there twice"
            );
        }
        let other = Asset {
            name: STYLE.name,
            text: "other",
        };
        assert_ne!(other.address(), STYLE.address());
    }
}
