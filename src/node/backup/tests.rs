use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::node::{Config, CursorError, Node, Order, Query, QueryError};
use crate::words::{Draft, Gap};

/// A place for a data directory, and for the backups of it.
struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn open(&self, name: &str) -> Node {
        Node::open(Config::new(self.path(name))).await.unwrap()
    }

    /// A data directory with so many entries.
    async fn written(&self, name: &str, entries: u32) {
        let node = self.open(name).await;
        append(&node, entries).await;
        node.shutdown().await.unwrap();
    }

    fn backup(&self, place: &str, file: &str) -> Result<Backup, BackupError> {
        make(&self.path(place), &self.path(file), Keys::Include, Existing::Keep, |_| {})
    }

    fn restore(&self, file: &str, place: &str) -> Result<Backup, BackupError> {
        restore(&self.path(file), &self.path(place), Existing::Keep, |_| {})
    }

    fn refill(&self, file: &str, place: &str) -> Result<Backup, BackupError> {
        restore(&self.path(file), &self.path(place), Existing::Replace, |_| {})
    }
}

fn note(text: &str) -> Draft {
    Draft::text("t", "note", text).unwrap()
}

async fn append(node: &Node, entries: u32) {
    for n in 0..entries {
        node.append(note(&n.to_string())).await.unwrap();
    }
}

