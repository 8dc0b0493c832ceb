//! What is delivered beside the binary is what the binary says, and every example is accepted by it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

fn told(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_evenly")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn manual_and_completions_are_those_of_this_binary() {
    for (file, arguments) in [
        ("evenly.1", &["man"][..]),
        ("completions/evenly.bash", &["completions", "bash"]),
        ("completions/_evenly", &["completions", "zsh"]),
        ("completions/evenly.fish", &["completions", "fish"]),
    ] {
        let found = fs::read_to_string(packaging().join(file)).unwrap_or_default();
        let command = arguments.join(" ");
        assert!(found == told(arguments), "write it again: evenly {command} > packaging/{file}");
    }
}

/// The TOML in a file of YAML: each block behind `NAME.toml: |` or `content: |`, without its indentation.
fn blocks(yaml: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut within = None;
    for line in yaml.lines() {
        let indent = line.len() - line.trim_start().len();
        match within {
            Some(outer) if line.trim().is_empty() || indent > outer => {
                found.last_mut().unwrap().push_str(&format!("{}\n", line.trim_start()));
            }
            _ => {
                let begins = line.ends_with(".toml: |") || line.ends_with("content: |");
                within = begins.then_some(indent);
                found.extend(begins.then(String::new));
            }
        }
    }
    found
}

#[test]
fn every_example_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for entry in fs::read_dir(packaging().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
        let texts = if is_yaml { blocks(&text) } else { vec![text] };
        assert!(!texts.is_empty(), "{} holds no configuration", path.display());
        // What only stands in a container stands here meanwhile.
        let token = folder.path().join("token");
        fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
        for text in texts {
            let text = text.replace("/etc/evenly-token/token", token.to_str().unwrap());
            let file = folder.path().join("cfg.toml");
            fs::write(&file, text).unwrap();
            told(&["check", "--config", file.to_str().unwrap()]);
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}
