//! What was found before: lines of a file, so that a command that is stopped goes on where it was, and that assembles no kernel
//! twice.

use indexmap::IndexMap;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Values by name, in memory and in a file.
pub struct Kept {
    all: Mutex<(IndexMap<String, Value>, File)>,
}

impl Kept {
    /// Reads a file of lines, made where there is none.
    ///
    /// # Errors
    /// Where it can be neither read nor written.
    pub fn open(path: &Path) -> Result<Self, String> {
        let named = |e: std::io::Error| format!("{}: {e}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(named)?;
        }
        let text = match path.exists() {
            true => std::fs::read_to_string(path).map_err(named)?,
            false => String::new(),
        };
        // A line that was cut short is not one.
        let lines = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        let all = lines
            .filter_map(|l| Some((l["name"].as_str()?.to_owned(), l["found"].clone())))
            .collect();
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { all: Mutex::new((all, file.map_err(named)?)) })
    }

    /// What was found of a name.
    pub fn found(&self, name: &str) -> Option<Value> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.0.get(name).cloned()
    }

    /// Keeps what was found.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn keep(&self, name: &str, found: Value) -> Result<(), String> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let line = json!({ "name": name, "found": found });
        writeln!(all.1, "{line}").map_err(|e| e.to_string())?;
        all.0.insert(name.to_owned(), found);
        Ok(())
    }
}

/// A name for what is too long for one.
pub fn hashed(what: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::{Kept, hashed};
    use serde_json::json;

    #[test]
    fn what_is_kept_is_found_by_the_next_one() {
        let name = format!("nestor-kept-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        let first = Kept::open(&path).expect("made");
        assert_eq!(first.found("a"), None);
        first.keep("a", json!({ "n": 1 })).expect("written");
        first.keep("a", json!({ "n": 2 })).expect("written");
        let next = Kept::open(&path).expect("read");
        assert_eq!(next.found("a"), Some(json!({ "n": 2 })));
        assert_ne!(hashed("a"), hashed("b"));
        std::fs::remove_file(&path).expect("removed");
    }
}
