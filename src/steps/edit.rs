//! Edits of text files that can be repeated: what is there already is not added again.

/// `text` at the end of `file`, unless its lines already stand there one after the other.
pub(super) fn append(file: &str, text: &str) -> String {
    let text = text.trim_end_matches('\n');
    let framed = |text: &str| format!("\n{text}\n");
    if framed(file).contains(&framed(text)) {
        return file.to_owned();
    }
    format!("{}{text}\n", ended(file))
}

/// Each of `lines` at the end of `file`, unless it is a line of it.
pub(super) fn add_lines(file: &str, lines: &[String]) -> String {
    let mut out = file.to_owned();
    for line in lines {
        let line = line.trim_end_matches('\n');
        if !out.lines().any(|old| old == line) {
            out = format!("{}{line}\n", ended(&out));
        }
    }
    out
}

/// The file with a newline at its end, if it has anything at all.
fn ended(file: &str) -> String {
    match file {
        "" => String::new(),
        _ if file.ends_with('\n') => file.to_owned(),
        _ => format!("{file}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_twice_adds_once() {
        let hosts = "172.16.251.11 controller\n172.16.251.12 compute1\n";
        for file in ["", "127.0.0.1 localhost\n", "127.0.0.1 localhost"] {
            let once = append(file, hosts);
            assert!(once.ends_with(hosts) && once.starts_with(file));
            assert_eq!(append(&once, hosts), once);
        }
    }

    #[test]
    fn a_part_of_a_line_is_not_the_line() {
        assert_eq!(
            append("10.0.0.1 controller2\n", "10.0.0.1 controller"),
            "10.0.0.1 controller2\n10.0.0.1 controller\n"
        );
        let lines = ["a".to_owned(), "b\n".to_owned(), "a".to_owned()];
        assert_eq!(add_lines("aa\nb", &lines), "aa\nb\na\n");
    }
}
