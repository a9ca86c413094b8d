//! Simple aligned tables: a heading, rows, two spaces between columns.

use super::text::clean;

/// Rows under a heading, columns aligned to the left; columns of numbers to the right.
pub fn table<R>(heading: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator,
    R::Item: AsRef<str>,
{
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|r| r.into_iter().map(|c| clean(c.as_ref())).collect()).collect();
    let columns: Vec<Column> = (0..heading.len()).map(|i| Column::of(heading, &rows, i)).collect();
    let first: Vec<String> = heading.iter().map(|h| h.to_uppercase()).collect();
    let mut out = String::new();
    for row in std::iter::once(&first).chain(&rows) {
        let cells: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(i, column)| column.fit(row.get(i).map_or("", String::as_str)))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

struct Column {
    width: usize,
    right: bool,
}

impl Column {
    fn of(heading: &[&str], rows: &[Vec<String>], index: usize) -> Column {
        let cells = || rows.iter().filter_map(|r| r.get(index));
        let widest = cells().map(|c| c.chars().count()).max().unwrap_or(0);
        let number = |c: &String| c.starts_with(|x: char| x.is_ascii_digit()) && is_amount(c);
        Column {
            width: widest.max(heading[index].chars().count()),
            right: cells().next().is_some() && cells().all(number),
        }
    }

    fn fit(&self, cell: &str) -> String {
        let width = self.width;
        if self.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    }
}

/// `3`, `1.4 MiB`, `12 s`: a number, perhaps with a unit.
fn is_amount(cell: &str) -> bool {
    let mut words = cell.split(' ');
    let number = words.next().unwrap_or_default();
    let units_only = words.all(|w| w.chars().all(|c| c.is_ascii_alphabetic()));
    units_only && number.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_the_end() {
        let text = table(
            &["machine", "address", "size"],
            [["controller", "192.168.0.11", "1.4 GiB"], ["c1", "", "20 MiB"]],
        );
        assert_eq!(
            text,
            "MACHINE     ADDRESS          SIZE\n\
             controller  192.168.0.11  1.4 GiB\n\
             c1                         20 MiB\n"
        );
    }

    #[test]
    fn an_empty_table_is_its_heading_and_short_rows_are_filled() {
        assert_eq!(table(&["a", "b"], Vec::<Vec<String>>::new()), "A  B\n");
        assert_eq!(table(&["a", "b"], [vec!["x"]]), "A  B\nx\n");
    }

    #[test]
    fn cells_cannot_write_to_the_terminal() {
        assert!(!table(&["a"], [["\u{1b}[2Jx"]]).contains('\u{1b}'));
    }
}
