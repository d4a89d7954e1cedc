//! The documents stay true: every package and folder is on the map, every link leads somewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The table rows of the map: the folder in the first cell, the package in the second.
fn map() -> Vec<(String, String)> {
    read("docs/architecture.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let mut cells = line
                .split('|')
                .skip(1)
                .map(|cell| cell.trim().trim_matches('`').to_owned());
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect()
}

#[test]
fn every_package_of_the_workspace_is_on_the_map() {
    let manifest = read("Cargo.toml");
    let members = manifest
        .split_once("members = [")
        .unwrap()
        .1
        .split_once(']')
        .unwrap()
        .0;
    let map = map();
    for member in members.lines().filter_map(|line| line.split('"').nth(1)) {
        let package = read(&format!("{member}/Cargo.toml"))
            .lines()
            .find_map(|line| line.strip_prefix("name = "))
            .unwrap()
            .trim_matches('"')
            .to_owned();
        assert!(
            map.contains(&(member.to_owned(), package.clone())),
            "docs/architecture.md does not have the row | `{member}` | `{package}` |"
        );
    }
}

#[test]
fn every_folder_on_the_map_exists() {
    let map = map();
    assert!(map.len() > 10, "the map's table was not found");
    for (folder, _) in map {
        assert!(
            root().join(&folder).is_dir(),
            "docs/architecture.md names {folder}, not there"
        );
    }
}

#[test]
fn every_relative_link_of_the_documents_leads_somewhere() {
    let mut documents = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let base: PathBuf = document.parent().unwrap().to_owned();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(
                base.join(target).exists(),
                "{} links to {target}, which is not there",
                document.display()
            );
        }
    }
}
