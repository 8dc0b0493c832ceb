//! The README's TOML is configuration that works. (Its Rust runs as a doc test, its Python in `bindings/tests`.)

use evenly::config::Config;

#[test]
fn every_toml_block_is_a_configuration() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        if let Err(faults) = Config::parse("README.md", block) {
            panic!("{faults}");
        }
    }
}
