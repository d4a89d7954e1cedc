//! What a gateway may be told from afar, checked by the same code at the hub, which refuses what is
//! wrong at once, and at the gateway, which has the last word.
//!
//! A desired state is a set of texts, one a [`Section`], each YAML. [`check`] finds what is wrong
//! with one of them, by line. The section [`Section::Settings`] is read here as [`Settings`]: the
//! table [`SETTINGS`] is all that it may hold, with bounds. Who a gateway is, which hubs it trusts
//! and what it listens on are in no such table: they are changed at the gateway.
//!
//! ```
//! use stencil_desired::{Settings, Value};
//!
//! let settings = Settings::parse("spool: { max_bytes: 536870912 }\n").unwrap();
//! assert_eq!(settings.get("spool.max_bytes"), Some(&Value::Number(536_870_912)));
//! let flaws = Settings::parse("link:\n  tcp: ['0.0.0.0:7443']\n").unwrap_err();
//! assert_eq!(flaws[0].line, 2);
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod mapping;
mod settings;
mod table;
mod yaml;

pub use settings::{Settings, Value};
pub use stencil_protocol::desired::{Flaw, MAX_FLAWS, MAX_SECTION_BYTES, Section};
pub use table::{Kind, LEVELS, SETTINGS, Setting};

/// What is wrong with a section's text, at most [`MAX_FLAWS`]; nothing, as far as this can be known
/// without the gateway.
///
/// Of a mapping this looks at the YAML and its outline: connections, devices and what hangs on what. What
/// a protocol says of these is judged by the gateway, which reads it.
pub fn check(section: Section, text: &str) -> Vec<Flaw> {
    if text.len() > MAX_SECTION_BYTES {
        let what = format!(
            "it has {} bytes; at most {MAX_SECTION_BYTES} are allowed",
            text.len()
        );
        return vec![Flaw::new(Some(section), 1, 1, what)];
    }
    match section {
        Section::Settings => Settings::parse(text).err().unwrap_or_default(),
        Section::Mapping => mapping::check(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_yaml_is_told_by_its_line() {
        let section = Section::Mapping;
        let flaws = check(section, "version: 1\nconnections: [1,\nc: 2\n");
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        assert_eq!(flaws[0].section, Some(section));
        assert!(flaws[0].line >= 2, "{flaws:?}");
        assert!(
            check(section, "a: &x 1\nb: *x\n")[0]
                .what
                .contains("anchor")
        );
        let long = "a".repeat(MAX_SECTION_BYTES + 1);
        assert!(
            check(Section::Mapping, &long)[0]
                .what
                .contains("1048577 bytes")
        );
    }
}
