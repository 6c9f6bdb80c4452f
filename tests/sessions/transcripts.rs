//! Sessions and transcripts: begun, extended, cut, forked, found and listed.

use towline::Draft;
use towline::node::Node;
use towline::session::{Announce, Origin, Place, SessionError, TenantLog};

use crate::{both, log, says, session, texts, transcript};

pub fn place(of: &str, name: &str, origin: Origin) -> Place {
    let (session, transcript) = (session(of), transcript(name));
    Place { session, transcript, origin, announce: Announce::Live }
}

async fn begun(node: &Node) -> TenantLog {
    let acme = log(node, "acme");
    let events = vec![says("one"), says("two")];
    acme.begin_transcript(&place("s", "t", Origin::Start), events).await.unwrap();
    acme
}

#[tokio::test]
async fn a_transcript_holds_what_it_began_with_and_what_was_appended() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let name = transcript("t");
        let extended = acme.extend_transcript(&name, None, vec![says("three")]).await.unwrap();
        assert!(!extended.forked);
        let read = acme.transcript(&name).await.unwrap();
        assert_eq!(texts(&read.entries), ["one", "two", "three"]);
        assert_eq!((read.length, read.tip, read.waiting), (3, extended.tip, 0));
        assert_eq!((read.session, read.origin), (session("s"), Origin::Start));
        assert!(read.forks.is_empty());
        assert_eq!(acme.transcript_length(&name).await, Ok(3));
        assert_eq!(acme.session_of(&name).await, Ok(session("s")));
        assert_eq!(acme.transcript_exists(&name).await, Ok(true));
        assert_eq!(log(&node, "other").transcript_exists(&name).await, Ok(false));
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let not_found = |what, name: &str| SessionError::NotFound { what, name: name.to_owned() };
        let read = acme.transcript(&transcript("u")).await;
        assert_eq!(read.map(drop), Err(not_found("transcript", "u")));
        let of = acme.session_of(&transcript("u")).await;
        assert_eq!(of, Err(not_found("transcript", "u")));
        let listed = acme.transcripts(&session("u")).await;
        assert_eq!(listed, Err(not_found("session", "u")));
        let mirrored = acme.mirror(&session("u")).await;
        assert_eq!(mirrored.map(drop), Err(not_found("session", "u")));
        let traced = acme.trace(&transcript("u"), vec![says("x")]).await;
        assert_eq!(traced, Err(not_found("transcript", "u")));
        let again = acme.begin_transcript(&place("s", "t", Origin::Start), Vec::new()).await;
        assert_eq!(again, Err(SessionError::Exists("t".to_owned())));
        let beyond = Origin::Fork { of: "t".to_owned(), at: 3 };
        let forked = acme.begin_transcript(&place("s", "u", beyond), Vec::new()).await;
        assert!(matches!(forked, Err(SessionError::TooShort { length: 2, wanted: 3, .. })));
        let elsewhere = node.append(Draft::text("t", "note", "x").unwrap()).await.unwrap().id;
        let name = transcript("t");
        let extended = acme.extend_transcript(&name, Some(elsewhere), vec![says("x")]);
        assert!(matches!(extended.await, Err(SessionError::NoSuchEntry { .. })));
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_cut_transcript_is_its_prefix_and_goes_on_from_there() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let name = transcript("t");
        acme.extend_transcript(&name, None, vec![says("three"), says("four")]).await.unwrap();
        let beyond = acme.truncate_transcript(&name, None, 5).await;
        assert!(matches!(beyond, Err(SessionError::TooShort { length: 4, wanted: 5, .. })));
        acme.truncate_transcript(&name, None, 1).await.unwrap();
        assert_eq!(texts(&acme.transcript(&name).await.unwrap().entries), ["one"]);
        acme.extend_transcript(&name, None, vec![says("other")]).await.unwrap();
        assert_eq!(texts(&acme.transcript(&name).await.unwrap().entries), ["one", "other"]);
        acme.truncate_transcript(&name, None, 0).await.unwrap();
        assert_eq!(acme.transcript_length(&name).await, Ok(0));
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn two_writers_of_one_transcript_end_as_a_fork_that_both_can_read() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let name = transcript("t");
        let mut one = acme.transcript_writer(&name, None).await.unwrap();
        let mut two = acme.transcript_writer(&name, None).await.unwrap();
        assert!(!one.append(vec![says("1a")]).await.unwrap().forked);
        assert!(two.append(vec![says("2a")]).await.unwrap().forked);
        one.append(vec![says("1b")]).await.unwrap();
        two.append(vec![says("2b")]).await.unwrap();
        assert_eq!(texts(&one.read().await.unwrap().entries), ["one", "two", "1a", "1b"]);
        assert_eq!(texts(&two.read().await.unwrap().entries), ["one", "two", "2a", "2b"]);
        let line = acme.transcript(&name).await.unwrap();
        assert_eq!(texts(&line.entries), ["one", "two", "1a", "1b"]);
        assert_eq!(line.forks.len(), 1);
        assert_eq!(line.forks[0].at, 2);
        let branch = acme.transcript_through(&name, Some(line.forks[0].first)).await.unwrap();
        assert_eq!(texts(&branch.entries), ["one", "two", "2a", "2b"]);
        assert_eq!(branch.forks.len(), 1);
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_belong_to_a_transcript_is_found_at_its_place() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        node.append(Draft::text("gap", "note", "between").unwrap()).await.unwrap();
        let stray = Draft::text("transcript/t", "message", "stray").unwrap();
        node.append(stray.for_tenant("acme").unwrap()).await.unwrap();
        let read = acme.transcript(&transcript("t")).await;
        assert!(matches!(read, Err(SessionError::Corrupt { place: 4, .. })), "{read:?}");
        let mut hidden = says("x");
        hidden.attributes.insert("towline.after".to_owned(), "me".to_owned());
        let refused = acme.extend_transcript(&transcript("t"), None, vec![hidden]).await;
        assert!(matches!(refused, Err(SessionError::Draft(_))), "{refused:?}");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn sessions_and_transcripts_are_listed_newest_first() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let fork = Origin::Fork { of: "t".to_owned(), at: 1 };
        acme.begin_transcript(&place("s", "t2", fork.clone()), vec![says("x")]).await.unwrap();
        let compaction = Origin::Compaction { of: "t2".to_owned() };
        acme.begin_transcript(&place("s", "t3", compaction), Vec::new()).await.unwrap();
        for n in 0..5 {
            let place = place(&format!("s{n}"), &format!("of-s{n}"), Origin::Start);
            acme.begin_transcript(&place, Vec::new()).await.unwrap();
        }
        let names: Vec<String> = acme
            .transcripts(&session("s"))
            .await
            .unwrap()
            .iter()
            .map(|it| it.transcript.to_string())
            .collect();
        assert_eq!(names, ["t3", "t2", "t"]);
        let (mut after, mut listed) = (None, Vec::new());
        loop {
            let page = acme.sessions(after, 4).await.unwrap();
            listed.extend(page.sessions);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let names: Vec<String> = listed.iter().map(|it| it.session.to_string()).collect();
        assert_eq!(names, ["s4", "s3", "s2", "s1", "s0", "s"]);
        let oldest = listed.last().unwrap();
        assert_eq!((oldest.transcripts, oldest.newest.as_str()), (3, "t3"));
        assert!(log(&node, "other").sessions(None, 10).await.unwrap().sessions.is_empty());
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn traces_are_kept_apart() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let name = transcript("t");
        assert_eq!(acme.trace(&name, vec![says("called a tool")]).await, Ok(1));
        assert_eq!(acme.transcript_length(&name).await, Ok(2));
        let traces = acme.traces(&name).unwrap().load_since(0).await.unwrap();
        assert_eq!(texts(&traces), ["called a tool"]);
        node.shutdown().await.unwrap();
    }
}
