//! Rebuilds the crate when a migration is added: refinery does not notice new files by itself.
fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
