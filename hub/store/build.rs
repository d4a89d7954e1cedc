//! The migrations are compiled in; without this a new one would be missed.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
