//! The real program on a file system of a few MiB, filled to its last block: appends are refused,
//! everything else goes on.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::history::scratch;
use crate::noise::noise;
use crate::process::{Client, Process, Refused, under};
use crate::seed::skip;
use crate::told::Told;

/// A file system in memory that one process holds on to, in a namespace of its own: nobody else sees
/// it mounted, and it is gone when that process ends.
struct SmallDisk {
    holder: Child,
    mount: TempDir,
}

impl SmallDisk {
    /// A disk of so many MiB; none where mounting is not permitted.
    fn mount(mib: usize) -> Option<Self> {
        let mount = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size={mib}m towline-test '{}' && echo mounted && exec cat",
            mount.path().display()
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", &script]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = unshare.spawn().ok()?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut said).ok()?;
        let disk = Self { holder, mount };
        (said == "mounted\n").then_some(disk)
    }

    /// The data directory, as programs inside name it.
    fn data(&self) -> PathBuf {
        self.mount.path().join("data")
    }

    /// A file of the disk, as this process finds it.
    fn seen(&self, inside: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(inside.strip_prefix("/").unwrap())
    }

    /// The program, run where the disk is mounted.
    fn program(&self) -> Command {
        let pid = self.holder.id().to_string();
        under("nsenter", &["--mount", "--target", &pid, "--"])
    }

    fn start(&self) -> Process {
        let started = Process::start(self.program(), &self.data(), &self.seen(&self.data()));
        started.unwrap_or_else(|ended| panic!("the node ended: {ended:?}"))
    }

    /// A file that takes room on the disk, until it is removed.
    fn ballast(&self) -> PathBuf {
        self.seen(&self.mount.path().join("ballast"))
    }

    /// Asserts that a copy of the data directory holds what was acknowledged.
    #[track_caller]
    fn assert_keeps(&self, told: &Told, unacknowledged: usize) {
        let copy = scratch();
        for file in std::fs::read_dir(self.seen(&self.data())).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        told.assert_kept_in(copy.path(), unacknowledged);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// Appends entries of 20 kB until one is refused; returns what the node said then.
fn fill(client: &Client, told: &mut Told) -> Value {
    loop {
        let text = format!("{} {}", told.count(), noise(told.count(), 20_000));
        match client.append(std::slice::from_ref(&text)) {
            Ok(ids) => told.add(ids[0], text),
            Err(Refused::Problem(problem)) => return problem,
            Err(Refused::Silence) => panic!("the node is silent"),
        }
    }
}

/// A disk of 10 MiB, filled up by a ballast and a node that runs. When the ballast goes, there is
/// room for all that a checkpoint moves.
fn filled() -> Option<(SmallDisk, Process, Told)> {
    let Some(disk) = SmallDisk::mount(10) else {
        skip("a disk that fills up: mounting a file system is not permitted");
        return None;
    };
    std::fs::write(disk.ballast(), vec![1; 6 << 20]).unwrap();
    let process = disk.start();
    let mut told = Told::default();
    let problem = fill(process.client(), &mut told);
    assert_eq!(problem["code"], "E0206", "{problem}"); // the disk is full, and will have room again
    assert!(told.count() > 20);
    Some((disk, process, told))
}

#[track_caller]
fn assert_reads(client: &Client, told: &Told) {
    let (status, page) = client.get("/v1/entries?limit=10000").unwrap();
    assert_eq!(status, 200, "{page}");
    assert_eq!(page["entries"].as_array().unwrap().len(), told.count());
    for path in ["/livez", "/v1/status", "/v1/frontier", "/metrics"] {
        assert_eq!(client.get(path).unwrap().0, 200, "{path}");
    }
}

#[test]
fn a_node_on_a_full_disk_refuses_appends_and_goes_on_reading() {
    let Some((disk, process, mut told)) = filled() else {
        return;
    };
    let refused = process.client().append(&["one byte more".into()]);
    if let Ok(ids) = &refused {
        told.add(ids[0], "one byte more"); // room for little
    }
    assert_reads(process.client(), &told);
    process.kill().assert_no_panic();
    disk.assert_keeps(&told, 1);
}

#[test]
fn a_node_that_is_restarted_after_its_disk_was_full_appends_again() {
    let Some((disk, process, mut told)) = filled() else {
        return;
    };
    process.terminate().assert_no_panic();
    disk.assert_keeps(&told, 1);
    std::fs::remove_file(disk.ballast()).unwrap();
    let process = disk.start();
    let text = "there is room again".to_owned();
    let ids = process.client().append(std::slice::from_ref(&text)).unwrap();
    told.add(ids[0], text);
    assert!(process.terminate().status.success());
    disk.assert_keeps(&told, 1);
}

#[test]
fn a_node_appends_again_as_soon_as_there_is_room() {
    let Some((disk, process, mut told)) = filled() else {
        return;
    };
    std::fs::remove_file(disk.ballast()).unwrap();
    let text = "there is room again".to_owned();
    let began = std::time::Instant::now();
    let ids = loop {
        match process.client().append(std::slice::from_ref(&text)) {
            Ok(ids) => break ids,
            Err(refused) => {
                assert!(began.elapsed() < crate::process::PATIENCE, "{refused:?}");
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    told.add(ids[0], text);
    assert!(process.terminate().status.success());
    disk.assert_keeps(&told, 0);
}
