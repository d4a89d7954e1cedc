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

/// The words of a text that stand between backticks, each with its line.
fn quoted(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).flat_map(|(at, line)| {
        let words = line.split('`').skip(1).step_by(2);
        words.map(move |word| (at, word))
    })
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn each(path: &str) -> Vec<String> {
    let Some((before, (of, after))) = path
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return vec![path.to_owned()];
    };
    let one = |part: &str| each(&format!("{before}{}{after}", part.trim()));
    of.split(',').flat_map(one).collect()
}

/// Whether a word is the path of a source or of a folder of sources; not one of a hub's or gateway's own
/// folders.
fn is_of_source(word: &str) -> bool {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_./{},-*".contains(c);
    let (first, is_deep) = match word.split_once('/') {
        Some((first, _)) => (first, true),
        None => (word, false),
    };
    let is_folder = OF_SERVER.contains(&first) || root().join(first).is_dir();
    let is_file = word.ends_with(".rs") || word.ends_with(".sol");
    !first.is_empty() && word.chars().all(is_path) && (is_file || is_deep && is_folder)
}

/// What the threat model leaves out `hub/server/src/` of.
const OF_SERVER: [&str; 4] = ["http", "policy", "chains", "registry"];

#[test]
fn every_place_that_the_threat_model_names_is_there() {
    let text = read("docs/threat-model.md");
    let (mut before, mut checked) = (PathBuf::new(), 0);
    let mut missing = Vec::new();
    let places = quoted(&text).filter(|(_, word)| is_of_source(word) && !word.contains('*'));
    for (at, path) in places.flat_map(|(at, word)| each(word).into_iter().map(move |it| (at, it))) {
        let first = path.split('/').next().unwrap();
        let whole = match OF_SERVER.contains(&first) {
            true => Path::new("hub/server/src").join(&path),
            false => PathBuf::from(&path),
        };
        // A name alone is beside the one before it.
        let beside = before.parent().unwrap_or(Path::new("")).join(&path);
        let mut found = [whole, beside].into_iter();
        match found.find(|it| root().join(it).exists()) {
            Some(found) => before = found,
            None => missing.push(format!("line {at}: {path}")),
        }
        checked += 1;
    }
    assert!(checked > 100, "the places were not found");
    assert!(
        missing.is_empty(),
        "docs/threat-model.md names {missing:#?}"
    );
}
