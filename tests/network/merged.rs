//! The merged logs of all nodes: printed by the program, and compared byte for byte.

use std::fs::File;
use std::io::{BufRead, BufReader};

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Cluster;

/// A line of a merged log.
#[derive(Debug, Deserialize)]
pub struct Line {
    pub id: String,
    pub author: String,
    pub seq: u64,
    pub kind: String,
    pub data: Value,
}

/// Prints the merged log of every node into a file of its own.
pub fn print_all(cluster: &Cluster) {
    let print = |at: usize| {
        let mut command = cluster.nodes[at].command(&["query", "-o", "ndjson"]);
        command.stdout(File::create(cluster.file(at, "merged")).unwrap());
        command.spawn().unwrap()
    };
    let printing: Vec<_> = (0..cluster.nodes.len()).map(print).collect();
    for (node, mut child) in cluster.nodes.iter().zip(printing) {
        let status = child.wait().unwrap();
        assert!(status.success(), "{} prints its log: {status}", node.name);
    }
}

/// The first place where two nodes print different logs, but for the offset, which is local.
pub fn first_difference(cluster: &Cluster, one: usize, other: usize) -> Option<String> {
    let mut logs = [one, other].map(|node| lines(cluster, node));
    for at in 1.. {
        match logs.each_mut().map(Iterator::next) {
            [None, None] => break,
            [Some(one), Some(other)] if without_offset(&one) == without_offset(&other) => {}
            [first, second] => {
                return Some(format!("line {at} differs:\n  {first:?}\n  {second:?}"));
            }
        }
    }
    None
}

/// The merged log of a node, as it was printed.
pub fn log(cluster: &Cluster, node: usize) -> impl Iterator<Item = Line> {
    lines(cluster, node).map(|line| serde_json::from_str(&line).unwrap())
}

fn lines(cluster: &Cluster, node: usize) -> impl Iterator<Item = String> + use<> {
    let file = File::open(cluster.file(node, "merged")).unwrap();
    BufReader::new(file).lines().map(Result::unwrap)
}

/// A line without its first `"offset":…,`: before that there are only ids and times.
fn without_offset(line: &str) -> (&str, &str) {
    let (before, rest) = line.split_once(r#""offset":"#).expect("an entry has an offset");
    let (_, after) = rest.split_once(',').expect("more follows the offset");
    (before, after)
}

#[test]
fn lines_that_differ_in_their_offset_alone_are_equal() {
    let line =
        |offset: u64, text: &str| format!(r#"{{"id":"a:1","offset":{offset},"data":{text}}}"#);
    assert_eq!(without_offset(&line(1, "7")), without_offset(&line(20, "7")));
    assert_ne!(without_offset(&line(1, "7")), without_offset(&line(1, "8")));
}
