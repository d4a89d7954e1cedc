//! What of a compiled contract is committed: its ABI, the code that deploys it and the code that then
//! runs, in the shape that Hardhat gave such files and that alloy, viem and ethers read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

/// What a tenant deploys.
pub(super) const FOLDER: &str = "artifacts";
/// Tokens for dev chains and tests, kept apart.
pub(super) const DEV_FOLDER: &str = "artifacts/dev";

/// The artifacts of all contracts that forge has built, each with its path below `chain/contracts`.
/// A file holds a contract of its own name, or none.
pub(super) fn all(folder: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for (sources, artifacts) in [
        ("src", FOLDER),
        ("dev", DEV_FOLDER),
        ("dev/hostile", DEV_FOLDER),
    ] {
        for entry in std::fs::read_dir(folder.join(sources))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "sol") {
                continue;
            }
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let built = folder
                .join("out")
                .join(format!("{name}.sol"))
                .join(format!("{name}.json"));
            let built: Value = serde_json::from_str(
                &std::fs::read_to_string(&built)
                    .with_context(|| format!("forge has built no contract {name}"))?,
            )?;
            if let Some(text) = one(&name, &built).with_context(|| name.clone())? {
                files.push((Path::new(artifacts).join(format!("{name}.json")), text));
            }
        }
    }
    if files.is_empty() {
        bail!("forge has built nothing");
    }
    files.sort();
    Ok(files)
}

/// One contract, or nothing where it is a library, whose code is inside of those that call it.
fn one(name: &str, built: &Value) -> anyhow::Result<Option<String>> {
    let abi = built.get("abi").context("no ABI")?;
    if abi.as_array().is_none_or(Vec::is_empty) {
        return Ok(None);
    }
    let code = |key: &str| -> anyhow::Result<&str> {
        let object = built
            .pointer(&format!("/{key}/object"))
            .and_then(Value::as_str)
            .with_context(|| format!("no {key}"))?;
        if !object
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            bail!("{key} is not whole: a library is to be linked");
        }
        Ok(object)
    };
    let metadata = |path: &str| {
        built
            .pointer(&format!("/metadata/{path}"))
            .with_context(|| format!("the metadata has no {path}"))
    };
    let immutables = immutables(built)?;
    let mut text = String::new();
    writeln!(text, "{{")?;
    writeln!(text, "\"contractName\":\"{name}\",")?;
    writeln!(
        text,
        "\"compiler\":{{\"version\":{},\"evmVersion\":{},\"optimizer\":{}}},",
        sorted(metadata("compiler/version")?),
        sorted(metadata("settings/evmVersion")?),
        sorted(metadata("settings/optimizer")?),
    )?;
    writeln!(text, "\"abi\":{},", sorted(abi))?;
    writeln!(text, "\"bytecode\":\"{}\",", code("bytecode")?)?;
    writeln!(
        text,
        "\"deployedBytecode\":\"{}\",",
        code("deployedBytecode")?
    )?;
    writeln!(text, "\"immutableReferences\":{}", sorted(&immutables))?;
    writeln!(text, "}}")?;
    Ok(Some(text))
}

/// Where each immutable stands in the code, by its place in the source. The compiler's own numbers
/// for them change with any other source.
fn immutables(built: &Value) -> anyhow::Result<Value> {
    let Some(references) = built
        .pointer("/deployedBytecode/immutableReferences")
        .and_then(Value::as_object)
    else {
        return Ok(Value::Array(Vec::new()));
    };
    let mut numbered = references
        .iter()
        .map(|(number, places)| Ok((number.parse::<u64>()?, places.clone())))
        .collect::<anyhow::Result<Vec<_>>>()?;
    numbered.sort_by_key(|(number, _)| *number);
    Ok(Value::Array(
        numbered.into_iter().map(|(_, places)| places).collect(),
    ))
}

/// Compact JSON with its keys in order, whatever order a build of ours keeps them in.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries: Vec<String> = entries
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), sorted(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(sorted).collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn built() -> Value {
        json!({
            "abi": [{"type": "function", "name": "pay", "inputs": []}],
            "bytecode": {"object": "0x60aa"},
            "deployedBytecode": {"object": "0x60bb", "immutableReferences": {"7": [{"start": 1, "length": 32}]}},
            "metadata": {
                "compiler": {"version": "0.8.37"},
                "settings": {"evmVersion": "cancun", "optimizer": {"runs": 1, "enabled": true}},
            },
        })
    }

    #[test]
    fn an_artifact_is_json_with_code_and_abi() {
        let text = one("Thing", &built()).unwrap().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["contractName"], "Thing");
        assert_eq!(value["bytecode"], "0x60aa");
        assert_eq!(value["deployedBytecode"], "0x60bb");
        assert_eq!(value["abi"][0]["name"], "pay");
        assert_eq!(value["immutableReferences"][0][0]["start"], 1);
        assert!(text.contains(r#"{"enabled":true,"runs":1}"#), "{text}");
    }

    #[test]
    fn a_library_has_no_artifact_and_code_that_is_not_linked_is_refused() {
        let mut library = built();
        library["abi"] = json!([]);
        assert!(one("Library", &library).unwrap().is_none());
        let mut open = built();
        open["bytecode"]["object"] = json!("0x60__$library$__");
        assert!(one("Open", &open).is_err());
    }
}
