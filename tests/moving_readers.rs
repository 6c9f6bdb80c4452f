//! Readers that move from node to node with a cursor that any node accepts: they miss nothing, and
//! see nothing twice.

mod support;

use std::collections::BTreeSet;

use support::{Member, PATIENCE, config, members, note, until, until_equal};
use towline::node::{FrontierCursor, QueryError};
use towline::{Filter, Follow, Followed, From, Node};

/// A reader with all that it has read.
struct Reader {
    seen: Vec<String>,
    place: Option<String>,
}

impl Reader {
    fn new() -> Self {
        Self { seen: Vec::new(), place: None }
    }

    async fn follow(&self, node: &Node) -> Follow {
        let from = match &self.place {
            None => From::Start,
            Some(place) => From::Frontier(place.parse().unwrap()),
        };
        let mut follow = node.follow(Filter::all(), from).await.unwrap();
        follow.keep_frontier().await.unwrap();
        follow
    }

    /// Reads on at a node: `most` entries, or until it has caught up.
    async fn read(&mut self, node: &Node, most: usize) {
        let mut follow = self.follow(node).await;
        for _ in 0..most {
            let next = tokio::time::timeout(PATIENCE, follow.next()).await;
            let Followed::Entry { entry, .. } = next.unwrap().unwrap().unwrap() else { break };
            let text = String::from_utf8_lossy(&entry.body.data);
            self.seen.push(format!("{} {text}", entry.author.short()));
        }
        let frontier = follow.frontier().unwrap();
        self.place = Some(FrontierCursor::new(node.cluster(), frontier).to_string());
    }

    #[track_caller]
    fn has_seen_each_once(&self, count: usize) {
        let each: BTreeSet<&String> = self.seen.iter().collect();
        assert_eq!((each.len(), self.seen.len()), (count, count), "{:?}", self.seen);
    }
}

async fn open(
    directory: &tempfile::TempDir,
    name: &str,
    member: &Member,
    others: &[&Member],
) -> Node {
    Node::open(config(&directory.path().join(name), member, others)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_moves_while_all_write_sees_each_entry_once() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(3);
    let a = open(&directory, "a", &m[0], &[&m[1], &m[2]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0], &m[2]]).await;
    let mut c = open(&directory, "c", &m[2], &[&m[0], &m[1]]).await;
    let mut reader = Reader::new();
    for round in 0..60 {
        for node in [&a, &b, &c] {
            let drafts = (0..3).map(|n| note("t", &format!("{round}.{n}"))).collect();
            node.append_all(drafts).await.unwrap();
        }
        let node = [&a, &b, &c][round % 3];
        reader.read(node, 7).await;
        if round % 20 == 10 {
            // Another lifetime, and so another segment.
            c.shutdown().await.unwrap();
            c = open(&directory, "c", &m[2], &[&m[0], &m[1]]).await;
        }
    }
    until_equal(&[&a, &b, &c], 540).await;
    for node in [&b, &c, &a] {
        reader.read(node, 50).await;
    }
    reader.read(&c, 540).await;
    reader.has_seen_each_once(540);
    for node in [&a, &b, &c] {
        let before = reader.seen.len();
        reader.read(node, 1).await;
        assert_eq!(reader.seen.len(), before, "there is nothing more anywhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stands_inside_a_change_goes_on_inside_it() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    let drafts = (0..40).map(|n| note("t", &format!("{n:02}"))).collect();
    a.append_all(drafts).await.unwrap();
    until_equal(&[&a, &b], 40).await;
    for cut in 0..=40 {
        let mut reader = Reader::new();
        reader.read(&a, cut).await;
        reader.read(&b, 41).await;
        reader.has_seen_each_once(40);
        assert!(reader.seen.is_sorted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_gives_nothing_that_was_read_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    a.append(note("t", "both")).await.unwrap();
    until_equal(&[&a, &b], 1).await;
    b.shutdown().await.unwrap();
    for n in 0..30 {
        a.append(note("t", &format!("alone {n}"))).await.unwrap();
    }
    let mut reader = Reader::new();
    reader.read(&a, 25).await;

    // Cut off from the other, it has only something of its own to give.
    let b = open(&directory, "b", &m[1], &[]).await;
    b.append(note("t", "own")).await.unwrap();
    reader.read(&b, 100).await;
    assert_eq!(reader.seen.len(), 26);
    b.shutdown().await.unwrap();

    // It catches up under the reader.
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    until(&[&b], |statuses| statuses[0].entries == 32).await;
    reader.read(&b, 100).await;
    reader.has_seen_each_once(32);
    until_equal(&[&a, &b], 32).await;
    reader.read(&a, 100).await;
    reader.has_seen_each_once(32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_waits_for_what_it_read_elsewhere_and_goes_on_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[]).await;
    for n in 0..30 {
        a.append(note("t", &format!("{n}"))).await.unwrap();
    }
    let mut reader = Reader::new();
    reader.read(&a, 20).await;
    a.shutdown().await.unwrap();
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    let mut follow = reader.follow(&b).await;
    assert_eq!(follow.next().await.unwrap(), Some(Followed::CaughtUp));
    let _a = open(&directory, "a", &m[0], &[&m[1]]).await;
    for n in 20..30 {
        let next = tokio::time::timeout(PATIENCE, follow.next()).await;
        let Followed::Entry { entry, .. } = next.unwrap().unwrap().unwrap() else { panic!() };
        assert_eq!(entry.body.data, format!("{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_another_cluster_is_refused() {
    let one = Node::open(towline::Config::in_memory()).await.unwrap();
    let other = Node::open(towline::Config::in_memory()).await.unwrap();
    let mut reader = Reader::new();
    reader.read(&one, 1).await;
    let from = From::Frontier(reader.place.unwrap().parse().unwrap());
    let refused = other.follow(Filter::all(), from).await;
    assert!(matches!(refused.err(), Some(QueryError::Cursor(_))));
}
