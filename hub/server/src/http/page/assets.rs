//! The script and the style sheet, in the binary. Their addresses change with their bytes, so
//! that a browser keeps them for ever and still never mixes versions.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header;
use sha2::{Digest, Sha256};

const SCRIPT: &str = include_str!("live.js");
const STYLE: &str = include_str!("live.css");
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">\
    <rect width=\"16\" height=\"16\" rx=\"3\" fill=\"#0b5cad\"/>\
    <path d=\"M3 11l3-5 3 4 4-6\" fill=\"none\" stroke=\"#fff\" stroke-width=\"1.5\"/></svg>";
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Where the script is.
pub(super) fn script_url() -> &'static str {
    static URL: LazyLock<String> = LazyLock::new(|| url("/assets/live.js", SCRIPT));
    &URL
}

/// Where the style sheet is.
pub(super) fn style_url() -> &'static str {
    static URL: LazyLock<String> = LazyLock::new(|| url("/assets/live.css", STYLE));
    &URL
}

/// `GET /assets/live.js`
pub(in crate::http) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// `GET /assets/live.css`
pub(in crate::http) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

/// `GET /assets/icon.svg`
pub(in crate::http) async fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, FOREVER),
        ],
        text,
    )
        .into_response()
}

fn url(path: &str, text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let version = hex::encode(digest.get(..6).unwrap_or_default());
    format!("{path}?v={version}")
}
