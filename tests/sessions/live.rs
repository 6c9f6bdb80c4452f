//! Snapshots and what comes after them: topics, feeds and sessions.

use std::collections::BTreeMap;

use towline::node::series::Most;
use towline::node::{Delivery, Filter, Persona};
use towline::session::{
    Announce, Event, FeedFrom, Mirrored, Next, Origin, Seen, SessionError, Tail, Told,
};
use towline::words::Kind;
use towline::{Config, Draft, Followed, From, Node};

use crate::transcripts::place;
use crate::{both, log, says, session, soon, text, texts, topic, transcript};

async fn entry(tail: &mut Tail) -> String {
    match soon(tail.next()).await.unwrap() {
        Some(Told::Entry(numbered)) => text(&numbered),
        other => panic!("an entry was to come, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_given_at_once_and_then_live_without_a_hole_or_a_repetition() {
    for (node, _directory) in both().await {
        let thread = log(&node, "acme").thread(topic("t"));
        let writer = thread.clone();
        let writing = tokio::spawn(async move {
            for n in 0..300 {
                writer.append(vec![says(&n.to_string())]).await.unwrap();
            }
        });
        while thread.standing().await.unwrap().is_none_or(|standing| standing.end < 50) {
            tokio::task::yield_now().await;
        }
        let (snapshot, mut tail) = thread.follow(Most::entries(1_000)).await.unwrap();
        let mut seen = texts(&snapshot.entries);
        assert_eq!(seen.len() as u64, snapshot.through);
        while seen.len() < 300 {
            seen.push(entry(&mut tail).await);
        }
        let expected: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        assert_eq!(seen, expected);
        writing.await.unwrap();
        node.shutdown().await.unwrap();
        assert_eq!(soon(tail.next()).await, Ok(None));
    }
}

#[tokio::test]
async fn what_is_recorded_only_is_in_the_snapshot_and_not_live() {
    let quiet = Kind::parse("metric").unwrap();
    let config = Config::in_memory().delivery(quiet, Delivery::RecordOnly);
    let node = Node::open(config).await.unwrap();
    let thread = log(&node, "acme").thread(topic("t"));
    let metric = |text: &str| Event::text("metric", text).unwrap();
    thread.append(vec![metric("m1"), says("a")]).await.unwrap();
    let (snapshot, mut tail) = thread.follow(Most::entries(10)).await.unwrap();
    assert_eq!(texts(&snapshot.entries), ["m1", "a"]);
    thread.append(vec![metric("m2"), says("b")]).await.unwrap();
    assert_eq!(entry(&mut tail).await, "b");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_laggard_is_given_a_new_snapshot_and_goes_on() {
    let node = Node::open(Config::in_memory()).await.unwrap();
    let thread = log(&node, "acme").thread(topic("t"));
    thread.append(vec![says("first")]).await.unwrap();
    let (_, mut tail) = thread.follow(Most::entries(10)).await.unwrap();
    for _ in 0..5 {
        thread.append((0..4_000).map(|n| says(&n.to_string())).collect()).await.unwrap();
    }
    let Some(Told::Reset(snapshot)) = soon(tail.next()).await.unwrap() else {
        panic!("20,000 entries behind is a laggard");
    };
    assert_eq!((snapshot.entries.len(), snapshot.through), (10, 20_001));
    assert_eq!(tail.left_out(), 20_000 - 10);
    thread.append(vec![says("next")]).await.unwrap();
    assert_eq!(entry(&mut tail).await, "next");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_tail_whose_place_is_archived_is_given_what_is_left() {
    for (node, _directory) in both().await {
        let thread = log(&node, "acme").thread(topic("t"));
        thread.append(vec![says("a")]).await.unwrap();
        let (_, mut tail) = thread.follow(Most::entries(10)).await.unwrap();
        thread.append(vec![says("b")]).await.unwrap();
        thread.append(vec![says("c")]).await.unwrap();
        thread.archive_before(2).await.unwrap();
        let Some(Told::Reset(snapshot)) = soon(tail.next()).await.unwrap() else {
            panic!("what came next is archived");
        };
        assert_eq!(texts(&snapshot.entries), ["c"]);
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_feed_holds_all_topics_of_its_tenant_and_no_other() {
    for (node, _directory) in both().await {
        let (acme, other) = (log(&node, "acme"), log(&node, "other"));
        acme.thread(topic("t"))
            .append(vec![says("a"), Event::text("noise", "x").unwrap()])
            .await
            .unwrap();
        other.thread(topic("t")).append(vec![says("hidden")]).await.unwrap();
        acme.thread(topic("u")).append(vec![says("b")]).await.unwrap();
        let feed = acme.feed().without(Kind::parse("noise").unwrap());
        assert_eq!(feed.latest().await, Ok(3));
        let mut tail = feed.follow(FeedFrom::Start).await.unwrap();
        let mut latest = feed.follow(FeedFrom::Latest).await.unwrap();
        let mut after = feed.follow(FeedFrom::After(2)).await.unwrap();
        acme.thread(topic("v")).append(vec![says("c")]).await.unwrap();
        for (tail, expected) in [
            (&mut tail, &[(1, "a"), (3, "b"), (4, "c")][..]),
            (&mut after, &[(3, "b"), (4, "c")]),
            (&mut latest, &[(4, "c")]),
        ] {
            for (position, said) in expected {
                let Some(Told::Entry(next)) = soon(tail.next()).await.unwrap() else { panic!() };
                assert_eq!((next.ordinal, text(&next).as_str()), (*position, *said));
            }
        }
        let beyond = feed.follow(FeedFrom::After(5)).await.map(drop);
        assert_eq!(beyond, Err(SessionError::CursorBeyondEnd { cursor: 5, end: 4 }));
        assert_eq!(feed.dropped().await, Ok(0));
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_below_what_a_feed_replays_is_told_to_begin_anew() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    let thread = log(&node, "acme").thread(topic("t"));
    thread.append((1..=10).map(|n| says(&n.to_string())).collect()).await.unwrap();
    assert_eq!(
        log(&node, "acme").feed().retaining(3).floor().await,
        Ok(0),
        "all came since the start"
    );
    node.shutdown().await.unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    let feed = log(&node, "acme").feed().retaining(3);
    log(&node, "acme").thread(topic("t")).append(vec![says("11")]).await.unwrap();
    assert_eq!(feed.floor().await, Ok(7));
    let mut tail = feed.follow(FeedFrom::After(6)).await.unwrap();
    let Some(Told::Reset(fresh)) = soon(tail.next()).await.unwrap() else { panic!("6 is below 7") };
    assert_eq!(fresh.through, 11);
    let mut tail = feed.follow(FeedFrom::Start).await.unwrap();
    let Some(Told::Entry(first)) = soon(tail.next()).await.unwrap() else { panic!() };
    assert_eq!(text(&first), "8");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_viewer_is_told_of_entries_cuts_and_new_transcripts() {
    for (node, _directory) in both().await {
        let acme = log(&node, "acme");
        let (name, of) = (transcript("t"), session("s"));
        acme.begin_transcript(&place("s", "t", Origin::Start), vec![says("one")]).await.unwrap();
        let (scene, mut mirror) = acme.mirror(&of, Most::entries(100)).await.unwrap();
        assert_eq!(texts(&scene.transcript.entries), ["one"]);
        acme.extend_transcript(&name, None, vec![says("two"), says("three")]).await.unwrap();
        for expected in ["two", "three"] {
            let told = soon(mirror.next()).await.unwrap();
            assert!(matches!(&told, Some(Mirrored::Entry(it)) if text(it) == expected), "{told:?}");
        }
        acme.truncate_transcript(&name, None, 1).await.unwrap();
        let Some(Mirrored::Reset(scene)) = soon(mirror.next()).await.unwrap() else { panic!() };
        assert_eq!(texts(&scene.transcript.entries), ["one"]);
        let fork = Origin::Fork { of: "t".to_owned(), at: 1 };
        acme.begin_transcript(&place("s", "u", fork.clone()), vec![says("anew")]).await.unwrap();
        let Some(Mirrored::Began(scene)) = soon(mirror.next()).await.unwrap() else { panic!() };
        assert_eq!(
            (scene.origin(), texts(&scene.transcript.entries)),
            (&fork, vec!["anew".to_owned()])
        );
        acme.extend_transcript(&name, None, vec![says("of the old one")]).await.unwrap();
        acme.extend_transcript(&transcript("u"), None, vec![says("more")]).await.unwrap();
        let told = soon(mirror.next()).await.unwrap();
        assert!(matches!(&told, Some(Mirrored::Entry(it)) if text(it) == "more"), "{told:?}");
        node.shutdown().await.unwrap();
        assert_eq!(soon(mirror.next()).await, Ok(None));
    }
}

#[tokio::test]
async fn a_restored_transcript_takes_its_place_without_a_word() {
    let node = Node::open(Config::in_memory()).await.unwrap();
    let acme = log(&node, "acme");
    acme.begin_transcript(&place("s", "t", Origin::Start), vec![says("one")]).await.unwrap();
    let (_, mut mirror) = acme.mirror(&session("s"), Most::entries(100)).await.unwrap();
    let mut quiet = place("s", "restored", Origin::Start);
    quiet.announce = Announce::Quietly;
    acme.begin_transcript(&quiet, vec![says("one"), says("two")]).await.unwrap();
    acme.extend_transcript(&transcript("restored"), None, vec![says("three")]).await.unwrap();
    let told = soon(mirror.next()).await.unwrap();
    assert!(matches!(&told, Some(Mirrored::Entry(it)) if text(it) == "three"), "{told:?}");
    let (scene, _) = acme.mirror(&session("s"), Most::entries(100)).await.unwrap();
    assert_eq!(texts(&scene.transcript.entries), ["one", "two", "three"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_viewer_of_a_forked_transcript_sees_its_line() {
    let node = Node::open(Config::in_memory()).await.unwrap();
    let acme = log(&node, "acme");
    let name = transcript("t");
    acme.begin_transcript(&place("s", "t", Origin::Start), vec![says("one")]).await.unwrap();
    let mut first = acme.transcript_writer(&name, None).await.unwrap();
    let mut second = acme.transcript_writer(&name, None).await.unwrap();
    let (_, mut mirror) = acme.mirror(&session("s"), Most::entries(100)).await.unwrap();
    first.append(vec![says("1a")]).await.unwrap();
    second.append(vec![says("2a")]).await.unwrap();
    first.append(vec![says("1b")]).await.unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "1b") {
        match soon(mirror.next()).await.unwrap().unwrap() {
            Mirrored::Entry(it) => seen.push(text(&it)),
            Mirrored::Reset(scene) => seen = texts(&scene.transcript.entries),
            Mirrored::Began(_) => panic!("nothing began"),
        }
    }
    assert!(seen == ["1a", "1b"] || seen == ["one", "1a", "1b"], "{seen:?}");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_persona_hears_what_it_wants() {
    for (node, _directory) in both().await {
        let acme = log(&node, "acme");
        let none = acme.persona("reviewer").await;
        assert!(matches!(none, Err(SessionError::NotFound { what: "persona", .. })));
        assert!(matches!(acme.persona("a b").await, Err(SessionError::InvalidName { .. })));
        let of = |kind: &str| Persona { kinds: [kind.to_owned()].into(), ..Persona::default() };
        acme.set_persona("reviewer", &of("message")).await.unwrap();
        acme.set_persona("reviewer", &of("review")).await.unwrap();
        acme.set_persona("other", &of("message")).await.unwrap();
        let persona = acme.persona("reviewer").await.unwrap();
        assert_eq!(persona, of("review"));
        let all = BTreeMap::from([
            ("other".to_owned(), of("message")),
            ("reviewer".to_owned(), of("review")),
        ]);
        assert_eq!(acme.personas(None, Most::entries(9)).await.unwrap().personas, all);
        let first = acme.personas(None, Most::entries(1)).await.unwrap();
        assert_eq!(first.next.as_deref(), first.personas.keys().next().map(String::as_str));
        let rest = acme.personas(first.next.as_deref(), Most::entries(1)).await.unwrap();
        assert_eq!((rest.personas.keys().next(), rest.next), (Some(&"reviewer".to_owned()), None));
        let filter = Filter { persona: Some(persona), ..Filter::all() };
        let mut follow = node.follow(filter, From::End).await.unwrap();
        node.append(Draft::text("t", "message", "not this").unwrap()).await.unwrap();
        node.append(Draft::text("t", "review", "this").unwrap()).await.unwrap();
        assert_eq!(follow.next().await.unwrap(), Some(Followed::CaughtUp));
        let Some(Followed::Entry { entry, .. }) = follow.next().await.unwrap() else { panic!() };
        assert_eq!(&entry.body.data[..], b"this");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_has_no_room_is_put_back_and_told_again() {
    for (node, _directory) in both().await {
        let acme = log(&node, "acme");
        acme.begin_transcript(&place("s", "t", Origin::Start), vec![says("one")]).await.unwrap();
        let name = transcript("t");
        let mut tail = acme.thread(topic("transcript/t")).tail(Most::entries(10)).await.unwrap();
        let mut mirror = acme.mirror_later(&session("s"), Most::entries(10)).await.unwrap();
        // A snapshot is not made before there is room for it, and is asked for until then.
        for _ in 0..2 {
            assert_eq!(soon(tail.look()).await, Ok(Some(Next::Reset)));
            assert_eq!(soon(mirror.look()).await, Ok(Some(Seen::Reset)));
        }
        assert_eq!(tail.renew().await.unwrap().through, 2);
        assert_eq!(texts(&mirror.renew().await.unwrap().transcript.entries), ["one"]);
        let said: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        for text in &said {
            acme.extend_transcript(&name, None, vec![says(text)]).await.unwrap();
        }
        for expected in &said {
            for _ in 0..2 {
                let Some(Next::Entry(next)) = soon(tail.look()).await.unwrap() else { panic!() };
                assert_eq!(text(&next), *expected);
                tail.put_back(&next);
                let seen = soon(mirror.look()).await.unwrap();
                assert!(
                    matches!(&seen, Some(Seen::Entry(it)) if text(it) == *expected),
                    "{seen:?}"
                );
                mirror.put_back();
            }
            assert_eq!(entry(&mut tail).await, *expected);
            assert!(matches!(soon(mirror.next()).await, Ok(Some(Mirrored::Entry(_)))));
        }
        tail.forget();
        assert_eq!(soon(tail.look()).await, Ok(Some(Next::Reset)));
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_viewer_of_one_branch_hears_nothing_of_another() {
    for (node, _directory) in both().await {
        let acme = log(&node, "acme");
        acme.begin_transcript(&place("s", "t", Origin::Start), vec![says("one")]).await.unwrap();
        let name = transcript("t");
        let mut first = acme.transcript_writer(&name, None).await.unwrap();
        let mut second = acme.transcript_writer(&name, None).await.unwrap();
        first.append(vec![says("1")]).await.unwrap();
        let (scene, mut mirror) = acme.mirror(&session("s"), Most::entries(10)).await.unwrap();
        assert_eq!(texts(&scene.transcript.entries), ["one", "1"]);
        let mut expected = Vec::new();
        for n in 2..30 {
            second.append(vec![says(&format!("elsewhere {n}"))]).await.unwrap();
            first.append(vec![says(&n.to_string())]).await.unwrap();
            expected.push(n.to_string());
        }
        let mut heard = Vec::new();
        while heard.len() < expected.len() {
            match soon(mirror.next()).await.unwrap() {
                Some(Mirrored::Entry(it)) => heard.push(text(&it)),
                other => panic!("the line is what it was: {other:?}"),
            }
            if heard.len() % 5 == 0 {
                mirror.put_back();
                let again = soon(mirror.next()).await.unwrap();
                assert!(
                    matches!(&again, Some(Mirrored::Entry(it)) if Some(&text(it)) == heard.last())
                );
            }
        }
        assert_eq!(heard, expected);
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_scene_has_the_newest_entries_of_a_long_transcript() {
    let node = Node::open(Config::in_memory()).await.unwrap();
    let acme = log(&node, "acme");
    let events = (0..50).map(|n| says(&n.to_string())).collect();
    acme.begin_transcript(&place("s", "t", Origin::Start), events).await.unwrap();
    let (scene, _) = acme.mirror(&session("s"), Most::entries(3)).await.unwrap();
    assert_eq!(texts(&scene.transcript.entries), ["47", "48", "49"]);
    assert_eq!((scene.transcript.preceding, scene.transcript.length), (47, 50));
    node.shutdown().await.unwrap();
}
