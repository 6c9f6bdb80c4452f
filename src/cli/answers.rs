//! What a node says of itself and of others, as several commands read it.

use serde::Deserialize;

use super::client::{Client, Parameters};
use super::failure::Failure;
use super::line::one_line;

/// How long ago is lately.
const LATELY: &str = "24h";

/// What is read of `/v1/status`; a log without its node says less.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub node: String,
    #[serde(default)]
    pub name: String,
    pub cluster: String,
    pub version: String,
    pub state: String,
    pub trouble: Option<String>,
    pub entries: u64,
    #[serde(default)]
    pub removed: u64,
    pub authors: u64,
    pub frontier: String,
    pub emitted: u64,
    pub recorded: u64,
    pub dropped: u64,
    pub gaps: u64,
    #[serde(default)]
    pub pending: u64,
    #[serde(default)]
    pub branched: u64,
    #[serde(default)]
    pub damaged: u64,
    pub missing: Option<Missing>,
    pub catching_up: Option<CatchingUp>,
    pub peers: Option<Peers>,
    pub bytes: u64,
    pub started: Option<String>,
}

/// What the store lost.
#[derive(Clone, Debug, Deserialize)]
pub struct Missing {
    pub entries: u64,
    pub own: u64,
}

/// How a node comes closer to what its peers hold.
#[derive(Clone, Debug, Deserialize)]
pub struct CatchingUp {
    pub lacking: u64,
    pub per_second: u64,
    pub eta_seconds: Option<u64>,
}

/// How many peers there are.
#[derive(Clone, Debug, Deserialize)]
pub struct Peers {
    pub configured: u64,
    pub connected: u64,
    #[serde(default)]
    pub banned: u64,
}

/// What is read of an element of `/v1/nodes`.
#[derive(Clone, Debug, Deserialize)]
pub struct Known {
    pub node: String,
    #[serde(default)]
    pub name: String,
    pub state: String,
    #[serde(default)]
    pub address: String,
    pub authored: u64,
    pub lag: u64,
    #[serde(default)]
    pub skew_seconds: u64,
    pub banned_seconds: Option<u64>,
    pub last_seen: Option<String>,
    #[serde(default)]
    pub trouble: String,
}

#[derive(Deserialize)]
struct Gaps {
    gaps: Vec<Gap>,
}

#[derive(Deserialize)]
struct Gap {
    data: Dropped,
}

#[derive(Deserialize)]
struct Dropped {
    count: u64,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Known>,
}

impl Known {
    /// The beginning of its id.
    pub fn short(&self) -> String {
        short(&self.node)
    }

    /// What is wrong with it, if anything is.
    pub fn remark(&self) -> String {
        let banned = self.banned_seconds.map(|left| format!("banned for {left} s more:"));
        let ahead = (self.skew_seconds > 0).then(|| format!("clock {} s ahead", self.skew_seconds));
        let trouble = one_line(&self.trouble).into_owned();
        let all = [ahead, banned, Some(trouble).filter(|trouble| !trouble.is_empty())];
        all.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// How many events of a node were dropped lately, by the newest of its gaps.
///
/// # Errors
/// It doesn't answer.
pub fn dropped_lately(client: &Client, node: &str) -> Result<u64, Failure> {
    let parameters = vec![
        ("author", node.to_owned()),
        ("since", LATELY.to_owned()),
        ("reverse", "true".to_owned()),
        ("limit", "1000".to_owned()),
    ];
    let Gaps { gaps } = client.get("/v1/gaps", &parameters)?;
    Ok(gaps.iter().fold(0, |dropped: u64, gap| dropped.saturating_add(gap.data.count)))
}

/// The beginning of a node's id.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Asks a node how it is, and of whom it knows.
///
/// # Errors
/// It doesn't answer.
pub fn ask(client: &Client) -> Result<(Status, Vec<Known>), Failure> {
    let status = client.get("/v1/status", &Parameters::new())?;
    let Nodes { nodes } = client.get("/v1/nodes", &Parameters::new())?;
    Ok((status, nodes))
}
