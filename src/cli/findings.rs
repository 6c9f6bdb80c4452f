//! What is wrong with a node, by its own word: what `check` judges and `doctor` explains.

use serde::Serialize;

use super::answers::{CatchingUp, Known, Peers, Status};
use super::status::{counted, duration};

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// Somebody should look at it.
    Warning,
    /// Entries are refused, or in danger.
    Critical,
}

impl Level {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub about: &'static str,
    /// What was found.
    pub what: String,
    /// What can be done about it.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(about: &'static str, what: impl ToString) -> Self {
        Self { level: Level::Ok, about, what: what.to_string(), hint: None }
    }

    /// Something that somebody should look at.
    pub fn warning(about: &'static str, what: impl ToString, hint: impl ToString) -> Self {
        let (what, hint) = (what.to_string(), Some(hint.to_string()));
        Self { level: Level::Warning, about, what, hint }
    }

    /// Something by which entries are refused, or in danger.
    pub fn critical(about: &'static str, what: impl ToString, hint: impl ToString) -> Self {
        Self { level: Level::Critical, ..Self::warning(about, what, hint) }
    }
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// Beyond what a node is not well any more.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries that a peer hasn't acknowledged.
    pub lag: u64,
}

/// What a node's own word says of it; so many events were dropped within a day.
pub fn of_node(
    status: &Status,
    nodes: &[Known],
    dropped_lately: u64,
    bounds: Bounds,
) -> Vec<Finding> {
    let mut found = vec![writing(status), log(status), peers(status)];
    found.extend(nodes.iter().flat_map(|node| of_peer(node, bounds)));
    found.push(events(status, dropped_lately));
    if status.branched > 0 {
        let authors = counted(status.branched, "author has", "authors have");
        let what = format!("{authors} branched: a disk was restored, or a key is used twice");
        found.push(Finding::warning("forks", what, "towline forks, which shows where"));
    }
    if let Some(CatchingUp { lacking, eta_seconds, .. }) = &status.catching_up {
        let entries = counted(*lacking, "entry", "entries");
        found.push(match eta_seconds {
            Some(eta) => {
                let what = format!("{entries} of peers not here yet, in {}", duration(*eta));
                Finding::ok("catching up", what)
            }
            None => {
                let what = format!("{entries} of peers not here yet, and nothing comes");
                Finding::warning("catching up", what, "towline nodes, for who is reachable")
            }
        });
    }
    found
}

fn writing(status: &Status) -> Finding {
    let why = status.trouble.as_deref().unwrap_or("it doesn't say why");
    match status.state.as_str() {
        "ok" | "degraded" => Finding::ok("writing", "appends are taken"),
        "read-only" => {
            let hint = "free some room on its disk; it goes on by itself then";
            Finding::critical("writing", format!("the disk is full: {why}"), hint)
        }
        state => {
            let hint = "look at the disk and its log, then restart the node";
            Finding::critical("writing", format!("{state}: {why}"), hint)
        }
    }
}

fn log(status: &Status) -> Finding {
    let entries = counted(status.entries, "entry", "entries");
    if status.damaged > 0 {
        let what = format!("{} on disk damaged", counted(status.damaged, "change", "changes"));
        let hint =
            "have a peer reachable, which sends them again; towline verify; look at the disk";
        return Finding::critical("log", what, hint);
    }
    if status.pending > 0 {
        let changes = counted(status.pending, "change waits", "changes wait");
        return Finding::ok("log", format!("{entries}; {changes} for a parent"));
    }
    Finding::ok("log", format!("{entries} of {}", counted(status.authors, "author", "authors")))
}

fn peers(status: &Status) -> Finding {
    let Some(Peers { configured, connected, banned }) = &status.peers else {
        return Finding::ok("peers", "it doesn't say");
    };
    let what = format!("{connected} of {configured} connected");
    if *banned > 0 {
        let hint = "towline nodes, for what they did; run the same version on all nodes";
        return Finding::warning("peers", format!("{what}, {banned} banned"), hint);
    }
    match configured {
        0 => Finding::ok("peers", "none are named: the log is on this node alone"),
        _ if connected < configured => {
            Finding::warning("peers", what, "towline nodes, for who is unreachable")
        }
        _ => Finding::ok("peers", what),
    }
}

