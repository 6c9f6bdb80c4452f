//! Sessions and transcripts: begun, extended, cut, forked, found and listed.

use proptest::prelude::*;
use towline::node::Node;
use towline::node::series::Most;
use towline::session::{Announce, Origin, Place, SessionError, TenantLog, Window};
use towline::words::EntryId;
use towline::{Config, Draft};

use crate::{both, log, says, session, soon, text, texts, topic, transcript};

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
        let listed = acme.transcripts(&session("u"), None, 100).await;
        assert_eq!(listed, Err(not_found("session", "u")));
        let mirrored = acme.mirror(&session("u"), Most::entries(100)).await;
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
        assert_eq!(refused, Err(SessionError::SaysWhatItFollows));
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
            .transcripts(&session("s"), None, 100)
            .await
            .unwrap()
            .transcripts
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

/// All pages of a transcript from its beginning, and the same from its end.
async fn paged(acme: &TenantLog, through: Option<EntryId>, entries: usize) -> Vec<String> {
    let (name, most) = (transcript("t"), Most::entries(entries));
    let (mut forward, mut window) = (Vec::new(), Window::First);
    loop {
        let page = acme.transcript_part(&name, through, window, most).await.unwrap();
        assert_eq!(page.preceding, forward.len() as u64);
        assert!(page.entries.len() <= entries);
        forward.extend(texts(&page.entries));
        match page.next {
            Some(next) => window = Window::After(next),
            None => break,
        }
    }
    let mut page = acme.transcript_part(&name, through, Window::Newest, most).await.unwrap();
    let mut backward = page.entries.clone();
    while page.preceding > 0 {
        let window = Window::Before(backward[0].entry.id());
        page = acme.transcript_part(&name, through, window, most).await.unwrap();
        backward.splice(0..0, page.entries.clone());
    }
    assert_eq!(texts(&backward), forward);
    forward
}

