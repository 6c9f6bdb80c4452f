//! The same answers on every node after convergence.

use towline::Node;
use towline::session::{Origin, TenantLog};

use crate::support::{config, members, until_equal};
use crate::transcripts::place;
use crate::{log, numbered, says, session, texts, topic, transcript};

async fn three(directory: &std::path::Path) -> Vec<Node> {
    let m = members(3);
    let mut nodes = Vec::new();
    for (n, member) in m.iter().enumerate() {
        let others: Vec<_> = (0..3).filter(|other| *other != n).map(|other| &m[other]).collect();
        let config = config(&directory.join(n.to_string()), member, &others);
        nodes.push(Node::open(config).await.unwrap());
    }
    nodes
}

fn logs(nodes: &[Node]) -> Vec<TenantLog> {
    nodes.iter().map(|node| log(node, "acme")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_one_writer_is_numbered_and_archived_alike_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = three(directory.path()).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let logs = logs(&nodes);
    for n in 0..20 {
        logs[0].thread(topic("t")).append(vec![says(&n.to_string())]).await.unwrap();
    }
    until_equal(&all, 20).await;
    let archived = logs[1].thread(topic("t")).archive_before(12).await.unwrap();
    assert_eq!(archived.count, 12);
    until_equal(&all, 21).await;
    let expected = numbered(&logs[0].thread(topic("t")).load_since(0).await.unwrap());
    assert_eq!(expected.first(), Some(&(13, "12".to_owned())));
    for log in &logs {
        let thread = log.thread(topic("t"));
        assert_eq!(numbered(&thread.load_since(0).await.unwrap()), expected);
        assert_eq!(thread.standing().await.unwrap().unwrap().watermark, 12);
    }
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_archiving_hides_is_the_same_entries_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = three(directory.path()).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let logs = logs(&nodes);
    let writing = logs.iter().enumerate().map(|(n, log)| {
        let thread = log.thread(topic("t"));
        async move {
            for k in 0..30 {
                thread.append(vec![says(&format!("{n}/{k}"))]).await.unwrap();
            }
        }
    });
    for write in writing.map(tokio::spawn).collect::<Vec<_>>() {
        write.await.unwrap();
    }
    until_equal(&all, 90).await;
    logs[0].thread(topic("t")).archive_before(40).await.unwrap();
    logs[2].thread(topic("t")).archive_before(25).await.unwrap();
    until(&all, 91..=92).await;
    let mut seen = Vec::new();
    for log in &logs {
        let mut left = texts(&log.thread(topic("t")).load_since(0).await.unwrap());
        left.sort();
        seen.push(left);
    }
    assert!(seen[0].len() <= 50);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    // What is archived is not said to be left out, wherever it lies among the rest.
    for characters in [600, 100_000] {
        let expected = logs[0].thread(topic("t")).context(characters).await.unwrap();
        assert_eq!(expected.contains("left out"), characters == 600, "{expected}");
        for log in &logs[1..] {
            assert_eq!(log.thread(topic("t")).context(characters).await.unwrap(), expected);
        }
    }
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
}

async fn until(nodes: &[&Node], entries: std::ops::RangeInclusive<u64>) {
    crate::support::until(nodes, |statuses| {
        statuses.iter().all(|s| entries.contains(&s.entries) && s.frontier == statuses[0].frontier)
    })
    .await;
}

/// Two nodes extend one transcript at the same time, and all three read the same fork.
#[tokio::test(flavor = "multi_thread")]
async fn writers_on_two_nodes_end_as_a_fork_that_all_nodes_read_alike() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = three(directory.path()).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let logs = logs(&nodes);
    let name = transcript("t");
    logs[0].begin_transcript(&place("s", "t", Origin::Start), vec![says("one")]).await.unwrap();
    until_equal(&all, 4).await;
    let mut a = logs[0].transcript_writer(&name, None).await.unwrap();
    let mut b = logs[1].transcript_writer(&name, None).await.unwrap();
    for n in 0..3 {
        a.append(vec![says(&format!("a{n}"))]).await.unwrap();
        b.append(vec![says(&format!("b{n}"))]).await.unwrap();
    }
    until_equal(&all, 10).await;
    assert_eq!(texts(&a.read().await.unwrap().entries), ["one", "a0", "a1", "a2"]);
    assert_eq!(texts(&b.read().await.unwrap().entries), ["one", "b0", "b1", "b2"]);
    let expected = logs[0].transcript(&name).await.unwrap();
    assert_eq!(expected.forks.len(), 1);
    let branch = logs[0].transcript_through(&name, Some(expected.forks[0].first)).await.unwrap();
    for log in &logs {
        let read = log.transcript(&name).await.unwrap();
        assert_eq!(texts(&read.entries), texts(&expected.entries));
        assert_eq!((read.tip, &read.forks), (expected.tip, &expected.forks));
        let other = log.transcript_through(&name, Some(read.forks[0].first)).await.unwrap();
        assert_eq!(texts(&other.entries), texts(&branch.entries));
    }
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_alike_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = three(directory.path()).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let logs = logs(&nodes);
    for n in 0..4 {
        for (at, log) in logs.iter().enumerate() {
            let place = place(&format!("s{at}-{n}"), &format!("t{at}-{n}"), Origin::Start);
            log.begin_transcript(&place, vec![says("x")]).await.unwrap();
        }
    }
    until_equal(&all, 48).await;
    let expected = logs[0].sessions(None, 100).await.unwrap();
    assert_eq!(expected.sessions.len(), 12);
    let first = logs[0].sessions(None, 5).await.unwrap();
    for log in &logs {
        assert_eq!(log.sessions(None, 100).await.unwrap(), expected);
        let rest = log.sessions(first.next, 100).await.unwrap();
        assert_eq!(
            rest.sessions[..],
            expected.sessions[5..],
            "a cursor of another node holds here"
        );
        let listed = log.transcripts(&session("s1-2"), None, 100).await.unwrap();
        assert_eq!(listed.transcripts.len(), 1);
    }
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
}

/// Two nodes that know nothing of each other begin one session, and step through one story.
#[tokio::test(flavor = "multi_thread")]
async fn what_two_nodes_begin_apart_is_listed_once_and_their_steps_by_author() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(3);
    for n in 0..2 {
        let others: Vec<_> = (0..3).filter(|other| *other != n).map(|other| &m[other]).collect();
        let config = config(&directory.path().join(n.to_string()), &m[n], &others);
        let node = Node::open(config).await.unwrap();
        let acme = log(&node, "acme");
        let place = place("s", &format!("t{n}"), Origin::Start);
        acme.begin_transcript(&place, Vec::new()).await.unwrap();
        for to in ["coding", "review"] {
            let (from, to) = (n.to_string(), to.to_owned());
            let step = towline::session::Transition { from, to, event: None };
            acme.transitions().record(topic("story"), &step).await.unwrap();
        }
        node.shutdown().await.unwrap();
    }
    let nodes = three(directory.path()).await;
    until_equal(&nodes.iter().collect::<Vec<_>>(), 10).await;
    for log in logs(&nodes) {
        let listed = log.sessions(None, 10).await.unwrap().sessions;
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!((listed[0].transcripts, listed[0].newest.as_str()), (2, "t1"));
        let steps = log.transitions().read(topic("story")).await.unwrap();
        let places: Vec<_> = steps.iter().map(|(_, it)| (it.entry.author, it.entry.seq)).collect();
        assert!(places.len() == 4 && places.is_sorted(), "{places:?}");
    }
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
}
