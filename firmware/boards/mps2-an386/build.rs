//! Hands the memory's layout to the linker: one for the loader, one for the application.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for (binary, layout) in [
        ("boot", include_str!("boot.x")),
        ("mps2-an386", include_str!("app.x")),
    ] {
        // cortex-m-rt's script asks for `memory.x`: each binary finds its own.
        let folder = out.join(binary);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("memory.x"), layout)?;
        println!("cargo:rustc-link-arg-bin={binary}=-L{}", folder.display());
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rerun-if-changed=boot.x");
    println!("cargo:rerun-if-changed=app.x");
    Ok(())
}
