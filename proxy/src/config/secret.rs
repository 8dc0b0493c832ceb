//! Secrets that stand elsewhere: `"${NAME}"` in the environment, `"file:/path"` in a file.
//!
//! A value that is neither is the secret itself. A trailing line break of a file does not belong to it.

use toml::Spanned;

use super::reader::Section;

impl Section<'_, '_> {
    /// A string that may stand elsewhere.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let text = self.string(key)?;
        Some(Spanned::new(text.span(), self.resolved(key, &text)))
    }

    /// What `text`, the value of `key`, means.
    pub(super) fn resolved(&self, key: &str, text: &Spanned<String>) -> String {
        resolve(text.get_ref()).unwrap_or_else(|why| {
            let help =
                "\"${NAME}\" stands for a variable of the environment, \"file:/path\" for a file's content";
            self.fault(text, format!("{key}: {why}"), Some(help.to_owned()));
            String::new()
        })
    }
}

fn resolve(text: &str) -> Result<String, String> {
    if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        return std::env::var(name).map_err(|_| format!("the environment has no {name}"));
    }
    match text.strip_prefix("file:") {
        Some(path) => match std::fs::read_to_string(path) {
            Ok(secret) => Ok(secret.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(format!("cannot read {path}: {error}")),
        },
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_may_stand_elsewhere() {
        assert_eq!(resolve("hush"), Ok("hush".to_owned()));
        assert_eq!(resolve("${CARGO_PKG_NAME}"), Ok("evenly".to_owned()), "cargo sets it for tests");
        assert_eq!(resolve("${EVENLY_NOT_THERE}"), Err("the environment has no EVENLY_NOT_THERE".to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "from a file\n").unwrap();
        assert_eq!(resolve(&format!("file:{}", file.display())), Ok("from a file".to_owned()));
        assert!(resolve("file:/nowhere").unwrap_err().starts_with("cannot read /nowhere: "));
    }
}
