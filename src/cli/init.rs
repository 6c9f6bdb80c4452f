//! `towline init`: makes a node's data directory, and says who it is.

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use super::{Outcome, settings};
use crate::node::DataDirectory;
use crate::words::ClusterId;

/// Make a node, or say who it is
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline init                                 the first node of a new cluster
  towline init --cluster ID                    a node of a cluster that there is
  towline init -o json | jq -r .node           the id, for --peer on others",
    after_help = "\
The data directory gets a key of its own, and a cluster: the one that is named,
or a new one. A directory that is a node's already stays as it is."
)]
pub struct Init {
    /// The node's name for people
    #[arg(long, value_name = "NAME", env = "TOWLINE_NAME", hide_env_values = true)]
    name: Option<String>,
    /// The cluster to be in, as `towline init` printed it on another node
    #[arg(long, value_name = "ID", env = "TOWLINE_CLUSTER", hide_env_values = true)]
    cluster: Option<ClusterId>,
}

impl Init {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let data = global.data()?;
        let directory = DataDirectory::open(&data, self.cluster)
            .map_err(|error| Failure::directory("the node can't be made", &error))?;
        if let Some(name) = &self.name {
            let path = data.join(settings::FILE);
            if path.exists() {
                let why = format_args!("{} is there already", path.display());
                let failure = Failure::usage("the node keeps the name that it has", why);
                return Err(failure.hint(format_args!("edit {}", path.display())).into());
            }
            std::fs::write(&path, settings::naming(name))
                .map_err(|error| Failure::file("the name can't be kept", &path, &error))?;
        }
        let (node, cluster) = (directory.identity().node_id(), directory.cluster());
        let mut output = global.output();
        if output.format == Format::Text {
            output.line(format_args!("node     {node}\ncluster  {cluster}"))?;
            global.note(&format!(
                "start it:        towline run --data {data}\n\
                 another node:    towline run --cluster {cluster} --peer {node}@ADDRESS:PORT",
                data = data.display(),
            ));
        } else {
            output.json(&json!({ "node": node, "cluster": cluster }))?;
        }
        output.flush()
    }
}
