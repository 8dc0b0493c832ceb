//! Commands that only tell something: `check`, `config`, `schema`, `completions`, `man`.

use std::{io, path::PathBuf};

use clap::{CommandFactory, ValueEnum};
use serde_json::json;

use super::{Arguments, Failure, find, is_coloured, load, println_out, read};
use crate::config::{self, Config, Faults};

/// How faults are told.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// For people: place, line, caret, help
    Text,
    /// For programs
    Json,
}

pub(super) fn check(file: Option<PathBuf>, format: Format) -> Result<(), Failure> {
    let path = find(file)?;
    let name = path.display().to_string();
    let parsed = Config::parse(&name, &read(&path)?);
    match (format, parsed) {
        (Format::Text, Ok(config)) => {
            println_out(&format!("{name}: no faults"));
            if let Some(notes) = config.notes(&name) {
                println_out(&format!("\n{}", notes.told_as_notes(is_coloured(&io::stdout())).trim_end()));
            }
            Ok(())
        }
        (Format::Text, Err(faults)) => Err(Failure::Faults(faults)),
        (Format::Json, Ok(config)) => {
            let notes = config.notes(&name).map_or(json!([]), |notes| as_json(&notes));
            println_out(&json!({ "file": name, "faults": [], "notes": notes }).to_string());
            Ok(())
        }
        (Format::Json, Err(faults)) => {
            let told = json!({ "file": name, "faults": as_json(&faults), "notes": [] });
            println_out(&told.to_string());
            Err(Failure::Told)
        }
    }
}

fn as_json(faults: &Faults) -> serde_json::Value {
    let each = faults.faults.iter().map(|fault| {
        json!({ "line": fault.line, "column": fault.column, "width": fault.width,
                "message": fault.message, "help": fault.help })
    });
    each.collect()
}

pub(super) fn config(file: Option<PathBuf>, template: bool) -> Result<(), Failure> {
    let text = if template { config::template() } else { load(file)?.1.to_toml() };
    println_out(text.trim_end());
    Ok(())
}

pub(super) fn schema() -> Result<(), Failure> {
    // Our own value of strings and numbers always has a form.
    println_out(&format!("{:#}", config::schema()));
    Ok(())
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    clap_complete::generate(shell, &mut Arguments::command(), "evenly", &mut io::stdout());
    Ok(())
}

pub(super) fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    let command = Arguments::command();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for each in command.get_subcommands() {
        // One page for all: each command's own part follows, without a title of its own.
        let man = clap_mangen::Man::new(each.clone().bin_name(format!("evenly {}", each.get_name())));
        page.extend_from_slice(b".SH \"COMMAND ");
        page.extend_from_slice(each.get_name().to_uppercase().as_bytes());
        page.extend_from_slice(b"\"\n");
        man.render_synopsis_section(&mut page).ok();
        man.render_description_section(&mut page).ok();
        man.render_options_section(&mut page).ok();
    }
    println_out(&String::from_utf8_lossy(&page));
    Ok(())
}
