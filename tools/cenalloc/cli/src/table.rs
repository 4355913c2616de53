// SPDX-License-Identifier: GPL-2.0

//! Columns of text.

/// Which side of a column is even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table, with lines between its rows that are no rows.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    Line(String),
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        let cells = cells.iter().map(|cell| crate::plain(cell)).collect();
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: &str) {
        self.rows.push(Row::Line(crate::plain(line)));
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header: Vec<_> = self
            .columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect();
        let mut widths: Vec<_> = header.iter().map(|title| title.len()).collect();
        for row in &self.rows {
            if let Row::Cells(cells) = row {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
        }
        let line = |cells: &[String]| {
            let mut line = String::new();
            for ((cell, width), (_, align)) in cells.iter().zip(&widths).zip(&self.columns) {
                line += &match align {
                    Align::Left => format!("{cell:<width$}  "),
                    Align::Right => format!("{cell:>width$}  "),
                };
            }
            line.trim_end().to_owned()
        };
        writeln!(f, "{}", line(&header))?;
        for row in &self.rows {
            match row {
                Row::Cells(cells) => writeln!(f, "{}", line(cells))?,
                Row::Line(line) => writeln!(f, "{line}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_even() {
        let mut table = Table::new(&[("ID", Align::Right), ("NAME", Align::Left)]);
        table.row(vec!["7".to_owned(), "a\x1b[2J".to_owned()]);
        table.line("  more");
        table.row(vec!["1234".to_owned(), String::new()]);
        let text = "  ID  NAME\n   7  a?[2J\n  more\n1234\n";
        assert_eq!(table.to_string(), text);
    }
}
