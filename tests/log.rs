//! One node's log: appending, following, querying, verifying.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::gated::{Failing, SECRET, gated, store, store_of};
use support::{all, members, merged, note, texts, until};
use towline::node::verify::verify;
use towline::node::{AppendError, CursorError, Gaps, QueryError, State, Storage};
use towline::store::Store;
use towline::words::limits::PAYLOAD_BYTES;
use towline::words::{EntryId, Kind, Seq, Tenant, Topic};
use towline::{Config, Draft, Filter, Follow, Followed, From, Node, Order, Query};

async fn in_memory() -> Node {
    Node::open(Config::in_memory()).await.unwrap()
}

async fn next_entry(follow: &mut Follow) -> String {
    loop {
        let next = tokio::time::timeout(support::PATIENCE, follow.next());
        if let Followed::Entry { entry, .. } = next.await.unwrap().unwrap().unwrap() {
            return texts(&[(*entry).clone()]).remove(0);
        }
    }
}

#[tokio::test]
async fn seqs_are_contiguous_from_zero_and_receipts_say_where() {
    let node = in_memory().await;
    for n in 0..10 {
        let receipt = node.append(note("t", &n.to_string())).await.unwrap();
        assert_eq!((receipt.id.seq.0, receipt.offset.0), (n, n));
        let found = node.get(receipt.id).await.unwrap();
        assert_eq!(texts(&found), [n.to_string()]);
        assert_eq!((found[0].change, found[0].offset), (receipt.hash, receipt.offset));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appenders_at_the_same_time_leave_no_hole() {
    let node = in_memory().await;
    let append = |n: usize| {
        let node = node.clone();
        tokio::spawn(async move {
            let mut seqs = Vec::new();
            for k in 0..20 {
                seqs.push(node.append(note("t", &format!("{n}/{k}"))).await.unwrap().id.seq.0);
            }
            seqs
        })
    };
    let mut seqs = BTreeSet::new();
    for appending in (0..64).map(append).collect::<Vec<_>>() {
        seqs.extend(appending.await.unwrap());
    }
    assert_eq!(seqs.into_iter().collect::<Vec<_>>(), (0..64 * 20).collect::<Vec<_>>());
    let times: Vec<_> = merged(&node).await.iter().map(|entry| entry.time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn all_drafts_of_a_call_are_appended_or_none() {
    let node = in_memory().await;
    let mut drafts: Vec<Draft> = (0..3).map(|n| note("t", &n.to_string())).collect();
    drafts[2].data = vec![0; PAYLOAD_BYTES + 1].into();
    assert!(matches!(node.append_all(drafts).await, Err(AppendError::Draft(_))));
    assert_eq!(node.append_all(Vec::new()).await, Err(AppendError::Nothing));
    assert_eq!(node.append(note("t", "first")).await.unwrap().id.seq, Seq(0));
}

#[tokio::test]
async fn a_call_may_hold_more_than_a_change_or_a_segment() {
    let node = in_memory().await;
    let drafts = (0..20_000).map(|n| note("t", &n.to_string())).collect();
    let receipts = node.append_all(drafts).await.unwrap();
    let seqs: Vec<u64> = receipts.iter().map(|receipt| receipt.id.seq.0).collect();
    assert_eq!(seqs, (0..20_000).collect::<Vec<_>>());
    let changes: BTreeSet<_> = receipts.iter().map(|receipt| receipt.hash).collect();
    assert!(changes.len() >= 5);
    let expected: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    assert_eq!(texts(&merged(&node).await), expected);
}

#[tokio::test]
async fn payloads_at_the_bound_come_back_exactly() {
    let node = in_memory().await;
    let large: Vec<u8> = (0..PAYLOAD_BYTES).map(|n| (n * 7 % 256) as u8).collect();
    let draft = |data: &[u8]| Draft::bytes("t", "k", "application/octet-stream", data.to_vec());
    let drafts = (0..12).map(|_| draft(&large).unwrap()).chain([draft(b"").unwrap()]).collect();
    let receipts = node.append_all(drafts).await.unwrap();
    for receipt in &receipts[..12] {
        assert_eq!(node.get(receipt.id).await.unwrap()[0].body.data, large);
    }
    assert!(node.get(receipts[12].id).await.unwrap()[0].body.data.is_empty());
}

#[tokio::test]
async fn a_retry_with_the_same_key_appends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    let drafts = || vec![note("t", "a"), note("t", "b")];
    let first = node.append_once("k", drafts()).await.unwrap();
    node.append(note("t", "between")).await.unwrap();
    assert_eq!(node.append_once("k", drafts()).await.unwrap(), first);
    node.shutdown().await.unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    assert_eq!(node.append_once("k", drafts()).await.unwrap(), first);
    let other = node.append_once("k", vec![note("t", "c")]).await;
    assert_eq!(other, Err(AppendError::KeyReused("k".into())));
    assert_eq!(texts(&merged(&node).await), ["a", "b", "between"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_at_the_same_time_appends_once() {
    let node = in_memory().await;
    let append = |_| {
        let node = node.clone();
        tokio::spawn(async move { node.append_once("k", vec![note("t", "x")]).await.unwrap() })
    };
    let mut receipts = Vec::new();
    for appending in (0..32).map(append).collect::<Vec<_>>() {
        receipts.push(appending.await.unwrap());
    }
    receipts.dedup();
    assert_eq!(receipts.len(), 1);
    assert_eq!(merged(&node).await.len(), 1);
}

#[tokio::test]
async fn a_log_replays_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    let mut id = None;
    for life in 0..3 {
        let node = Node::open(Config::new(directory.path())).await.unwrap();
        assert_eq!(*id.get_or_insert(node.id()), node.id());
        assert_eq!(texts(&merged(&node).await), expected);
        for n in 0..3 {
            let text = format!("life {life}, {n}");
            let receipt = node.append(note("t", &text)).await.unwrap();
            assert_eq!(receipt.id.seq.0, expected.len() as u64);
            expected.push(text);
        }
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_is_shut_down_leaves_one_file_of_its_store() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    node.append(note("t", "x")).await.unwrap();
    merged(&node).await; // a reader has the store open, too
    node.shutdown().await.unwrap();
    assert!(directory.path().join("log.sqlite").exists());
    for suffix in ["-wal", "-shm"] {
        let beside = directory.path().join(format!("log.sqlite{suffix}"));
        assert!(!beside.exists(), "{} is left behind", beside.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_snapshot_and_live_entries_once() {
    let node = in_memory().await;
    let writing = {
        let node = node.clone();
        tokio::spawn(async move {
            for n in 0..300 {
                node.append(note("t", &n.to_string())).await.unwrap();
            }
        })
    };
    let mut followers = Vec::new();
    for _ in 0..10 {
        followers.push(node.follow(Filter::all(), From::Start).await.unwrap());
        tokio::task::yield_now().await;
    }
    let expected: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for mut follow in followers {
        let mut seen = Vec::new();
        while seen.len() < 300 {
            seen.push(next_entry(&mut follow).await);
        }
        assert_eq!(seen, expected);
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_resumes_from_its_cursor_without_loss_or_repetition() {
    let node = in_memory().await;
    node.append_all((0..100).map(|n| note("t", &n.to_string())).collect()).await.unwrap();
    let mut seen = Vec::new();
    let mut from = From::Start;
    while seen.len() < 100 {
        let mut follow = node.follow(Filter::all(), from).await.unwrap();
        for _ in 0..7.min(100 - seen.len()) {
            seen.push(next_entry(&mut follow).await);
        }
        from = From::Cursor(follow.cursor().to_string().parse().unwrap());
    }
    assert_eq!(seen, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_follower_is_told_once_when_the_snapshot_ends() {
    let node = in_memory().await;
    node.append(note("t", "old")).await.unwrap();
    for (from, before) in [(From::Start, 1), (From::End, 0), (From::Last(5), 1)] {
        let mut follow = node.follow(Filter::all(), from).await.unwrap();
        for _ in 0..before {
            assert!(matches!(follow.next().await, Ok(Some(Followed::Entry { .. }))));
        }
        assert_eq!(follow.next().await, Ok(Some(Followed::CaughtUp)));
    }
}

#[tokio::test]
async fn a_follower_of_the_last_entries_counts_only_what_passes() {
    let node = in_memory().await;
    for n in 0..20 {
        node.append(note(if n % 2 == 0 { "even" } else { "odd" }, &n.to_string())).await.unwrap();
    }
    let mut follow = node.follow(Filter::topic("even"), From::Last(3)).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(next_entry(&mut follow).await);
    }
    assert_eq!(seen, ["14", "16", "18"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_an_entry_before_it_is_committed() {
    let (store, gate) = gated(store());
    let storage = Storage::Opened { secret: SECRET, store: Box::new(store) };
    let opening = tokio::spawn(Node::open(Config::with_storage(storage)));
    gate.until_waiting(); // the reservation of emit numbers
    gate.pass();
    let node = opening.await.unwrap().unwrap();
    let mut follow = node.follow(Filter::all(), From::Start).await.unwrap();
    assert_eq!(follow.next().await, Ok(Some(Followed::CaughtUp)));
    let append = tokio::spawn({
        let node = node.clone();
        async move { node.append(note("t", "x")).await }
    });
    gate.until_waiting();
    // The commit hangs: neither the caller nor a follower nor a query may know of the entry.
    assert!(!append.is_finished());
    let moment = Duration::from_millis(50);
    assert!(tokio::time::timeout(moment, follow.next()).await.is_err());
    assert!(merged(&node).await.is_empty());
    assert!(!append.is_finished());
    gate.pass();
    append.await.unwrap().unwrap();
    assert_eq!(next_entry(&mut follow).await, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_peer_is_told_of_an_entry_before_it_is_committed() {
    let members = members(2);
    let config = |own: usize, store: Box<dyn Store>| {
        let storage = Storage::Opened { secret: members[own].secret, store };
        let config = Config::with_storage(storage).listen(members[own].peer.address);
        let mut config = config.peer(members[1 - own].peer);
        config.interval = Duration::from_millis(10);
        config
    };
    let (slow, gate) = gated(store_of(&members[0].secret));
    let opening = tokio::spawn(Node::open(config(0, Box::new(slow))));
    gate.until_waiting(); // the reservation of emit numbers
    gate.pass();
    let node = opening.await.unwrap().unwrap();
    let peer = Node::open(config(1, Box::new(store_of(&members[1].secret)))).await.unwrap();
    until(&[&node, &peer], |statuses| statuses.iter().all(|s| s.peers.connected == 1)).await;
    let append = tokio::spawn({
        let node = node.clone();
        async move { node.append(note("t", "x")).await }
    });
    gate.until_waiting();
    // The commit hangs: the peer is sent nothing of it, not even that it is there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = peer.status().await.unwrap();
    assert_eq!((status.entries, status.authors), (0, 0));
    assert!(status.catching_up.is_none());
    gate.pass();
    append.await.unwrap().unwrap();
    until(&[&peer], |statuses| statuses[0].entries == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_commit_the_node_writes_no_more_and_goes_on_reading() {
    let storage = Storage::Opened { secret: SECRET, store: Box::new(Failing::after(2)) };
    let node = Node::open(Config::with_storage(storage)).await.unwrap();
    node.append(note("t", "good")).await.unwrap();
    for _ in 0..2 {
        let refused = node.append(note("t", "bad")).await;
        assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
    }
    assert!(node.emit(note("t", "bad")).is_err());
    assert_eq!(texts(&merged(&node).await), ["good"]);
    assert_eq!(node.status().await.unwrap().state, State::Poisoned);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_writes_no_more_shuts_down() {
    let storage = Storage::Opened { secret: SECRET, store: Box::new(Failing::after(1)) };
    let node = Node::open(Config::with_storage(storage)).await.unwrap();
    assert!(matches!(node.append(note("t", "bad")).await, Err(AppendError::Poisoned(_))));
    let ended = tokio::time::timeout(support::PATIENCE, node.shutdown()).await;
    assert!(matches!(ended, Ok(Err(AppendError::Poisoned(_)))), "{ended:?}");
}

#[tokio::test]
async fn followers_end_when_the_node_shuts_down() {
    let node = in_memory().await;
    let mut follow = node.follow(Filter::all(), From::End).await.unwrap();
    assert_eq!(follow.next().await, Ok(Some(Followed::CaughtUp)));
    let waiting = tokio::spawn(async move { follow.next().await });
    node.shutdown().await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(None));
}

#[tokio::test]
async fn filters_choose_by_every_field() {
    let node = in_memory().await;
    let draft = |topic: &str, kind: &str, text: &str| Draft::text(topic, kind, text).unwrap();
    node.append(draft("a", "x", "one")).await.unwrap();
    node.append(draft("b", "x", "two")).await.unwrap();
    node.append(draft("a", "y", "three").for_tenant("acme").unwrap()).await.unwrap();
    let chosen = |filter: Filter| {
        let node = node.clone();
        async move { texts(&all(&node, Query::merged().filter(filter)).await) }
    };
    let topic = Filter { topic: Topic::parse("a").ok(), ..Filter::all() };
    let kind = Filter { kind: Kind::parse("x").ok(), ..Filter::all() };
    let tenant = Filter { tenant: Tenant::parse("acme").ok(), ..Filter::all() };
    let grep = Filter { grep: Some("t".into()), ..Filter::all() };
    let nobody = Filter { author: Some(towline::words::NodeId([0; 32])), ..Filter::all() };
    assert_eq!(chosen(topic).await, ["one", "three"]);
    assert_eq!(chosen(kind).await, ["one", "two"]);
    assert_eq!(chosen(tenant).await, ["three"]);
    assert_eq!(chosen(grep).await, ["two", "three"]);
    assert!(chosen(nobody).await.is_empty());
    assert!(chosen(Filter { gaps: Gaps::Only, ..Filter::all() }).await.is_empty());
    let hour = Duration::from_secs(3_600);
    assert_eq!(all(&node, Query::merged().since(hour)).await.len(), 3);
    assert!(all(&node, Query::merged().until(hour)).await.is_empty());
}

#[tokio::test]
async fn a_listing_by_pages_is_the_listing_in_every_order_and_direction() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::open(Config::new(directory.path())).await.unwrap();
    for round in 0..4u64 {
        for n in 0..6 {
            let drafts = (0..=n).map(|k| note("t", &format!("{round}/{n}/{k}"))).collect();
            node.append_all(drafts).await.unwrap();
        }
        node.shutdown().await.unwrap(); // the next life opens another segment
        node = Node::open(Config::new(directory.path())).await.unwrap();
    }
    for order in [Order::Time, Order::Arrival, Order::Author] {
        for reverse in [false, true] {
            let query = || {
                let query = Query::in_order(order);
                if reverse { query.reverse() } else { query }
            };
            let whole = node.query(query().limit(10_000)).await.unwrap();
            assert_eq!((whole.entries.len(), whole.next), (84, None));
            for limit in [1, 2, 5, 7, 83, 84] {
                assert_eq!(
                    all(&node, query().limit(limit)).await,
                    whole.entries,
                    "{order:?} {limit}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_listing_is_not_disturbed_by_what_comes_meanwhile() {
    let node = in_memory().await;
    node.append_all((0..10).map(|n| note("t", &n.to_string())).collect()).await.unwrap();
    let first = node.query(Query::merged().limit(4)).await.unwrap();
    node.append(note("t", "later")).await.unwrap();
    let rest = all(&node, Query::merged().after(first.next.unwrap())).await;
    assert_eq!(texts(&rest), (4..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn cursors_and_limits_that_mean_nothing_are_refused() {
    let (node, other) = (in_memory().await, in_memory().await);
    for node in [&node, &other] {
        node.append_all((0..3).map(|n| note("t", &n.to_string())).collect()).await.unwrap();
    }
    let page = node.query(Query::merged().limit(1)).await.unwrap();
    let cursor = page.next.unwrap();
    let elsewhere = other.query(Query::merged().after(cursor)).await;
    assert_eq!(elsewhere, Err(QueryError::Cursor(CursorError::OtherStore)));
    let arrival = node.query(Query::in_order(Order::Arrival).after(cursor)).await;
    assert_eq!(arrival, Err(QueryError::Cursor(CursorError::OtherOrder)));
    assert_eq!(node.query(Query::merged().limit(0)).await, Err(QueryError::Limit(0)));
    assert!(matches!(node.query(Query::merged().limit(10_001)).await, Err(QueryError::Limit(_))));
    let followed = node.follow(Filter::all(), From::Cursor(cursor)).await;
    assert!(matches!(followed, Err(QueryError::Cursor(CursorError::OtherOrder))));
}

#[tokio::test]
async fn an_entry_that_is_not_there_is_not_found() {
    let node = in_memory().await;
    let id = EntryId { author: node.id(), seq: Seq(7), segment: None };
    assert_eq!(node.get(id).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_store_verifies_from_its_first_entry_to_its_last() {
    let directory = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let node = Node::open(Config::new(directory.path())).await.unwrap();
        let drafts = (0..9_000).map(|n| note("t", &format!("{life} {n}"))).collect();
        node.append_all(drafts).await.unwrap();
        if life == 2 {
            let verified =
                node.read(|reader| Ok(verify(reader, |_, _| {}))).await.unwrap().unwrap();
            assert_eq!((verified.entries, verified.authors), (27_000, 1));
            assert!(verified.segments >= 6);
        }
        node.shutdown().await.unwrap();
    }
}
