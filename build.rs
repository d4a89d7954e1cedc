//! How the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let is_for_the_edge = is_set("CARGO_FEATURE_GATEWAY") && !is_set("CARGO_FEATURE_HUB");
    if is_for_the_edge && target("OS") == "linux" && target("ENV") == "gnu" {
        // The addresses that change with where the program is loaded, as a map of bits (RELR) instead of 24
        // bytes each: a megabyte less. glibc reads that from 2.36 on; an older one says so and does not start.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
