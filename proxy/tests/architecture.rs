//! The arrows of ARCHITECTURE.md, kept: which room may use which.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `(room, rooms it must not use)`.
const FORBIDDEN: [(&str, &[&str]); 13] = [
    ("config", &["demo", "http_cache", "observe", "serve", "server", "state", "tunnel", "upstream"]),
    ("http_cache", &["admit", "config", "demo", "serve", "server", "state", "upstream"]),
    ("admit", &["config", "demo", "http_cache", "serve", "server", "state", "upstream"]),
    ("pattern", &["admit", "config", "http_cache", "rewrite", "serve", "server", "state", "upstream"]),
    ("question", &["admit", "config", "http_cache", "rewrite", "serve", "server", "state", "upstream"]),
    ("rewrite", &["admit", "config", "http_cache", "serve", "server", "state", "upstream"]),
    ("headers", &["config", "http_cache", "serve", "server", "state", "upstream"]),
    ("target", &["config", "http_cache", "serve", "server", "state", "upstream"]),
    (
        "codec",
        &["admit", "body", "config", "connection", "http_cache", "serve", "server", "state", "upstream"],
    ),
    ("upstream", &["admit", "connection", "demo", "http_cache", "serve", "server", "state"]),
    ("observe", &["demo", "serve", "server", "state"]),
    ("serve", &["demo", "server"]),
    ("state", &["demo", "serve", "server"]),
];

#[test]
fn rooms_use_only_what_they_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (room, forbidden) in FORBIDDEN {
        for file in files_of(&source, room) {
            let used = rooms_used(&fs::read_to_string(&file).unwrap());
            for other in forbidden {
                assert!(!used.contains(*other), "{} uses {other}; {room} must not", file.display());
            }
        }
    }
}

#[test]
fn libraries_know_no_http_and_no_runtime() {
    for (package, forbidden) in [
        ("balancers", &["cache", "evenly", "http", "hyper", "tokio", "redis"][..]),
        ("cache", &["balancers", "evenly", "http", "hyper", "tokio", "redis"][..]),
    ] {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--offline"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let used: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(used.contains(package));
        for other in forbidden {
            assert!(!used.contains(other), "{package} depends on {other}:\n{tree}");
        }
    }
}

/// The files of a room: `room.rs` and everything below `room/`.
fn files_of(source: &Path, room: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let single = source.join(format!("{room}.rs"));
    if single.exists() {
        files.push(single);
    }
    let mut folders = vec![source.join(room)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The rooms that a file names behind `crate::`, also in groups such as `use crate::{config::X, state::Y}`.
fn rooms_used(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let after = &code[at + "crate::".len()..];
        let group = after.strip_prefix('{');
        let (mut depth, mut word_begins) = (0, true);
        let mut word = String::new();
        for letter in group.unwrap_or(after).chars() {
            let belongs = letter.is_alphanumeric() || letter == '_';
            if depth == 0 && word_begins && belongs {
                word.push(letter);
                continue;
            }
            if !word.is_empty() {
                used.insert(std::mem::take(&mut word));
                word_begins = false;
            }
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => word_begins = true,
                _ => {}
            }
            if group.is_none() {
                break;
            }
        }
    }
    used
}

#[test]
fn rooms_used_reads_groups_and_paths() {
    let used = rooms_used("use crate::{a::{x, y}, b,\n c::D};\nfn f() { crate::e::g() }\n// crate::not\n");
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "e"]);
}
