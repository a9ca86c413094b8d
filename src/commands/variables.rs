//! The values of `--set` and `--set-file`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::cli::Variables;
use crate::commands::Failure;
use crate::host::foreign;

/// The largest value that a file may give, in bytes.
const LARGEST: u64 = 64 << 10;

impl Variables {
    /// All values by name; a name may be set in one place only when a file sets it.
    pub fn values(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut values: BTreeMap<String, String> = self.set.iter().cloned().collect();
        let from_input = self.set_file.iter().filter(|(_, file)| is_input(file));
        if from_input.count() > 1 {
            return Err(Failure::usage("--set-file: standard input can set one variable only"));
        }
        for (key, file) in &self.set_file {
            let value = read(key, file)?;
            if values.insert(key.clone(), value).is_some() {
                return Err(Failure::usage(format!("--set-file: {key} is set twice")));
            }
        }
        Ok(values)
    }
}

fn is_input(file: &Path) -> bool {
    file == Path::new("-")
}

fn read(key: &str, file: &Path) -> Result<String, Failure> {
    let text = if is_input(file) { input() } else { foreign::text(file, LARGEST) };
    let mut text =
        text.map_err(|e| Failure::usage(format!("--set-file {key}={}: {e}", file.display())))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn input() -> std::io::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other(format!("more than {LARGEST} bytes")));
    }
    Ok(text)
}
