//! The board's image.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds the image, once a test process, and says where it is.
pub(crate) fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(build)
}

fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware/boards/mps2-an386");
    // Below the folder that this test was built in, where the next run finds it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("boards");
    let status = Command::new(env!("CARGO"))
        .current_dir(&folder)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--target", "thumbv7em-none-eabihf", "--target-dir"])
        .arg(&target)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the board's image does not build");
    target.join("thumbv7em-none-eabihf/release/mps2-an386")
}
