//! Holds ARCHITECTURE.md to the truth: who uses whom is read from the sources and compared
//! with the arrow table in the document, which is the only place where it is written.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// No file of the sources is longer.
const LONGEST: usize = 600;

type Edges = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut folders = vec![root().join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `src/a/b.rs` → ["a", "b"]; `src/a/mod.rs` → ["a"].
fn module(path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<String> = inside.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// Rooms: everything directly under src but the two roots.
fn rooms() -> BTreeSet<String> {
    let first = |path: PathBuf| module(&path).swap_remove(0);
    sources().into_iter().map(first).filter(|r| r != "lib" && r != "main").collect()
}

/// The arrow table: `| a, b | c, d (why) |` under the heading `| room | may use |`.
fn table(document: &str) -> BTreeMap<String, Option<Edges>> {
    let mut table = BTreeMap::new();
    let lines = document.lines().skip_while(|l| !l.starts_with("| room | may use |"));
    for line in lines.skip(2).take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 2, "two cells: {line}");
        let allowed = match cells[1].trim() {
            "all" => None,
            other => Some(words(other)),
        };
        for room in words(cells[0]) {
            assert!(table.insert(room.clone(), allowed.clone()).is_none(), "{room} stands twice");
        }
    }
    table
}

/// The names in a cell; what stands in brackets is for people.
fn words(cell: &str) -> Edges {
    let mut depth = 0;
    let bare: String = cell
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '(');
            let outside = depth == 0;
            depth -= i32::from(*c == ')');
            outside
        })
        .collect();
    bare.split(',')
        .map(|w| w.trim().to_owned())
        .filter(|w| !w.is_empty() && w != "nothing")
        .collect()
}

/// The text without comments. (A `//` inside a string ends the line too; no edge starts there.)
fn code(text: &str) -> String {
    text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first names of a path or of a group of paths: `a::b` → a; `{a::b, c}` → a, c.
fn heads(rest: &str) -> Vec<String> {
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else { return vec![head(rest)] };
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                items.last_mut().unwrap().push(c);
            }
        }
    }
    items.iter().map(|i| head(i.trim())).collect()
}

fn head(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The rooms that a file uses, by `crate::` and by climbing with `super::`.
fn used(text: &str, depth: usize) -> Edges {
    let text = code(text);
    let mut found: Vec<String> =
        text.match_indices("crate::").flat_map(|(at, m)| heads(&text[at + m.len()..])).collect();
    for line in text.lines() {
        let climbs = line.matches("super::").count();
        // `mod tests` inside the file is one deeper, so one step alone proves nothing there.
        let reaches_root = climbs >= depth && (climbs > 1 || line.starts_with("use "));
        if let Some(last) = line.rfind("super::").filter(|_| climbs > 0 && reaches_root) {
            found.extend(heads(&line[last + "super::".len()..]));
        }
    }
    found.into_iter().filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_arrow_is_in_the_table_of_the_document() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (table, rooms) = (table(&document), rooms());
    let listed: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(listed, rooms, "the table (left) lists exactly the rooms of src (right)");
    let mut wrong = Vec::new();
    for path in sources() {
        let module = module(&path);
        let Some(Some(allowed)) = table.get(&module[0]) else { continue };
        let text = std::fs::read_to_string(&path).unwrap();
        for room in used(&text, module.len()).intersection(&rooms) {
            if *room != module[0] && !allowed.contains(room) {
                wrong.push(format!("{}: {} may not use {room}", path.display(), module[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_only_rooms() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rooms = rooms();
    for allowed in table(&document).values().flatten() {
        assert!(allowed.is_subset(&rooms), "{:?}", allowed.difference(&rooms));
    }
}

#[test]
fn no_source_file_is_too_long() {
    let length = |p: &PathBuf| std::fs::read_to_string(p).unwrap().lines().count();
    let long: Vec<String> = sources()
        .iter()
        .map(|p| (length(p), p))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, p)| format!("{}: {lines} lines", p.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_reader_of_sources_sees_every_way_to_write_an_arrow() {
    let edges = |text: &str, depth| used(text, depth).into_iter().collect::<Vec<_>>();
    assert_eq!(edges("use crate::{\n  plan::{A, B},\n  store,\n};", 1), ["plan", "store"]);
    assert_eq!(edges("let x = crate::host::Cmd::new(1);", 3), ["host"]);
    assert_eq!(edges("// use crate::lab;\n//! [`crate::lab`]", 1), Vec::<String>::new());
    assert_eq!(edges("    use super::super::lab::X;", 2), ["lab"]);
    assert_eq!(edges("use super::{lab, ui::Screen};", 1), ["lab", "ui"]);
    assert_eq!(edges("    use super::*;", 1), Vec::<String>::new());
    assert_eq!(edges("use super::store;", 2), Vec::<String>::new());
}

#[test]
fn the_reader_of_the_table_leaves_remarks_out() {
    let document = "| room | may use |\n|---|---|\n| a, b | c (read only), d |\n| e | nothing |\n\
                    | f | all |\n\n| not | this |\n";
    let table = table(document);
    assert_eq!(table.len(), 4);
    assert_eq!(table["b"], Some(["c", "d"].map(String::from).into()));
    assert_eq!(table["e"], Some(Edges::new()));
    assert_eq!(table["f"], None);
}
