//! A crowd of followers: it costs little, and nobody in it waits long.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::PATIENCE;
use crate::support::process::Process;

const FOLLOWERS: usize = 5_000;
const MEMORY_KIB: u64 = 400 << 10;
const DELIVERY: Duration = Duration::from_secs(3);

/// One crowd at a time: it is the machine's.
static ALONE: Mutex<()> = Mutex::new(());

/// A follower that has read its stream to what `text` says.
fn read_to(stream: &mut TcpStream, text: &[u8]) {
    let mut read = Vec::new();
    let mut buffer = [0; 4_096];
    while !read.windows(text.len()).any(|window| window == text) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn five_thousand_idle_followers_are_cheap_and_all_hear_at_once() {
    crowd("/v1/stream?after=end", b"event: caught-up");
}

#[test]
fn as_many_followers_of_one_topic_are_as_cheap() {
    crowd("/v1/topics/default/t/follow", b"event: reset");
}

fn crowd(path: &str, begun: &[u8]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    if files.current.is_some_and(|most| most < FOLLOWERS as u64 + 500) {
        println!("skipped: the system allows only {:?} open files", files.current);
        return;
    }
    let mut process = Process::run(&[]);
    process.append();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut followers: Vec<TcpStream> = (0..FOLLOWERS)
        .map(|_| {
            let mut stream = TcpStream::connect(process.http).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            read_to(&mut stream, begun);
            stream
        })
        .collect();
    let idle = process.memory();
    let started = Instant::now();
    process.append();
    for follower in &mut followers {
        read_to(follower, b"event: entry");
    }
    let took = started.elapsed();
    println!(
        "{} MiB idle, {} MiB at most, all told in {took:?}",
        idle >> 10,
        process.peak_memory() >> 10
    );
    assert!(process.peak_memory() < MEMORY_KIB, "{} KiB", process.peak_memory());
    assert!(took < DELIVERY, "{took:?}");
    for follower in &mut followers {
        follower.set_nonblocking(true).unwrap();
        let rest = follower.read(&mut [0; 4_096]);
        let told = |rest: &std::io::Result<usize>| rest.as_ref().is_ok_and(|count| *count < 64);
        let silent = |rest: &std::io::Result<usize>| {
            rest.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        assert!(told(&rest) || silent(&rest), "nobody hears twice: {rest:?}");
    }
    process.assert_sound();
}
