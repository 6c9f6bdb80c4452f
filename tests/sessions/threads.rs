//! Threads: numbered, loaded by cursor, archived; held against a model that is a list.

use proptest::prelude::*;
use towline::node::series::Most;
use towline::session::{Event, SessionError, ThreadStanding};
use towline::words::{Draft, Tenant};
use towline::{Config, Node};

use crate::{both, log, numbered, says, texts, topic};

#[tokio::test]
async fn an_append_returns_the_highest_ordinal_and_threads_are_numbered_apart() {
    for (node, _directory) in both().await {
        let (acme, other) = (log(&node, "acme"), log(&node, "other"));
        let events = |n: usize| (0..n).map(|n| says(&n.to_string())).collect::<Vec<_>>();
        assert_eq!(acme.thread(topic("t")).append(events(3)).await, Ok(3));
        assert_eq!(other.thread(topic("t")).append(events(1)).await, Ok(1));
        assert_eq!(acme.thread(topic("u")).append(events(2)).await, Ok(2));
        assert_eq!(acme.thread(topic("t")).append(events(1)).await, Ok(4));
        let since = acme.thread(topic("t")).load_since(2).await.unwrap();
        assert_eq!(numbered(&since), [(3, "2".to_owned()), (4, "0".to_owned())]);
        assert!(acme.thread(topic("t")).load_since(4).await.unwrap().is_empty());
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_has_an_error_of_its_own() {
    for (node, _directory) in both().await {
        let acme = log(&node, "acme");
        let thread = acme.thread(topic("t"));
        let unknown = thread.load_since(0).await;
        assert!(matches!(unknown, Err(SessionError::UnknownThread { .. })));
        assert!(matches!(thread.archive_before(0).await, Err(SessionError::UnknownThread { .. })));
        thread.append(vec![says("a"), says("b")]).await.unwrap();
        let beyond = SessionError::CursorBeyondEnd { cursor: 3, end: 2 };
        assert_eq!(thread.load_since(3).await, Err(beyond));
        let beyond = SessionError::WatermarkBeyondEnd { watermark: 3, end: 2 };
        assert_eq!(thread.archive_before(3).await, Err(beyond));
        let foreign = Draft::text("t", "note", "x").unwrap().for_tenant("other").unwrap();
        let refused = Event::of_draft(foreign, acme.tenant(), thread.topic());
        assert!(matches!(refused, Err(SessionError::Foreign { what: "tenant", .. })));
        let elsewhere = Draft::text("u", "note", "x").unwrap().for_tenant("acme").unwrap();
        let refused = Event::of_draft(elsewhere, acme.tenant(), thread.topic());
        assert!(matches!(refused, Err(SessionError::Foreign { what: "topic", .. })));
        assert!(log_of_towline(&node).is_err());
        let other = log(&node, "other").thread(topic("t")).load_since(0).await;
        assert!(matches!(other, Err(SessionError::UnknownThread { .. })));
        node.shutdown().await.unwrap();
    }
}

fn log_of_towline(node: &Node) -> Result<(), SessionError> {
    let tenant = Tenant::parse("towline").unwrap();
    towline::session::TenantLog::new(node.clone(), tenant).map(drop)
}

#[tokio::test]
async fn an_archived_thread_is_read_from_above_its_watermark() {
    for (node, _directory) in both().await {
        let thread = log(&node, "acme").thread(topic("t"));
        thread.append((1..=10).map(|n| says(&n.to_string())).collect()).await.unwrap();
        assert_eq!(thread.archive_before(4).await.unwrap().count, 4);
        assert_eq!(thread.archive_before(4).await.unwrap().count, 0);
        assert_eq!(thread.archive_before(2).await.unwrap().count, 0);
        assert_eq!(thread.load_since(0).await.unwrap()[0].ordinal, 5);
        assert_eq!(thread.load_since(3).await.unwrap().len(), 6);
        assert_eq!(thread.append(vec![says("11")]).await, Ok(11), "the statement takes no ordinal");
        assert_eq!(thread.archive_before(11).await.unwrap().count, 7);
        assert!(thread.load_since(0).await.unwrap().is_empty());
        let standing = ThreadStanding { end: 11, watermark: 11 };
        assert_eq!(thread.standing().await, Ok(Some(standing)));
        assert_eq!(texts(&thread.latest(Most::entries(5)).await.unwrap()), [] as [&str; 0]);
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    for (node, _directory) in both().await {
        let thread = log(&node, "acme").thread(topic("t"));
        for n in 0..7 {
            thread.append(vec![says(&format!("{n}a")), says(&format!("{n}b"))]).await.unwrap();
        }
        let (mut at, mut read) = (Some(0), Vec::new());
        while let Some(cursor) = at {
            let page = thread.page(cursor, Most::entries(3)).await.unwrap();
            assert!(page.entries.len() <= 3);
            read.extend(page.entries);
            at = page.next;
        }
        assert_eq!(read, thread.load_since(0).await.unwrap());
        assert_eq!(read.len(), 14);
        node.shutdown().await.unwrap();
    }
}

/// What a few groups of many topics became in the background: blocks, in which a thread has little.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_read_out_of_blocks_as_it_was_appended() {
    const TOPICS: usize = 40;
    for (node, _directory) in both().await {
        let mut models = vec![Vec::new(); TOPICS];
        for group in 0..3 {
            let drafts = (0..1_000).map(|n| {
                let at = (n / 8 + group) % TOPICS;
                let said = format!("{group}/{n} {}", "x".repeat(n % 300));
                models[at].push(said.clone());
                let draft = Draft::text(&format!("t{at}"), "note", said).unwrap();
                draft.for_tenant("acme").unwrap()
            });
            node.append_all(drafts.collect()).await.unwrap();
        }
        node.seal().await.unwrap();
        for (at, model) in models.iter().enumerate() {
            let thread = log(&node, "acme").thread(topic(&format!("t{at}")));
            assert_eq!(texts(&thread.load_since(0).await.unwrap()), *model);
            let newest = thread.latest(Most::entries(10)).await.unwrap();
            assert_eq!(texts(&newest), model[model.len() - 10..]);
            let numbers: Vec<u64> = newest.iter().map(|it| it.ordinal).collect();
            assert_eq!(numbers, (model.len() as u64 - 9..=model.len() as u64).collect::<Vec<_>>());
            thread.archive_before(11).await.unwrap();
            assert_eq!(texts(&thread.load_since(0).await.unwrap()), model[11..]);
            assert_eq!(
                texts(&thread.page(20, Most::entries(5)).await.unwrap().entries),
                model[20..25]
            );
        }
        let feed = log(&node, "acme").feed().latest().await.unwrap();
        assert_eq!(feed, 3_040, "what archives is said in the tenant's log, too");
        node.shutdown().await.unwrap();
    }
}

/// What is done to threads.
#[derive(Clone, Debug)]
enum Act {
    Append(usize, usize, u8),
    Archive(usize, usize, u64),
    Load(usize, usize, u64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..2usize, 0..2usize, 1..6u8).prop_map(|(a, b, n)| Act::Append(a, b, n)),
        2 => (0..2usize, 0..2usize, 0..16u64).prop_map(|(a, b, n)| Act::Archive(a, b, n)),
        3 => (0..2usize, 0..2usize, 0..20u64).prop_map(|(a, b, n)| Act::Load(a, b, n)),
        1 => Just(Act::Restart),
    ]
}

const TENANTS: [&str; 2] = ["acme", "other"];
const TOPICS: [&str; 2] = ["t", "u"];

/// A thread as a list.
#[derive(Clone, Debug, Default)]
struct Model {
    entries: Vec<String>,
    watermark: u64,
}

impl Model {
    fn load_since(&self, cursor: u64) -> Result<Vec<(u64, String)>, &'static str> {
        let end = self.entries.len() as u64;
        match () {
            () if end == 0 => Err("unknown"),
            () if cursor > end => Err("beyond"),
            () => {
                let numbered = (1..).zip(self.entries.iter().cloned());
                Ok(numbered.filter(|(n, _)| *n > cursor.max(self.watermark)).collect())
            }
        }
    }

    fn archive_before(&mut self, watermark: u64) -> Result<u64, &'static str> {
        let end = self.entries.len() as u64;
        match () {
            () if end == 0 => Err("unknown"),
            () if watermark > end => Err("beyond"),
            () => {
                let before = self.watermark;
                self.watermark = before.max(watermark);
                Ok(self.watermark - before)
            }
        }
    }
}

