//! The gas that the tests have measured, as tables in the contracts' README.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

const BEGIN: &str = "<!-- gas: written by `cargo xtask contracts` -->\n";
const END: &str = "<!-- end of gas -->";

/// The README with the table between its marks written anew from the measurements among `files`.
pub(super) fn tables(readme: &Path, files: &[(PathBuf, String)]) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(readme)?;
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{} has no line {BEGIN}", readme.display()))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{} has no line {END}", readme.display()))?;
    let mut table = "\n| contract | transaction | gas |\n|---|---|--:|\n".to_owned();
    for (path, measured) in files {
        if !path.starts_with(super::GAS) {
            continue;
        }
        let contract = path.file_stem().unwrap_or_default().to_string_lossy();
        let measured: BTreeMap<String, String> = serde_json::from_str(measured)?;
        for (what, gas) in measured {
            let gas: u64 = gas.parse()?;
            writeln!(table, "| `{contract}` | {what} | {} |", thousands(gas))?;
        }
    }
    Ok(format!("{before}{BEGIN}{table}\n{END}{after}"))
}

/// A number as people read it: 123,456.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(21_000), "21,000");
        assert_eq!(thousands(123_456), "123,456");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn the_table_is_between_its_marks_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let readme = folder.path().join("README.md");
        std::fs::write(&readme, format!("above\n{BEGIN}old\n{END}\nbelow\n")).unwrap();
        let files = [(
            PathBuf::from("gas/Thing.json"),
            r#"{"pay": "51234"}"#.to_owned(),
        )];
        let text = tables(&readme, &files).unwrap();
        assert!(
            text.starts_with("above\n") && text.ends_with("\nbelow\n"),
            "{text}"
        );
        assert!(text.contains("| `Thing` | pay | 51,234 |"), "{text}");
        assert!(!text.contains("old"), "{text}");
        std::fs::write(&readme, &text).unwrap();
        assert_eq!(tables(&readme, &files).unwrap(), text);
    }
}
