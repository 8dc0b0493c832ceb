//! Request traces from `../shared/traces` (format and sources: the README there), read when the folder is present.

use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The keys asked for, in order.
pub type Trace = Vec<u64>;

/// The folder of traces, if it is there: beside the workspace, or where `EVENLY_TRACES` says.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
    let folder = std::env::var_os("EVENLY_TRACES").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Reads `<name>.txt.gz`. Lines are `key`, `key size` (the size is not used) or `first+count`.
///
/// # Errors
/// A file that is missing, is not gzip, or has a line of another form.
pub fn read(folder: &Path, name: &str) -> io::Result<Trace> {
    let file = File::open(folder.join(format!("{name}.txt.gz")))?;
    let mut trace = Trace::new();
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let line = line?;
        if !line.starts_with('#') {
            let keys = parse(&line).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{name}: line {line:?} is not a request"))
            })?;
            trace.extend(keys);
        }
    }
    Ok(trace)
}

fn parse(line: &str) -> Option<std::ops::Range<u64>> {
    let key = line.split_ascii_whitespace().next()?;
    let (first, count) = match key.split_once('+') {
        Some((first, count)) => (first.parse::<u64>().ok()?, count.parse::<u64>().ok()?),
        None => (key.parse().ok()?, 1),
    };
    Some(first..first.checked_add(count)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_forms() {
        assert_eq!(parse("7"), Some(7..8));
        assert_eq!(parse("7 4096"), Some(7..8));
        assert_eq!(parse("7+3"), Some(7..10));
        assert_eq!(parse("seven"), None);
        assert_eq!(parse(""), None);
    }
}