fn of_peer(peer: &Known, bounds: Bounds) -> Vec<Finding> {
    let name = peer.short();
    let mut found = Vec::new();
    if matches!(peer.state.as_str(), "unreachable" | "connecting") {
        let trouble = if peer.trouble.is_empty() { "no answer" } else { &peer.trouble };
        let what = format!("{name} at {} is {}: {trouble}", peer.address, peer.state);
        let hint = format!(
            "see that it runs, that UDP passes to {}, and that it names this node with --peer",
            peer.address
        );
        found.push(Finding::warning("peer", what, hint));
    }
    if peer.state == "connected" && peer.lag > bounds.lag {
        let what = format!("{name} lags by {}", counted(peer.lag, "entry", "entries"));
        found.push(Finding::warning("peer", what, "look at its disk, and at the link to it"));
    }
    if peer.skew_seconds > 0 {
        let what = format!("the clock of {name} is {} ahead", duration(peer.skew_seconds));
        found.push(Finding::warning(
            "clock",
            what,
            "set it right: run chrony or systemd-timesyncd",
        ));
    }
    found
}

/// What was dropped long ago can't be mended any more, and is no reason to look at a node for ever.
fn events(status: &Status, dropped_lately: u64) -> Finding {
    let all = counted(status.dropped, "event", "events");
    match (status.dropped, dropped_lately) {
        (0, _) => Finding::ok("events", "none dropped"),
        (_, 0) => Finding::ok("events", format!("none dropped in 24 hours; {all} before")),
        (_, lately) => {
            let what = format!("{lately} dropped in 24 hours, of {all} dropped at all");
            let hint = "towline gaps, for why; a longer emit_ring where the reason is lag";
            Finding::warning("events", what, hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(status: Value, nodes: Value) -> Vec<Finding> {
        let status = serde_json::from_value(status).unwrap();
        let nodes: Vec<Known> = serde_json::from_value(nodes).unwrap();
        of_node(&status, &nodes, 0, Bounds { lag: 10 })
    }

    fn status(state: &str) -> Value {
        json!({"node": "ab".repeat(32), "cluster": "cd".repeat(32), "version": "0", "state": state,
            "entries": 1, "authors": 1, "frontier": "", "emitted": 0, "recorded": 0, "dropped": 0,
            "gaps": 0, "bytes": 0, "peers": {"configured": 0, "connected": 0}})
    }

    #[test]
    fn a_node_that_is_well_has_no_finding_but_ok() {
        assert_eq!(worst(&found(status("ok"), json!([]))), Level::Ok);
    }

    #[test]
    fn a_node_that_can_not_write_is_critical() {
        for state in ["poisoned", "read-only"] {
            assert_eq!(worst(&found(status(state), json!([]))), Level::Critical, "{state}");
        }
    }

    #[test]
    fn what_was_dropped_is_a_warning_for_a_day() {
        let mut dropped = status("ok");
        dropped["dropped"] = 7.into();
        let status: Status = serde_json::from_value(dropped).unwrap();
        for (lately, level) in [(3, Level::Warning), (0, Level::Ok)] {
            assert_eq!(worst(&of_node(&status, &[], lately, Bounds { lag: 10 })), level);
        }
    }

    #[test]
    fn what_is_wrong_with_a_peer_is_a_warning_with_a_way_on() {
        let peer = |state: &str, lag: u64, skew: u64| {
            json!([{"node": "ab".repeat(32), "name": "", "state": state, "address": "10.0.0.1:7117",
                "authored": 0, "lag": lag, "skew_seconds": skew}])
        };
        for nodes in [peer("unreachable", 0, 0), peer("connected", 11, 0), peer("connected", 0, 61)]
        {
            let found = found(status("ok"), nodes);
            let wrong: Vec<_> = found.iter().filter(|found| found.level > Level::Ok).collect();
            assert!(matches!(wrong[..], [Finding { level: Level::Warning, hint: Some(_), .. }]));
        }
        assert_eq!(worst(&found(status("ok"), peer("connected", 10, 0))), Level::Ok);
    }
}
