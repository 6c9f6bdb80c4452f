//! `towline query --explain`: what was read for an answer, as a table.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::value::RawValue;

use crate::cli::Outcome;
use crate::cli::line::one_line;
use crate::cli::output::{Format, Output, not_an_entry};
use crate::cli::status::counted;
use crate::node::Explanation;
use crate::node::explain::{IndexUse, Reckoning};

/// How many series are named; the others are counted.
const NAMED: usize = 4;

/// Prints what was read.
///
/// # Errors
/// It is no explanation, or can't be printed.
pub fn print(output: &mut Output, explanation: &RawValue) -> Outcome {
    if output.format != Format::Text {
        output.line(explanation)?;
        return output.flush();
    }
    let explanation: Explanation = serde_json::from_str(explanation.get()).map_err(not_an_entry)?;
    output.line(index(explanation.index.as_ref()))?;
    output.line(table(&explanation).trim_fmt())?;
    let Explanation { blocks, changes, bytes, looked_at, returned, .. } = explanation;
    output.line(format_args!(
        "read {} of {} and {} of {}: {}, {} looked at, {returned} returned",
        blocks.read,
        counted(blocks.held, "block", "blocks"),
        changes.read,
        counted(changes.held, "single change", "single changes"),
        counted(bytes, "byte", "bytes"),
        counted(looked_at, "entry", "entries"),
    ))?;
    output.flush()
}

fn index(index: Option<&IndexUse>) -> String {
    let Some(IndexUse { series, entries, changes }) = index else {
        return "index not used: no topic and no tenant is named".to_owned();
    };
    let mut named: Vec<String> =
        series.iter().take(NAMED).map(|name| one_line(name).into_owned()).collect();
    if series.is_empty() {
        named.push("nothing".to_owned());
    }
    if series.len() > NAMED {
        named.push(format!("{} more", series.len() - NAMED));
    }
    let places = match changes {
        Some(changes) => format!("in {}", counted(*changes, "change", "changes")),
        None => "in too many changes to list: by ranges".to_owned(),
    };
    let entries = counted(*entries, "entry", "entries");
    format!("index of {}: {entries} {places}", named.join(", "))
}

fn table(explanation: &Explanation) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "",
        "HELD",
        "OTHER AUTHOR",
        "OTHER TIME",
        "OTHER TOPIC",
        "OTHER KIND",
        "NOT NEEDED",
        "READ",
    ]);
    let rows = [("blocks", explanation.blocks), ("single changes", explanation.changes)];
    for (name, Reckoning { held, pruned, not_needed, read }) in rows {
        let numbers =
            [held, pruned.author, pruned.time, pruned.topic, pruned.kind, not_needed, read];
        let cells = numbers.iter().map(u64::to_string);
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
