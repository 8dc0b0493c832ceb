//! The TOML of the README and of `docs/` is configuration that works, and what is listed there is all there is. (Their
//! Rust runs as doc tests, their Python in `bindings/tests`.)

use std::{fs, path::PathBuf};

use evenly::{config::Config, observe::METRICS};

fn root() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()
}

#[test]
fn every_toml_block_is_a_configuration() {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|page| page.extension().is_some_and(|kind| kind == "md"));
    let mut count = 0;
    for page in pages.chain([root().join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if let Err(faults) = Config::parse(&page.display().to_string(), block) {
                panic!("{faults}");
            }
            count += 1;
        }
    }
    assert!(count > 1, "the pages have TOML");
}

#[test]
fn every_metric_is_in_the_table() {
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let (_, table) = page.split_once("## Metrics").expect("a section of that name");
    let told: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let are: Vec<String> = METRICS
        .iter()
        .map(|metric| {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} |", metric.name, labels.join(", "), metric.help)
        })
        .collect();
    assert_eq!(told, are, "docs/operating.md lists the metrics in their order");
}
