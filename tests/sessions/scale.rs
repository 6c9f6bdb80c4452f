//! How long it takes to find a thread among many. The size is what a check run affords; the whole
//! of it, 10,000 threads and 1 M entries, is run by `--ignored`.

use std::time::{Duration, Instant};

use towline::node::series::Most;
use towline::{Config, Node};

use crate::{log, says, topic};

struct Times {
    load: Duration,
    follow: Duration,
    open: Duration,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

async fn measure(tenants: usize, threads: usize, rounds: usize, batch: usize) -> Times {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    let names: Vec<(String, String)> =
        (0..threads).map(|n| (format!("tenant-{}", n % tenants), format!("thread/{n}"))).collect();
    let began = Instant::now();
    for round in 0..rounds {
        let mut writing = tokio::task::JoinSet::new();
        for (at, (tenant, name)) in names.iter().enumerate() {
            let thread = log(&node, tenant).thread(topic(name));
            let events = (0..batch).map(|n| says(&format!("{at} {round} {n}"))).collect();
            writing.spawn(async move { thread.append(events).await.unwrap() });
            if writing.len() >= 64 {
                writing.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(written) = writing.join_next().await {
            written.unwrap();
        }
    }
    let filled = began.elapsed();
    node.shutdown().await.unwrap();
    let began = Instant::now();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    let open = began.elapsed();
    let end = (rounds * batch) as u64;
    let (mut loads, mut follows) = (Vec::new(), Vec::new());
    for at in 0..301 {
        let (tenant, name) = &names[at * 7_919 % names.len()];
        let thread = log(&node, tenant).thread(topic(name));
        let began = Instant::now();
        let loaded = thread.load_since(end - 3).await.unwrap();
        loads.push(began.elapsed());
        assert_eq!(loaded.len(), 3);
        let began = Instant::now();
        let (snapshot, _tail) = thread.follow(Most::entries(10)).await.unwrap();
        follows.push(began.elapsed());
        assert_eq!(snapshot.through, end);
    }
    node.shutdown().await.unwrap();
    let times = Times { load: median(loads), follow: median(follows), open };
    let size: u64 = walk(directory.path());
    println!(
        "{threads} threads, {} entries, {size} bytes, filled in {filled:?}: load_since {:?}, \
         follow {:?}, open {:?}",
        threads as u64 * end,
        times.load,
        times.follow,
        times.open
    );
    times
}

fn walk(directory: &std::path::Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_found_among_many() {
    let times = measure(10, 400, 10, 5).await;
    // Far above what it takes: a scan of the log would be found out, a busy machine would not.
    assert!(times.load < Duration::from_millis(100), "{:?}", times.load);
    assert!(times.follow < Duration::from_millis(100), "{:?}", times.follow);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a million entries take minutes"]
async fn a_thread_is_found_among_ten_thousand() {
    let times = measure(100, 10_000, 10, 10).await;
    assert!(times.load < Duration::from_millis(1), "{:?}", times.load);
    assert!(times.follow < Duration::from_millis(2), "{:?}", times.follow);
    assert!(times.open < Duration::from_secs(1), "{:?}", times.open);
}
