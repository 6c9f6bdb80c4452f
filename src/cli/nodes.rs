//! `towline nodes`: who has what of whom.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::answers::Known;
use super::client::Parameters;
use super::line::one_line;
use super::output::{Format, not_an_entry};
use super::place::Global;

/// Show all nodes that the node knows: who is connected, and who lags by how much
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline nodes
  towline nodes -o json | jq -r '.nodes[] | select(.lag > 0) | .node'",
    after_help = "\
LAG is how many entries that are held here the node has not yet acknowledged."
)]
pub struct Nodes {}

#[derive(Deserialize)]
struct Answer {
    nodes: Vec<Box<RawValue>>,
}

impl Nodes {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let json: Box<RawValue> = client.get("/v1/nodes", &Parameters::new())?;
        let mut output = global.output();
        if output.format == Format::Json {
            output.line(json)?;
            return output.flush();
        }
        let answer: Answer = serde_json::from_str(json.get()).map_err(not_an_entry)?;
        if output.format != Format::Text {
            for node in answer.nodes {
                output.line(node)?;
            }
        } else {
            let nodes = answer.nodes.iter();
            let shown = nodes.map(|node| serde_json::from_str(node.get()).map_err(not_an_entry));
            output.line(table(&shown.collect::<Result<Vec<Known>, _>>()?).trim_fmt())?;
        }
        output.flush()
    }
}

fn table(nodes: &[Known]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if table.is_tty() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(["NODE", "NAME", "STATE", "ADDRESS", "ENTRIES", "LAG", "LAST SEEN", ""]);
    for node in nodes {
        table.add_row([
            node.short(),
            one_line(&node.name).into_owned(),
            one_line(&node.state).into_owned(),
            one_line(&node.address).into_owned(),
            node.authored.to_string(),
            node.lag.to_string(),
            one_line(node.last_seen.as_deref().unwrap_or("never")).into_owned(),
            node.remark(),
        ]);
    }
    table
}