#[tokio::test]
async fn pages_of_a_transcript_make_up_its_line() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let name = transcript("t");
        let mut other = acme.transcript_writer(&name, None).await.unwrap();
        for n in 0..9 {
            acme.extend_transcript(
                &name,
                None,
                vec![says(&format!("{n}a")), says(&format!("{n}b"))],
            )
            .await
            .unwrap();
        }
        let last = other.append(vec![says("elsewhere")]).await.unwrap().tip;
        for n in 0..5 {
            other.append(vec![says(&format!("elsewhere {n}"))]).await.unwrap();
        }
        for (through, length) in [(None, 20), (Some(last), 8)] {
            let whole = acme.transcript_through(&name, through).await.unwrap();
            assert_eq!((whole.entries.len(), whole.next), (length, None));
            for entries in [1, 3, 7, 100] {
                assert_eq!(paged(&acme, through, entries).await, texts(&whole.entries));
            }
        }
        let small = Most { entries: 100, bytes: 1 };
        let page = acme.transcript_part(&name, None, Window::First, small).await.unwrap();
        assert_eq!(texts(&page.entries), ["one"], "a page has an entry, however short it is");
        // Branches are named where they leave the line.
        let first = Most::entries(2);
        let page = acme.transcript_part(&name, None, Window::First, first).await.unwrap();
        assert_eq!((page.branches, page.forks.len()), (1, 0));
        let rest = Window::After(page.next.unwrap());
        let page = acme.transcript_part(&name, None, rest, first).await.unwrap();
        assert_eq!((page.branches, page.forks.len(), page.forks[0].at), (1, 1, 2));
        // An entry of another branch says which one is meant, unless that was said.
        let on = acme.transcript_part(&name, None, Window::After(last), first).await.unwrap();
        assert_eq!(texts(&on.entries), ["elsewhere 0", "elsewhere 1"]);
        let line = acme.transcript(&name).await.unwrap().tip;
        let both = acme.transcript_part(&name, Some(line), Window::After(last), first).await;
        assert!(matches!(both, Err(SessionError::NoSuchEntry { .. })), "{both:?}");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_page_after_an_entry_that_was_cut_is_refused() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let name = transcript("t");
        let cut = acme.extend_transcript(&name, None, vec![says("three")]).await.unwrap().tip;
        acme.truncate_transcript(&name, None, 2).await.unwrap();
        let after = acme.transcript_part(&name, None, Window::After(cut), Most::entries(9)).await;
        assert!(matches!(after, Err(SessionError::NoSuchEntry { .. })), "{after:?}");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn transcripts_of_a_session_are_listed_in_pages() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        for n in 0..6 {
            let place = place("s", &format!("t{n}"), Origin::Start);
            acme.begin_transcript(&place, Vec::new()).await.unwrap();
        }
        let stray = Draft::text("session/s", "message", "no announcement").unwrap();
        node.append(stray.for_tenant("acme").unwrap()).await.unwrap();
        let (mut after, mut names) = (None, Vec::new());
        loop {
            let page = acme.transcripts(&session("s"), after, 3).await.unwrap();
            assert!(page.transcripts.len() <= 3);
            names.extend(page.transcripts.iter().map(|it| it.transcript.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["t5", "t4", "t3", "t2", "t1", "t0", "t"]);
        // What is archived is in no list: not the transcripts, and not a session that has no other.
        acme.thread(topic("session/s")).archive_before(6).await.unwrap();
        let left = acme.transcripts(&session("s"), None, 10).await.unwrap().transcripts;
        assert_eq!(left.len(), 1);
        let listed = acme.sessions(None, 10).await.unwrap().sessions;
        assert_eq!((listed[0].transcripts, listed[0].newest.as_str()), (1, "t5"));
        acme.thread(topic("session/s")).archive_before(8).await.unwrap();
        assert!(acme.sessions(None, 10).await.unwrap().sessions.is_empty());
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_begin_one_transcript_on_one_node_one_begins_it() {
    for (node, _directory) in both().await {
        let acme = log(&node, "acme");
        for round in 0..10 {
            let name = format!("t{round}");
            let place = place("s", &name, Origin::Start);
            let begin = || acme.begin_transcript(&place, vec![says("x")]);
            let begun = futures_util::future::join_all((0..4).map(|_| begin())).await;
            let exists = Err(SessionError::Exists(name.clone()));
            assert_eq!(begun.iter().filter(|it| it.is_ok()).count(), 1, "{begun:?}");
            assert_eq!(begun.iter().filter(|it| **it == exists).count(), 3, "{begun:?}");
        }
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_extends_at_the_end_on_one_node_forks_nothing() {
    for (node, _directory) in both().await {
        let acme = begun(&node).await;
        let name = transcript("t");
        let writing = (0..8).map(|n| {
            let (acme, name) = (acme.clone(), name.clone());
            tokio::spawn(async move {
                for k in 0..5 {
                    let event = says(&format!("{n}.{k}"));
                    let extended = acme.extend_transcript(&name, None, vec![event]).await.unwrap();
                    assert!(!extended.forked);
                }
            })
        });
        for written in futures_util::future::join_all(writing).await {
            written.unwrap();
        }
        let read = acme.transcript(&name).await.unwrap();
        assert_eq!((read.length, read.branches), (42, 0));
        node.shutdown().await.unwrap();
    }
}

/// Each lifetime of a node is a segment, and the first one is let go.
#[tokio::test]
async fn a_transcript_whose_beginning_was_removed_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    let acme = begun(&node).await;
    node.shutdown().await.unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    let (acme, name) = (log(&node, acme.tenant().as_str()), transcript("t"));
    acme.extend_transcript(&name, None, vec![says("three"), says("four")]).await.unwrap();
    assert_eq!(node.let_go(Some(towline::words::Offset(5))).await.unwrap().segments, 1);
    let read = acme.transcript(&name).await;
    assert_eq!(read.map(drop), Err(SessionError::Removed("t".to_owned())));
    let left = acme.thread(topic("transcript/t")).load_since(0).await.unwrap();
    assert_eq!(texts(&left), ["three", "four"]);
    assert!(acme.sessions(None, 10).await.unwrap().sessions.is_empty());
    node.shutdown().await.unwrap();
}

/// What is done to a transcript. Places are taken modulo what there is.
#[derive(Clone, Debug)]
enum Act {
    /// Extends the line.
    Extend(u8),
    /// Extends an entry, wherever it is.
    ExtendAt(usize, u8),
    /// Cuts the line.
    Cut(usize),
    /// Cuts the branch of an entry.
    CutAt(usize, usize),
    Archive(usize),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..4u8).prop_map(Act::Extend),
        4 => (0..64usize, 1..3u8).prop_map(|(at, n)| Act::ExtendAt(at, n)),
        1 => (0..12usize).prop_map(Act::Cut),
        1 => (0..64usize, 0..12usize).prop_map(|(at, to)| Act::CutAt(at, to)),
        1 => (0..20usize).prop_map(Act::Archive),
        1 => Just(Act::Restart),
    ]
}

/// A transcript as a list of entries, each of which says what it follows.
#[derive(Default)]
struct Model {
    nodes: Vec<ModelNode>,
    archived: usize,
}

struct ModelNode {
    parent: Option<usize>,
    id: EntryId,
    /// What it says; none where it begins the transcript or cuts the line to so many.
    says: Result<String, Option<usize>>,
}

impl Model {
    fn under(&self, parent: usize) -> Option<usize> {
        self.nodes.iter().position(|node| node.parent == Some(parent))
    }

    /// The line through an entry: what it shows, its length, and its last entry.
    fn line(&self, through: usize) -> (Vec<String>, usize, usize) {
        let mut way = vec![through];
        while let Some(parent) = self.nodes[way[way.len() - 1]].parent {
            way.push(parent);
        }
        way.reverse();
        while let Some(next) = self.under(way[way.len() - 1]) {
            way.push(next);
        }
        let mut line: Vec<usize> = Vec::new();
        for at in &way {
            match &self.nodes[*at].says {
                Ok(_) => line.push(*at),
                Err(Some(to)) => line.truncate(*to),
                Err(None) => {}
            }
        }
        let shown = line.iter().filter(|at| **at >= self.archived);
        let shown = shown.filter_map(|at| self.nodes[*at].says.clone().ok()).collect();
        (shown, line.len(), way[way.len() - 1])
    }

    fn push(&mut self, parent: usize, id: EntryId, says: Result<String, Option<usize>>) {
        self.nodes.push(ModelNode { parent: Some(parent), id, says });
    }
}

async fn play(
    acts: &[Act],
    mut node: Node,
    directory: Option<&std::path::Path>,
) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let name = transcript("t");
    let begin = place("s", "t", Origin::Start);
    let begun = log(&node, "acme").begin_transcript(&begin, Vec::new()).await.unwrap();
    model.nodes.push(ModelNode { parent: None, id: begun.tip, says: Err(None) });
    for (n, act) in acts.iter().enumerate() {
        let acme = log(&node, "acme");
        let some = |at: usize| at % model.nodes.len();
        let (after, count) = match act {
            Act::Extend(count) => (None, *count),
            Act::ExtendAt(at, count) => (Some(some(*at)), *count),
            Act::Cut(to) | Act::CutAt(_, to) => {
                let through = match act {
                    Act::CutAt(at, _) => Some(some(*at)),
                    _ => None,
                };
                let (_, length, tip) = model.line(through.unwrap_or(0));
                let id = through.map(|at| model.nodes[at].id);
                let cut = acme.truncate_transcript(&name, id, *to as u64).await;
                prop_assert_eq!(cut.is_ok(), *to <= length, "{:?}", cut);
                if let Ok(cut) = cut {
                    model.push(tip, cut.tip, Err(Some(*to)));
                }
                continue;
            }
            Act::Archive(to) => {
                let to = to % (model.nodes.len() + 1);
                acme.thread(topic("transcript/t")).archive_before(to as u64).await.unwrap();
                model.archived = model.archived.max(to);
                continue;
            }
            Act::Restart => {
                if let Some(directory) = directory {
                    node.shutdown().await.unwrap();
                    node = Node::open(Config::new(directory)).await.unwrap();
                }
                continue;
            }
        };
        let parent = after.unwrap_or(model.line(0).2);
        let said: Vec<String> = (0..count).map(|k| format!("{n}.{k}")).collect();
        let events = said.iter().map(|text| says(text)).collect();
        let id = after.map(|at| model.nodes[at].id);
        let forks = model.under(parent).is_some();
        let done = acme.extend_transcript(&name, id, events).await.unwrap();
        prop_assert_eq!(done.forked, forks);
        let thread = acme.thread(topic("transcript/t"));
        let before = done.ordinal - u64::from(count);
        let mut last = parent;
        for numbered in thread.page(before, Most::entries(9)).await.unwrap().entries {
            let next = model.nodes.len();
            model.push(last, numbered.entry.id(), Ok(text(&numbered)));
            last = next;
        }
    }
    let acme = log(&node, "acme");
    for at in 0..model.nodes.len() {
        let (shown, length, tip) = model.line(at);
        let through = Some(model.nodes[at].id);
        let read = acme.transcript_through(&name, through).await.unwrap();
        prop_assert_eq!(texts(&read.entries), &shown[..]);
        prop_assert_eq!((read.length, read.tip), (length as u64, model.nodes[tip].id));
        let most = Most::entries(2);
        let (mut pages, mut window) = (Vec::new(), Window::First);
        loop {
            let page = acme.transcript_part(&name, through, window, most).await.unwrap();
            pages.extend(texts(&page.entries));
            match page.next {
                Some(next) => window = Window::After(next),
                None => break,
            }
        }
        prop_assert_eq!(pages, shown);
    }
    node.shutdown().await.unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn both_stores_read_a_transcript_as_a_tree_in_memory(
        acts in proptest::collection::vec(act(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let sqlite = Node::open(Config::new(directory.path())).await.unwrap();
            soon(play(&acts, sqlite, Some(directory.path()))).await?;
            play(&acts, Node::open(Config::in_memory()).await.unwrap(), None).await
        })?;
    }
}
