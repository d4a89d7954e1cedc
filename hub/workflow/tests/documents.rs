//! What the guides show as a workflow can be used as it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use stencil_workflow::definition;

#[test]
fn each_workflow_of_the_guides_is_whole() {
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let guides = fs::read_dir(documents.join("guides")).unwrap();
    let guides = guides.map(|guide| guide.unwrap().path());
    let mut read = Vec::new();
    for path in guides.chain([documents.join("workflows.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```yaml\n").skip(1);
        for block in blocks.filter_map(|rest| rest.split_once("```")) {
            // Others show a part of one, or a configuration.
            if !block.0.lines().any(|line| line == "steps:") {
                continue;
            }
            match definition::parse(block.0) {
                Ok(definition) => read.push(definition.id),
                Err(error) => panic!("{}: {error}\n{}", path.display(), block.0),
            }
        }
    }
    for id in [
        "freezer-warm",
        "figure-published",
        "seal-differs",
        "right-bought",
    ] {
        assert!(read.iter().any(|it| it == id), "{id} is not in {read:?}");
    }
}
