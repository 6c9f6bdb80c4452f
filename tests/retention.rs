//! Retention on real nodes: what goes, what stays, and what everybody is told.

mod support;

use std::path::Path;
use std::time::Duration;

use support::{Member, config, members, merged, note, texts, until};
use towline::node::OfflineLog;
use towline::node::archive::{self, ArchiveError};
use towline::node::consumers;
use towline::node::{
    AppendError, CursorError, Followed, From, NodeError, Query, QueryError, Retention,
    TopicRetention,
};
use towline::session::TenantLog;
use towline::words::{Offset, Tenant, Time, Topic};
use towline::{Config, Filter, Node};

/// A node looks so often.
const PAUSE: Duration = Duration::from_millis(20);
/// A node waits so long for entries that a peer has removed.
const SOON: Duration = Duration::from_millis(300);

fn policy() -> Retention {
    Retention { pause: PAUSE, ..Retention::default() }
}

async fn open(path: &Path, retention: Retention) -> Node {
    Node::open(Config::new(path).retention(retention)).await.unwrap()
}

/// One lifetime of a node, which is a segment: it appends so many entries.
async fn lifetime(path: &Path, name: &str, entries: usize) {
    let node = open(path, policy()).await;
    let drafts = (0..entries).map(|n| note("t", &format!("{name}{n}"))).collect();
    node.append_all(drafts).await.unwrap();
    node.shutdown().await.unwrap();
}

/// A node with three segments: a0–a4, b0–b2, c0.
async fn three_segments(path: &Path, retention: Retention) -> Node {
    lifetime(path, "a", 5).await;
    lifetime(path, "b", 3).await;
    let node = open(path, retention).await;
    node.append(note("t", "c0")).await.unwrap();
    node
}

async fn entries(node: &Node) -> u64 {
    node.status().await.unwrap().entries
}

