//! How variables of a recipe are set, on every command that reads one.

use std::path::PathBuf;

use clap::Args;

/// Variables of a recipe.
#[derive(Debug, Clone, Default, Args)]
pub struct Variables {
    /// Set a variable of the recipe; may be repeated. Others on this host can see it in a list of
    /// processes: --set-file is for secrets
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// Set a variable to the text of a file, less a newline at its end; `-` is standard input
    #[arg(long = "set-file", value_name = "KEY=FILE", value_parser = file_assignment)]
    pub set_file: Vec<(String, PathBuf)>,
}

impl Variables {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.set_file.is_empty()
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

fn file_assignment(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((key, file)) if !key.is_empty() && !file.is_empty() => {
            Ok((key.to_owned(), file.into()))
        }
        _ => Err("write KEY=FILE, or KEY=- for standard input".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_have_a_key() {
        assert_eq!(assignment("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(assignment("=x").is_err() && assignment("x").is_err());
        assert_eq!(file_assignment("a=-"), Ok(("a".into(), "-".into())));
        assert!(file_assignment("=x").is_err() && file_assignment("a=").is_err());
    }
}
