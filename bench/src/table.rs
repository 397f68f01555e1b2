//! Tables in Markdown, their columns aligned: readable in a terminal, and ready for a document.

/// A table that is being filled.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text: names to the left, numbers to the right.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows[0].len();
        let width = |at: usize| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                text += &if at == 0 { format!("| {cell:width$} ") } else { format!("| {cell:>width$} ") };
            }
            text += "|\n";
            if number == 0 {
                for (at, width) in widths.iter().enumerate() {
                    text += &if at == 0 {
                        format!("|{}", "-".repeat(width + 2))
                    } else {
                        format!("|{}:", "-".repeat(width + 1))
                    };
                }
                text += "|\n";
            }
        }
        text
    }

    pub(crate) fn print(&self, title: &str) {
        hence_bench::say!("\n### {title}\n\n{}", self.text().trim_end());
    }
}

/// A number with as many digits as help: three, and separators above a thousand.
pub(crate) fn number(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "-".into() };
    match value.abs() {
        small if small < 9.995 => format!("{value:.2}"),
        middle if middle < 99.95 => format!("{value:.1}"),
        _ if value < 0.0 => format!("-{}", count(-value.round() as usize)),
        _ => count(value.round() as usize),
    }
}

/// A whole number with separators above a thousand.
pub(crate) fn count(value: usize) -> String {
    let digits = value.to_string();
    let parts = digits.as_bytes().rchunks(3).rev().map(|part| String::from_utf8_lossy(part));
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["target", "rate"]);
        table.row(["a".to_owned(), number(Some(123_456.7))]);
        assert_eq!(table.text(), "| target |    rate |\n|--------|--------:|\n| a      | 123,457 |\n");
    }

    #[test]
    fn numbers() {
        let shown = [0.123, 9.999, 99.96, 1_000.0, 1_234_567.0].map(|value| number(Some(value)));
        assert_eq!(shown, ["0.12", "10.0", "100", "1,000", "1,234,567"]);
        assert_eq!([number(None), number(Some(f64::NAN))], ["-", "-"]);
    }
}