async fn emit(node: &Node, events: u64) {
    node.emit_all((0..events).map(|n| note(&n.to_string())).collect()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_node_that_writes_holds_whole_commits() {
    let scene = Scene::new();
    let node = scene.open("data").await;
    let writer = node.clone();
    let writing = tokio::spawn(async move {
        for _ in 0..200 {
            writer.append_all((0..7).map(|_| note("seven at once")).collect()).await.unwrap();
        }
    });
    let mut made = 0;
    while !writing.is_finished() {
        let (data, file) = (scene.path("data"), scene.path(&format!("{made}.towline")));
        let backup = move || make(&data, &file, Keys::LeaveOut, Existing::Keep, |_| {});
        let backup = tokio::task::spawn_blocking(backup).await.unwrap().unwrap();
        assert_eq!(backup.verified.entries % 7, 0);
        made += 1;
    }
    writing.await.unwrap();
    assert!(made > 0);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_backup_is_one_file_and_its_keys_are_private() {
    let scene = Scene::new();
    scene.written("data", 3).await;
    let backup = scene.backup("data", "log").unwrap();
    assert_eq!((backup.verified.entries, backup.key), (3, Some(scene.path("log.key"))));
    let mut names: Vec<_> =
        fs::read_dir(scene.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["data", "log", "log.cluster.key", "log.key"]);
    for name in ["log", "log.key", "log.cluster.key"] {
        assert_eq!(fs::metadata(scene.path(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(matches!(scene.backup("data", "log"), Err(BackupError::Occupied(_))));
}

#[tokio::test]
async fn nothing_in_the_data_directory_is_written_over() {
    let scene = Scene::new();
    scene.written("data", 1).await;
    for name in ["data/log.sqlite", "data/key", "data"] {
        let file = scene.path(name);
        let made = make(&scene.path("data"), &file, Keys::LeaveOut, Existing::Replace, |_| {});
        assert!(matches!(made, Err(BackupError::Occupied(_))), "{name}");
    }
}

#[tokio::test]
async fn a_restored_log_goes_on_where_the_backup_ends() {
    let scene = Scene::new();
    scene.written("data", 5).await;
    let backup = scene.backup("data", "log").unwrap();
    let restored = scene.restore("log", "again").unwrap();
    assert_eq!((restored.node, restored.verified), (backup.node, backup.verified));
    let node = scene.open("data").await;
    let page = node.query(Query::in_order(Order::Arrival).limit(4)).await.unwrap();
    node.shutdown().await.unwrap();
    let node = scene.open("again").await;
    assert_eq!((node.id(), node.cluster()), (backup.node, backup.cluster));
    assert_eq!(node.append(note("next")).await.unwrap().id.seq.0, 5);
    // Offsets may mean other entries from here on: a reader's place in the old store is refused.
    let query = Query::in_order(Order::Arrival).after(page.next.unwrap());
    let refused = node.query(query).await;
    assert!(matches!(refused, Err(QueryError::Cursor(CursorError::OtherStore))), "{refused:?}");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_backup_of_an_older_version_is_restored() {
    let scene = Scene::new();
    let old = include_bytes!("../../store/fixtures/version-1.sqlite");
    fs::write(scene.path("log"), old).unwrap();
    let Owner { node, cluster } = sqlite::owner(&scene.path("log")).unwrap();
    let restored = scene.restore("log", "data");
    // Nobody knows its key any more, which is what is asked for next.
    match restored {
        Err(BackupError::Directory(DirectoryError::NoKey { node: asked, .. })) => {
            assert_eq!(asked, node);
        }
        other => panic!("{other:?}"),
    }
    let copied = scene.path("copy");
    copy(&scene.path("log"), &copied, &mut |_| {}).unwrap();
    sqlite::bring_up_to_date(&copied).unwrap();
    let verified = verify(&copied, &mut |_| {}).unwrap();
    assert!(verified.verified.entries > 0);
    assert_eq!((verified.node, verified.cluster), (node, cluster));
}

#[tokio::test]
async fn a_store_that_is_there_moves_aside_as_a_whole() {
    let scene = Scene::new();
    scene.written("data", 2).await;
    scene.backup("data", "log").unwrap();
    scene.written("data", 3).await;
    assert!(matches!(scene.restore("log", "data"), Err(BackupError::Occupied(_))));
    let restored = scene.refill("log", "data").unwrap();
    assert_eq!(restored.verified.entries, 2);
    let aside = restored.replaced.unwrap();
    let verified = OfflineLog::open(&aside).unwrap().verify(|_, _| {}).unwrap();
    assert_eq!(verified.entries, 5);
}

#[tokio::test]
async fn a_directory_of_somebody_else_takes_no_backup() {
    let scene = Scene::new();
    scene.written("data", 1).await;
    scene.written("other", 1).await;
    scene.backup("data", "log").unwrap();
    let refused = |made: Result<Backup, BackupError>| match made {
        Err(BackupError::Directory(error)) => error,
        other => panic!("{other:?}"),
    };
    let other = refused(scene.refill("log", "other"));
    assert!(matches!(other, DirectoryError::OtherNode { .. }), "{other}");
    fs::remove_file(scene.path("log.key")).unwrap();
    let nobody = refused(scene.restore("log", "new"));
    assert!(matches!(nobody, DirectoryError::NoKey { .. }), "{nobody}");
    let node = scene.open("data").await;
    assert!(matches!(refused(scene.refill("log", "data")), DirectoryError::Locked(_)));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn no_emit_number_is_given_out_again_after_a_restore() {
    let scene = Scene::new();
    let node = scene.open("data").await;
    emit(&node, 10).await;
    node.shutdown().await.unwrap();
    let node = scene.open("data").await;
    scene.backup("data", "log").unwrap(); // hot: a block of numbers is reserved in it
    emit(&node, 30).await;
    node.shutdown().await.unwrap();

    // What is replaced knows exactly; a new directory knows an upper bound.
    scene.restore("log", "new").unwrap();
    scene.refill("log", "data").unwrap();
    for (place, most) in [("data", 40), ("new", 10 + EMIT_BLOCK)] {
        let node = scene.open(place).await;
        assert_eq!(node.emit(note("next")).unwrap(), Some(EmitNumber(most)), "{place}");
        node.shutdown().await.unwrap();
        let node = scene.open(place).await;
        let status = node.status().await.unwrap();
        assert_eq!((status.emitted, status.recorded), (most + 1, 11), "{place}");
        assert_eq!(status.recorded + status.dropped, status.emitted, "{place}");
        let page = node.query(crate::node::query::gaps()).await.unwrap();
        let gap: Gap = serde_json::from_slice(&page.entries[0].body.data).unwrap();
        assert_eq!((gap.from, gap.to.0 + 1), (EmitNumber(10), most), "{place}");
        assert_eq!(node.query(Query::merged()).await.unwrap().entries.len(), 12, "{place}");
        node.shutdown().await.unwrap();
    }
}
