//! What stands in a table beside its cells: a browser draws it before the table, wherever it was written
//! (HTML, section 13.2.6.1, foster parenting), so that it touches what nobody has put beside it.

use super::tag::is_space;

/// Parts of a table within which more parts stand, and no text.
const ROWS: [&str; 7] = ["table", "colgroup", "col", "tbody", "tfoot", "thead", "tr"];
/// Those within which text stands.
const CELLS: [&str; 3] = ["caption", "td", "th"];
/// Elements that stay where they are.
const KEPT: [&str; 4] = ["script", "style", "template", "form"];

/// Whether what comes next is in a table, and beside its cells.
#[derive(Debug, Default)]
pub(super) struct Cells {
    are_beside: bool,
    /// How many tables are open: nothing but `</table>` ends one, or another one between its cells.
    tables: usize,
}

impl Cells {
    /// An element begins; whether it is drawn elsewhere. Outside of tables their parts are nothing.
    pub(super) fn begin(&mut self, name: &str) -> bool {
        self.tables += usize::from(name == "table");
        if self.tables > 0 && ROWS.contains(&name) {
            self.are_beside = true;
        } else if CELLS.contains(&name) {
            self.are_beside = false;
        }
        self.are_beside && !ROWS.contains(&name) && !KEPT.contains(&name)
    }

    /// An element ends.
    pub(super) fn end(&mut self, name: &str) {
        if name == "table" {
            self.tables = self.tables.saturating_sub(1);
            self.are_beside = false;
        } else if self.tables > 0 && (ROWS.contains(&name) || CELLS.contains(&name)) {
            self.are_beside = true;
        }
    }

    /// Whether a text is drawn elsewhere.
    pub(super) fn displace(&self, text: &str) -> bool {
        self.are_beside && !text.chars().all(is_space)
    }
}