fn verify(path: &Path) -> towline::node::verify::Verified {
    OfflineLog::open(path).unwrap().verify(|_, _| {}).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_everything_stays_and_a_watermark_lets_whole_segments_go() {
    let directory = tempfile::tempdir().unwrap();
    let node = three_segments(directory.path(), policy()).await;
    assert_eq!(node.let_go(None).await.unwrap().segments, 0);
    let removed = node.let_go(Some(Offset(6))).await.unwrap();
    assert_eq!((removed.segments, removed.entries), (1, 5));
    assert_eq!(texts(&merged(&node).await), ["b0", "b1", "b2", "c0"]);
    let report = node.retention().await.unwrap();
    assert_eq!((report.held, report.gone.entries, report.gone.below), (4, 5, Offset(5)));
    assert_eq!((report.finished, report.finished_entries), (1, 3));
    let receipt = node.append(note("t", "c1")).await.unwrap();
    assert_eq!((receipt.offset, receipt.id.seq.0), (Offset(9), 9));
    node.shutdown().await.unwrap();
    let verified = verify(directory.path());
    assert_eq!((verified.entries, verified.gone, verified.pruned), (5, 5, 1));
    let node = open(directory.path(), policy()).await;
    assert_eq!(texts(&merged(&node).await), ["b0", "b1", "b2", "c0", "c1"]);
    // The newest segment of an author stays, whatever is asked for.
    node.let_go(Some(Offset(u64::MAX))).await.unwrap();
    assert_eq!(texts(&merged(&node).await), ["c0", "c1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_go_while_there_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let most = Retention { entries: Some(4), ..policy() };
    let node = three_segments(directory.path(), most).await;
    until(&[&node], |all| all[0].entries == 4).await;
    assert_eq!(texts(&merged(&node).await), ["b0", "b1", "b2", "c0"]);
    node.let_go(None).await.unwrap();
    assert_eq!(entries(&node).await, 4, "a bound is kept, and nothing goes beyond it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_go_while_the_store_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let large = Retention { bytes: Some(1 << 40), ..policy() };
    let node = three_segments(directory.path(), large).await;
    assert_eq!(node.let_go(None).await.unwrap().segments, 0);
    node.shutdown().await.unwrap();
    let small = Retention { bytes: Some(1), ..policy() };
    let node = open(directory.path(), small).await;
    until(&[&node], |all| all[0].entries == 1).await;
}

/// Age is the time for which the node has run since an entry came: neither the entry's own time nor the
/// node's clock has a say, and what is off doesn't age.
#[tokio::test(flavor = "multi_thread")]
async fn entries_age_only_while_the_node_runs() {
    let directory = tempfile::tempdir().unwrap();
    let age = Duration::from_millis(1_500);
    let aged = || Retention { age: Some(age), ..policy() };
    lifetime(directory.path(), "a", 5).await;
    tokio::time::sleep(age).await; // off, and older by every clock on the wall
    let node = open(directory.path(), aged()).await;
    node.append(note("t", "b0")).await.unwrap();
    assert_eq!(node.let_go(None).await.unwrap().segments, 0);
    node.shutdown().await.unwrap();
    let before = std::time::Instant::now();
    let node = open(directory.path(), aged()).await;
    node.append(note("t", "c0")).await.unwrap();
    until(&[&node], |all| all[0].entries <= 2).await;
    let running = node.retention().await.unwrap().running_millis;
    assert!(running >= age.as_millis() as u64, "it had run for {running} ms");
    assert!(before.elapsed() < age * 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_before_as_many_peers_hold_it_as_should() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    let m = members(2);
    for name in ["x", "y"] {
        let node = open_member(&a, &m[0], &[], policy()).await;
        node.append(note("t", name)).await.unwrap();
        node.shutdown().await.unwrap();
    }
    let both = Retention { peers: 1, archiver: Some(m[1].peer.node), ..policy() };
    let alone = open_member(&a, &m[0], &[&m[1]], both).await;
    let held_back = alone.let_go(Some(Offset(9))).await.unwrap();
    assert_eq!((held_back.segments, held_back.held_back), (0, 1));
    let peer = open_member(&b, &m[1], &[&m[0]], policy()).await;
    until(&[&alone, &peer], |all| all[0].frontier == all[1].frontier).await;
    let gone = async {
        while alone.let_go(Some(Offset(9))).await.unwrap().segments == 0 {
            tokio::time::sleep(PAUSE).await; // until the peer has said that it holds it
        }
    };
    tokio::time::timeout(support::PATIENCE, gone).await.unwrap();
    assert_eq!(entries(&alone).await, 1);
    assert_eq!(entries(&peer).await, 2);
}

async fn open_member(
    path: &Path,
    member: &Member,
    others: &[&Member],
    retention: Retention,
) -> Node {
    loop {
        let mut config = config(path, member, others).retention(retention.clone());
        config.patience = SOON;
        match Node::open(config).await {
            // The socket of the lifetime before may still be on its way out.
            Err(NodeError::Bind(_)) => tokio::time::sleep(PAUSE).await,
            opened => return opened.unwrap(),
        }
    }
}

/// A has removed its first two segments. B comes late, and begins with what A has left.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_late_takes_what_stays_and_all_that_follows() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = with_removed(&directory.path().join("a"), &m[0], &[&m[1]]).await;
    let path = directory.path().join("b");
    let b = open_member(&path, &m[1], &[&m[0]], policy()).await;
    until(&[&a, &b], |all| all[0].frontier == all[1].frontier && all[1].entries == 1).await;
    assert_eq!(texts(&merged(&b).await), ["c0"]);
    a.append(note("t", "c1")).await.unwrap();
    b.append(note("t", "from b")).await.unwrap();
    until(&[&a, &b], |all| all[0].frontier == all[1].frontier && all[1].entries == 3).await;
    b.shutdown().await.unwrap();
    let verified = verify(&path);
    assert_eq!((verified.entries, verified.pruned, verified.gone), (3, 2, 8));
    let b = open_member(&path, &m[1], &[&m[0]], policy()).await;
    a.append(note("t", "c2")).await.unwrap();
    until(&[&a, &b], |all| all[0].frontier == all[1].frontier && all[1].entries == 4).await;
}

async fn with_removed(path: &Path, member: &Member, others: &[&Member]) -> Node {
    for (name, entries) in [("a", 5), ("b", 3)] {
        let node = open_member(path, member, &[], policy()).await;
        let drafts = (0..entries).map(|n| note("t", &format!("{name}{n}"))).collect();
        node.append_all(drafts).await.unwrap();
        node.shutdown().await.unwrap();
    }
    let node = open_member(path, member, &[], policy()).await;
    node.append(note("t", "c0")).await.unwrap();
    assert_eq!(node.let_go(Some(Offset(8))).await.unwrap().segments, 2);
    node.shutdown().await.unwrap();
    open_member(path, member, others, policy()).await
}

/// A has removed its past, C holds all of it: whoever comes late and knows both lacks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_late_gets_everything_as_long_as_anybody_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let m = members(3);
    for (name, entries) in [("a", 5), ("b", 3)] {
        let a = open_member(&path("a"), &m[0], &[&m[2]], policy()).await;
        let c = open_member(&path("c"), &m[2], &[&m[0]], policy()).await;
        let drafts = (0..entries).map(|n| note("t", &format!("{name}{n}"))).collect();
        a.append_all(drafts).await.unwrap();
        until(&[&a, &c], |all| all[0].frontier == all[1].frontier).await;
        a.shutdown().await.unwrap();
        c.shutdown().await.unwrap();
    }
    let a = open_member(&path("a"), &m[0], &[&m[1], &m[2]], policy()).await;
    let c = open_member(&path("c"), &m[2], &[&m[0], &m[1]], policy()).await;
    a.append(note("t", "c0")).await.unwrap();
    until(&[&a, &c], |all| all[0].frontier == all[1].frontier).await;
    a.let_go(Some(Offset(8))).await.unwrap();
    assert_eq!(entries(&a).await, 1);
    let b = open_member(&path("b"), &m[1], &[&m[0], &m[2]], policy()).await;
    until(&[&b], |all| all[0].entries == 9).await;
    assert_eq!(texts(&merged(&b).await), texts(&merged(&c).await));
}

/// B was away for longer than A keeps: it has the beginning of what A has removed, and keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_too_long_goes_on_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (path_a, path_b) = (directory.path().join("a"), directory.path().join("b"));
    let m = members(2);
    let a = open_member(&path_a, &m[0], &[&m[1]], policy()).await;
    let b = open_member(&path_b, &m[1], &[&m[0]], policy()).await;
    a.append(note("t", "a0")).await.unwrap();
    until(&[&a, &b], |all| all[0].frontier == all[1].frontier).await;
    b.shutdown().await.unwrap();
    a.append(note("t", "a1")).await.unwrap();
    a.shutdown().await.unwrap();
    let a = open_member(&path_a, &m[0], &[&m[1]], policy()).await;
    a.append(note("t", "c0")).await.unwrap();
    assert_eq!(a.let_go(Some(Offset(2))).await.unwrap().segments, 1);
    let b = open_member(&path_b, &m[1], &[&m[0]], policy()).await;
    until(&[&a, &b], |all| all[0].frontier == all[1].frontier).await;
    assert_eq!(texts(&merged(&b).await), ["a0", "c0"]);
    b.shutdown().await.unwrap();
    assert_eq!(verify(&path_b).entries, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_place_was_removed_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let node = three_segments(directory.path(), policy()).await;
    let page = node.query(Query::in_order(towline::Order::Arrival).limit(2)).await.unwrap();
    let place = page.next.unwrap();
    let mut slow = node.follow(Filter::all(), From::Cursor(place)).await.unwrap();
    let mut fresh = node.follow(Filter::all(), From::Start).await.unwrap();
    node.let_go(Some(Offset(5))).await.unwrap();
    let lost = QueryError::Cursor(CursorError::Pruned);
    let again = node.query(Query::in_order(towline::Order::Arrival).after(place)).await;
    assert_eq!(again, Err(lost.clone()));
    assert_eq!(node.follow(Filter::all(), From::Cursor(place)).await.err(), Some(lost));
    let named = place.to_string();
    let lag = node.read(move |reader| consumers::lag(reader, &named, None, Time::MAX)).await;
    assert_eq!(lag, Ok(None), "a named consumer's place is lost, too");
    // One that was on its way is told once, and goes on with what is left.
    assert_eq!(slow.next().await.unwrap(), Some(Followed::Reset));
    for follow in [&mut slow, &mut fresh] {
        for text in ["b0", "b1", "b2", "c0"] {
            let Some(Followed::Entry { entry, .. }) = follow.next().await.unwrap() else {
                panic!()
            };
            assert_eq!(entry.body.data, text.as_bytes());
        }
        assert_eq!(follow.next().await.unwrap(), Some(Followed::CaughtUp));
    }
    let behind = slow.cursor();
    assert!(node.follow(Filter::all(), From::Cursor(behind)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_entries_were_removed_appends_nothing_again() {
    let directory = tempfile::tempdir().unwrap();
    let node = open(directory.path(), policy()).await;
    node.append_once("key", vec![note("t", "once")]).await.unwrap();
    node.shutdown().await.unwrap();
    let node = open(directory.path(), policy()).await;
    node.append(note("t", "next")).await.unwrap();
    node.let_go(Some(Offset(1))).await.unwrap();
    let again = node.append_once("key", vec![note("t", "once")]).await;
    assert_eq!(again, Err(AppendError::KeyRemoved("key".into())));
    node.append(note("t", "the node goes on")).await.unwrap();
    assert_eq!(entries(&node).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_topic_the_rest_is_hidden_at_once_and_goes_with_its_segment() {
    let directory = tempfile::tempdir().unwrap();
    lifetime(directory.path(), "a", 5).await;
    lifetime(directory.path(), "b", 3).await;
    let (tenant, topic) = (Tenant::default(), Topic::parse("t").unwrap());
    let topics = vec![TopicRetention {
        tenant: tenant.clone(),
        topic,
        age: None,
        entries: Some(2),
        bytes: None,
    }];
    let node = open(directory.path(), Retention { topics, ..policy() }).await;
    node.append(note("t", "c0")).await.unwrap();
    node.let_go(None).await.unwrap();
    let log = TenantLog::new(node.clone(), tenant).unwrap();
    let thread = log.thread(Topic::parse("t").unwrap());
    let shown = |entries: Vec<towline::node::Numbered>| {
        entries
            .into_iter()
            .map(|it| (it.ordinal, String::from_utf8_lossy(&it.entry.body.data).into_owned()))
            .collect::<Vec<_>>()
    };
    let newest = [(8, "b2".to_owned()), (9, "c0".to_owned())];
    assert_eq!(shown(thread.load_since(0).await.unwrap()), newest);
    assert!(texts(&merged(&node).await).contains(&"a0".into()), "hidden, and still in the log");
    node.shutdown().await.unwrap();
    let node = open(directory.path(), Retention { archived: true, ..policy() }).await;
    until(&[&node], |all| all[0].removed == 5).await;
    let log = TenantLog::new(node.clone(), Tenant::default()).unwrap();
    let thread = log.thread(Topic::parse("t").unwrap());
    assert_eq!(shown(thread.load_since(0).await.unwrap()), newest, "ordinals stay what they were");
    assert_eq!(thread.standing().await.unwrap().unwrap().watermark, 7);
    let left = texts(&merged(&node).await);
    assert!(left.contains(&"b0".into()), "its segment holds b2, which is live");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_is_written_first_and_can_be_verified_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let (data, kept) = (directory.path().join("data"), directory.path().join("kept"));
    let archived = Retention { archive: Some(kept.clone()), entries: Some(1), ..policy() };
    let node = three_segments(&data, archived).await;
    until(&[&node], |all| all[0].entries == 1).await;
    let checked = archive::verify(&kept, |_, _| {}).unwrap();
    assert_eq!((checked.segments, checked.entries), (2, 8));
    let files = archive::files(&kept).unwrap();
    let mut read = Vec::new();
    for file in &files {
        read.extend(archive::entries(file, &Filter::all()).unwrap());
    }
    assert_eq!(texts(&read), ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2"]);
    // A document that any Automerge program opens.
    let saved = std::fs::read(&files[0]).unwrap();
    assert_eq!(towline::core::document::contents(&saved).unwrap().entries.len(), 5);
    let whole = archive::document(&kept, None).unwrap();
    assert_eq!(towline::core::document::contents(&whole).unwrap().entries.len(), 8);
    // Another segment's document under this name is found out, and so is another signature.
    std::fs::copy(&files[1], &files[0]).unwrap();
    assert!(matches!(archive::verify(&kept, |_, _| {}), Err(ArchiveError::Bad { .. })));
    let beside = |file: &Path| file.with_extension("json");
    std::fs::write(&files[0], saved).unwrap();
    let said = std::fs::read_to_string(beside(&files[0])).unwrap();
    let other = std::fs::read_to_string(beside(&files[1])).unwrap();
    let signature = |said: &str| {
        serde_json::from_str::<serde_json::Value>(said).unwrap()["signature"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let forged = said.replace(&signature(&said), &signature(&other));
    std::fs::write(beside(&files[0]), forged).unwrap();
    assert!(matches!(archive::verify(&kept, |_, _| {}), Err(ArchiveError::Bad { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_topic_as_many_bytes_are_kept_as_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let (tenant, topic) = (Tenant::default(), Topic::parse("t").unwrap());
    let long = |n: usize| note("t", &format!("{n:04}{}", "x".repeat(996)));
    let size = long(0).size() as u64;
    let bytes = Some(3 * size + size / 2);
    let topics = vec![TopicRetention { tenant, topic, age: None, entries: None, bytes }];
    let keeping = Retention { topics, pause: Duration::from_secs(3_600), ..policy() };
    let mut node = open(directory.path(), keeping.clone()).await;
    let mut next = 0;
    // The last round has less than is kept: the user has archived more than the node would have.
    for (append, archived, left) in
        [(2, 0, 2), (9, 8, 3), (1, 9, 3), (0, 9, 3), (4, 13, 3), (1, 16, 1)]
    {
        node.append_all((next..next + append).map(long).collect()).await.ok();
        next += append;
        let log = TenantLog::new(node.clone(), Tenant::default()).unwrap();
        let thread = log.thread(Topic::parse("t").unwrap());
        if left == 1 {
            thread.archive_before(16).await.unwrap();
        }
        node.let_go(None).await.unwrap();
        let standing = thread.standing().await.unwrap().unwrap();
        assert_eq!((standing.end, standing.watermark), (next as u64, archived));
        assert_eq!(thread.load_since(0).await.unwrap().len(), left);
        if next == 12 {
            node.shutdown().await.unwrap();
            node = open(directory.path(), keeping.clone()).await;
        }
    }
    node.shutdown().await.unwrap();
}
