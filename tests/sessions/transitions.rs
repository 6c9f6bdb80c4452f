//! Transitions, and the context of a topic.

use serde_json::json;
use towline::node::series::Most;
use towline::session::{SessionError, Transition};
use towline::{Config, Draft, Node};

use crate::{both, log, says, topic};

fn step(from: &str, to: &str) -> Transition {
    Transition { from: from.to_owned(), to: to.to_owned(), event: Some(json!({"by": "test"})) }
}

#[tokio::test]
async fn steps_are_read_back_in_order_and_nothing_else_is() {
    for (node, _directory) in both().await {
        let transitions = log(&node, "acme").transitions();
        let story = topic("story/42");
        let unknown = transitions.read(story.clone()).await;
        assert!(matches!(unknown, Err(SessionError::UnknownThread { .. })));
        transitions.record(story.clone(), &step("backlog", "coding")).await.unwrap();
        log(&node, "acme").thread(story.clone()).append(vec![says("a remark")]).await.unwrap();
        assert_eq!(transitions.record(story.clone(), &step("coding", "done")).await, Ok(3));
        let odd = Draft::json("story/42", "transition", &json!({"to": 1})).unwrap();
        node.append(odd.for_tenant("acme").unwrap()).await.unwrap();
        let read = transitions.read(story).await.unwrap();
        let steps: Vec<Transition> = read.iter().map(|(step, _)| step.clone()).collect();
        assert_eq!(steps, [step("backlog", "coding"), step("coding", "done")]);
        assert_eq!(read[0].1.entry.body.attributes["to"], "coding");
        node.shutdown().await.unwrap();
    }
}

/// A ring of four, and a burst that it can't hold: the log states which events were dropped, and so
/// does the context.
#[tokio::test]
async fn a_context_is_the_newest_lines_with_what_was_dropped() {
    let node = Node::open(Config::in_memory().emit_ring(4)).await.unwrap();
    let thread = log(&node, "acme").thread(topic("t"));
    thread.append(vec![says("before")]).await.unwrap();
    let event = |n: u32| {
        Draft::text("t", "message", format!("event {n}")).unwrap().for_tenant("acme").unwrap()
    };
    node.emit_all((0..64).map(event).collect()).unwrap();
    let mut follow = node.follow(towline::Filter::all(), towline::From::Start).await.unwrap();
    loop {
        if let Some(towline::Followed::Entry { entry, .. }) = follow.next().await.unwrap()
            && entry.body.data.ends_with(b"event 63")
        {
            break;
        }
    }
    let context = thread.context(8_000).await.unwrap();
    let lines: Vec<&str> = context.lines().collect();
    assert!(lines[0].ends_with("message: before"), "{context}");
    assert!(lines.contains(&"events between 0 and 59 were dropped"), "{context}");
    assert!(context.ends_with("message: event 63\n"), "{context}");
    let short = thread.context(150).await.unwrap();
    assert!(
        short.chars().count() <= 150 && short.contains("earlier entries are left out"),
        "{short}"
    );
    assert!(short.ends_with("message: event 63\n"), "{short}");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn steps_are_read_in_pages_of_any_length() {
    for (node, _directory) in both().await {
        let transitions = log(&node, "acme").transitions();
        let story = topic("story/42");
        for n in 0..7 {
            transitions.record(story.clone(), &step(&n.to_string(), "on")).await.unwrap();
            log(&node, "acme").thread(story.clone()).append(vec![says("a remark")]).await.unwrap();
        }
        log(&node, "acme").thread(story.clone()).archive_before(3).await.unwrap();
        let (mut after, mut read) = (None, Vec::new());
        loop {
            let page = transitions.page(story.clone(), after, Most::entries(2)).await.unwrap();
            assert!(page.steps.len() <= 2);
            read.extend(page.steps);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let found: Vec<_> =
            read.iter().map(|(step, it)| (step.from.as_str(), it.ordinal)).collect();
        assert_eq!(found, [("2", 5), ("3", 7), ("4", 9), ("5", 11), ("6", 13)]);
        assert_eq!(transitions.read(story).await.unwrap(), read);
        node.shutdown().await.unwrap();
    }
}