fn word(error: &SessionError) -> &'static str {
    match error {
        SessionError::UnknownThread { .. } => "unknown",
        SessionError::CursorBeyondEnd { .. } | SessionError::WatermarkBeyondEnd { .. } => "beyond",
        _ => "another error",
    }
}

async fn play(
    acts: &[Act],
    mut node: Node,
    directory: Option<&std::path::Path>,
) -> Result<(), TestCaseError> {
    let mut models: [[Model; 2]; 2] = Default::default();
    for (n, act) in acts.iter().enumerate() {
        let thread = |a: &usize, b: &usize| log(&node, TENANTS[*a]).thread(topic(TOPICS[*b]));
        match act {
            Act::Append(a, b, count) => {
                let texts: Vec<String> = (0..*count).map(|k| format!("{n}.{k}")).collect();
                let events = texts.iter().map(|text| says(text)).collect();
                let model = &mut models[*a][*b];
                model.entries.extend(texts);
                let ordinal = thread(a, b).append(events).await.unwrap();
                prop_assert_eq!(ordinal, model.entries.len() as u64);
            }
            Act::Archive(a, b, watermark) => {
                let found = thread(a, b).archive_before(*watermark).await;
                let found = found.map(|archived| archived.count).map_err(|e| word(&e));
                prop_assert_eq!(found, models[*a][*b].archive_before(*watermark));
            }
            Act::Load(a, b, cursor) => {
                let found = thread(a, b).load_since(*cursor).await;
                let found = found.map(|entries| numbered(&entries)).map_err(|e| word(&e));
                prop_assert_eq!(found, models[*a][*b].load_since(*cursor));
            }
            Act::Restart => {
                if let Some(directory) = directory {
                    node.shutdown().await.unwrap();
                    node = Node::open(Config::new(directory)).await.unwrap();
                }
            }
        }
    }
    for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let found = log(&node, TENANTS[a]).thread(topic(TOPICS[b])).load_since(0).await;
        let found = found.map(|entries| numbered(&entries)).map_err(|e| word(&e));
        prop_assert_eq!(found, models[a][b].load_since(0));
    }
    node.shutdown().await.unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn both_stores_are_as_a_list_in_memory(acts in proptest::collection::vec(act(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let sqlite = Node::open(Config::new(directory.path())).await.unwrap();
            play(&acts, sqlite, Some(directory.path())).await?;
            play(&acts, Node::open(Config::in_memory()).await.unwrap(), None).await
        })?;
    }
}
