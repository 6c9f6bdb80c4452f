//! Authors that signed two histories: every node keeps both, shows both, and goes on.

mod support;

use support::{Member, config, members, merged, note, until, until_equal};
use towline::core::change::{Change, Link, Place, encode};
use towline::core::forks::ForkKind;
use towline::core::log::Log;
use towline::node::{Config, Storage};
use towline::store::memory::MemoryStore;
use towline::store::{Batch, Owner, Store, StoreId};
use towline::words::{ClusterId, Identity, Offset, Time};
use towline::{Draft, Node};

const CLUSTER: ClusterId = ClusterId([9; 32]);
/// 2026-11-21, in milliseconds.
const NOW: u64 = 1_795_237_297_000;

/// What a liar signs: two changes that all see, and then one or the other.
struct Liar {
    identity: Identity,
    log: Log,
}

impl Liar {
    fn new() -> Self {
        let identity = Identity::from_secret(&[77; 32]);
        let log = Log::new(identity.clone(), CLUSTER, [7; 16], [], Offset(0), NOW);
        Self { identity, log }
    }

    fn say(&mut self, text: &str) -> Change {
        let draft = Draft::text("t", "note", text.to_owned()).unwrap();
        self.log.append(&[draft], NOW).unwrap().remove(0).change
    }

    /// Another change at the place of one.
    fn beside(&self, change: &Change, text: &str) -> Change {
        let Change { author, segment, segment_seq, index, first_seq, .. } = *change;
        let link = change.link().unwrap();
        self.sign(Place { author, segment, segment_seq, index, first_seq, link }, text)
    }

    /// A change after one.
    fn after(&self, change: &Change, text: &str) -> Change {
        let Change { author, segment, segment_seq, index, .. } = *change;
        let (first_seq, link) = (change.next_seq(), Link::Previous(change.hash));
        self.sign(Place { author, segment, segment_seq, index: index + 1, first_seq, link }, text)
    }

    fn sign(&self, place: Place, text: &str) -> Change {
        let time = Time::from_millis(NOW + 1_000 + place.first_seq.0);
        let draft = Draft::text("t", "note", text.to_owned()).unwrap();
        let mut change = encode(&place, &[draft.encode(time)]).unwrap();
        change.signature = Some(self.identity.sign(CLUSTER, change.hash));
        change
    }
}

/// A node in memory that holds these changes of another author.
async fn holding(member: &Member, others: &[&Member], changes: Vec<Change>) -> Node {
    let identity = Identity::from_secret(&member.secret);
    let owner = Owner { node: identity.node_id(), cluster: CLUSTER };
    let mut store = MemoryStore::new(StoreId([member.secret[0]; 8]), owner);
    let mut log = Log::new(identity, CLUSTER, [1; 16], [], Offset(0), NOW);
    let applied = log.apply(changes, NOW, &mut store.clone()).unwrap();
    assert!(applied.refused.is_empty(), "{:?}", applied.refused);
    store.commit(&Batch { arrivals: applied.arrivals, ..Batch::default() }).unwrap();
    let storage = Storage::Opened { secret: member.secret, store: Box::new(store) };
    let mut config = Config::with_storage(storage).listen(member.peer.address);
    config.interval = std::time::Duration::from_millis(200);
    for other in others {
        config = config.peer(other.peer);
    }
    Node::open(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_were_told_different_histories_end_with_both() {
    let m = members(3);
    let mut liar = Liar::new();
    let (first, one) = (liar.say("to all"), liar.say("to alice"));
    let other = liar.beside(&one, "to bob");
    let later = liar.after(&other, "to bob again");
    let alice = holding(&m[0], &[&m[1]], vec![first.clone(), one.clone()]).await;
    let bob = holding(&m[1], &[&m[0], &m[2]], vec![first, other, later]).await;
    let carol = holding(&m[2], &[&m[1]], Vec::new()).await;
    alice.append(note("t", "and an honest one")).await.unwrap();
    until_equal(&[&alice, &bob, &carol], 5).await;
    let merged_by_alice: Vec<_> = ids(&alice).await;
    for node in [&alice, &bob, &carol] {
        assert_eq!(ids(node).await, merged_by_alice, "one merged log");
        let forked = merged(node).await.into_iter().filter(|entry| entry.forked);
        assert_eq!(forked.count(), 2, "the two entries of seq 1");
        let forks = node.forks().await.unwrap();
        let [fork] = &forks[..] else { panic!("one fork: {forks:?}") };
        assert_eq!((fork.author, fork.kind), (liar.identity.node_id(), ForkKind::Segment));
        assert_eq!((fork.seq.0, fork.sides.len(), fork.joined), (1, 2, false));
        assert!(fork.sides.iter().any(|side| side.change == one.hash));
    }
}

async fn ids(node: &Node) -> Vec<(String, String)> {
    let entries = merged(node).await;
    entries.iter().map(|entry| (entry.id().to_string(), entry.change.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_runs_twice_shows_as_a_fork_on_every_node() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let open = |name: &'static str, member: &Member, others: &[&Member]| {
        let mut config = config(&directory.path().join(name), member, others);
        if name == "copy" {
            config.listen = Some(support::LOOPBACK);
        }
        Node::open(config)
    };
    let witness = open("witness", &m[1], &[&m[0]]).await.unwrap();
    let node = open("node", &m[0], &[&m[1]]).await.unwrap();
    node.append(note("t", "before the copy")).await.unwrap();
    until_equal(&[&witness, &node], 1).await;
    node.shutdown().await.unwrap();
    let files = std::fs::read_dir(directory.path().join("node")).unwrap();
    std::fs::create_dir(directory.path().join("copy")).unwrap();
    for file in files.map(Result::unwrap) {
        std::fs::copy(file.path(), directory.path().join("copy").join(file.file_name())).unwrap();
    }
    let node = open("node", &m[0], &[&m[1]]).await.unwrap();
    let copy = open("copy", &m[0], &[&m[1]]).await.unwrap();
    let (one, two) = tokio::join!(
        node.append(note("t", "on the machine")),
        copy.append(note("t", "on the other machine")),
    );
    let acknowledged = [one.unwrap(), two.unwrap()];
    let all = [&witness, &node, &copy];
    until(&all, |now| now.iter().all(|s| s.frontier == now[0].frontier && s.entries >= 3)).await;
    for at in all {
        let hashes: Vec<_> = merged(at).await.iter().map(|entry| entry.change).collect();
        assert!(acknowledged.iter().all(|receipt| hashes.contains(&receipt.hash)));
    }
    if acknowledged[0].id == acknowledged[1].id {
        for at in all {
            assert!(!at.forks().await.unwrap().is_empty(), "both wrote one seq");
        }
    }
}
