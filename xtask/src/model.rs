//! The symbolic models below `crypto/model`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::{shell, tools};

/// What the first line of a model starts with; behind it a letter and a digit a query.
const EXPECTED: &str = "// Expected: ";

/// Searches each model. One that is broken where it should hold fails the chore, and so does one
/// that holds where it should be broken: it would show nothing.
pub(crate) fn run() -> anyhow::Result<()> {
    let verifpal = tools::verifpal()?;
    let folder = shell::root().join("crypto").join("model");
    let mut models: Vec<_> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "vp"))
        .collect();
    models.sort();
    ensure!(!models.is_empty(), "{} has no models", folder.display());
    let mut differ = 0;
    for model in &models {
        let (expected, found) = (expected(model)?, found(&verifpal, model)?);
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        if expected == found {
            println!("{name}: {found}");
        } else {
            println!("{name}: {found}, where {expected} is expected");
            differ += 1;
        }
    }
    if differ > 0 {
        bail!(
            "{differ} of {} models differ from what they say",
            models.len()
        );
    }
    Ok(())
}

fn expected(model: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(model)?;
    let first = text.lines().next().unwrap_or_default();
    let code = first
        .strip_prefix(EXPECTED)
        .with_context(|| format!("{} does not start with {EXPECTED:?}", model.display()))?;
    Ok(code.trim().to_owned())
}

fn found(verifpal: &Path, model: &Path) -> anyhow::Result<String> {
    let printed = shell::output(
        Command::new(verifpal)
            .args(["verify", "--quiet", "--result-code", "--color", "never"])
            .arg(model),
    );
    let printed = printed.with_context(|| format!("{} cannot be searched", model.display()))?;
    let code = printed.lines().last().unwrap_or_default();
    Ok(code.trim().to_owned())
}
