//! The console: pages rendered here, kept alive by a small script.
//!
//! Each page is a handler that renders markup into the frame ([`shell`]). Parts of it that name
//! what they live by (`data-live="runs"`) are asked for anew, at the page's own address, when the
//! event stream says that something in them has changed. Without the script each page still
//! shows all, and each way to another one is a plain link.

pub(super) mod alarms;
pub(super) mod assets;
pub(super) mod audit;
pub(super) mod chart;
pub(super) mod checkout;
pub(super) mod content;
pub(super) mod device;
pub(super) mod devices;
pub(super) mod enrolment;
pub(super) mod failed;
pub(super) mod gateways;
pub(super) mod invoices;
pub(super) mod ledger;
pub(super) mod link;
mod linked;
pub(super) mod moment;
pub(super) mod overview;
mod plot;
pub(super) mod quarantine;
pub(super) mod rollouts;
pub(super) mod rules;
pub(super) mod run;
mod seal_marks;
pub(super) mod settings;
mod shell;
pub(super) mod sign_in;
pub(super) mod stream;
mod value;
pub(super) mod wallet;

use maud::{Markup, html};

pub(super) use shell::style;
use shell::{Frame, Nav, shell};

/// A word on a coloured ground; the word says it, the colour only repeats it.
fn badge(class: &str, text: &str) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}

/// A text for a query string or a part of a path.
pub(super) fn encoded(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            coded.push(char::from(byte));
        } else {
            coded.push_str(&format!("%{byte:02X}"));
        }
    }
    coded
}
