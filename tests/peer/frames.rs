//! Bytes that are no frame, and frames at the wrong time: the connection is closed and the violation
//! counted.

use towline::core::frame::{Frame, PROTOCOL};
use towline::words::limits::{FRAME_BYTES, FRAME_BYTES_UNPACKED};

use crate::liar::{Liar, length, packed, plain};
use crate::victim::Victim;

/// Asserts that these bytes after a hello close the connection for this reason, and are counted.
async fn refused(victim: &Victim, liar: &Liar, bytes: &[u8], why: &str) {
    let violations = victim.violations();
    let mut line = liar.greet().await;
    line.throw(bytes).await;
    drop(line.send.finish());
    let said = line.closed().await;
    assert!(said.contains(why), "{said:?} is not for {why:?}");
    victim.until_violations(violations + 1).await;
    assert_eq!(victim.violations(), violations + 1);
}

/// Each case is another liar's, so that none is banned for the others.
async fn all_refused(cases: &[(Vec<u8>, &str)]) {
    let (victim, liars) = Victim::and_liars(cases.len() as u8).await;
    for ((bytes, why), liar) in cases.iter().zip(&liars) {
        refused(&victim, liar, bytes, why).await;
    }
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_breaks_the_rules_is_refused() {
    let head = |bytes: usize, form: u8| [&length(bytes)[..], &[form]].concat();
    all_refused(&[
        (head(0, 0), "a bad frame: it is empty"),
        (head(u32::MAX as usize, 0), "a bad frame: it is over 4 MiB"),
        (head(u32::MAX as usize, 1), "a bad frame: it is over 4 MiB"),
        (head(FRAME_BYTES + 1, 0), "a bad frame: it is over 4 MiB"),
        (head(5, 2), "a bad frame: its form is unknown"),
        (head(5, 255), "a bad frame: its form is unknown"),
        (vec![0], "a bad frame: it ends early"),
        (head(100, 0), "a bad frame: it ends early"),
        ([head(100, 0), vec![0; 99]].concat(), "a bad frame: it ends early"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_decompress_as_it_should_is_refused() {
    let form = |zstd: &[u8]| [&length(zstd.len())[..], &[1], zstd].concat();
    let digest = zstd::bulk::compress(&Frame::Digest([0; 32]).encode(), 1).unwrap();
    let bomb = zstd::bulk::compress(&vec![0; FRAME_BYTES_UNPACKED + 1], 1).unwrap();
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    std::io::Write::write_all(&mut wide, &vec![7; 1 << 20]).unwrap();
    all_refused(&[
        (form(b"no zstd at all"), "a bad frame: it doesn't decompress"),
        (form(&digest[..digest.len() - 1]), "a bad frame: it doesn't decompress"),
        (form(&wide.finish().unwrap()), "a bad frame: it doesn't decompress"),
        (form(&[&digest[..], &digest].concat()), "a bad frame: something follows"),
        (form(&[&digest[..], &[0]].concat()), "a bad frame: something follows"),
        (form(&bomb), "a bad frame: it is over 16 MiB unpacked"),
        (packed(&vec![0; FRAME_BYTES_UNPACKED]), "not a frame"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_its_own_writer_would_not_have_written_is_refused() {
    let digest = Frame::Digest([7; 32]).encode();
    let [array, kind, bytes, of_32, hash @ ..] = &digest[..] else { unreachable!() };
    assert_eq!([*array, *kind, *bytes, *of_32], [0x82, 2, 0x58, 32]);
    let with = |parts: &[&[u8]]| plain(&parts.concat());
    let nested = [vec![0x81; 1 << 20], vec![0]].concat();
    all_refused(&[
        (with(&[&[0x82, 10], &[0x58, 32], hash]), "kind 10 with 2 items"),
        (with(&[&[0x83, 2], &[0x58, 32], hash, &[0]]), "kind 2 with 3 items"),
        (with(&[&digest, &[0]]), "trailing bytes"),
        (with(&[&[0x82, 0x18, 2, 0x58, 32], hash]), "not in deterministic encoding"),
        (with(&[&[0x98, 2, 2, 0x58, 32], hash]), "not in deterministic encoding"),
        (with(&[&[0x82, 2, 0x59, 0, 32], hash]), "not in deterministic encoding"),
        (with(&[&[0x9f, 2, 0x58, 32], hash, &[0xff]]), "indefinite length"),
        (with(&[&[0x82, 2, 0x5f, 0x58, 32], hash, &[0xff]]), "not a frame"),
        (with(&[&[0x82, 2, 0x78, 32], hash]), "not a frame"),
        (with(&[&[0x82, 2, 0xd8, 42, 0x58, 32], hash]), "not a frame"),
        (with(&[&[0x82, 0x22, 0x58, 32], hash]), "not a frame"),
        (with(&[&[0xa1, 2, 0x58, 32], hash]), "not a frame"),
        (with(&[&[0x82, 2, 0x58, 31], &hash[1..]]), "31 bytes where 32 belong"),
        (plain(&nested), "not a frame"),
        (packed(&nested), "not a frame"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_nothing_follows_take_no_memory_and_are_refused() {
    let many =
        |kind: u8, count: u64| plain(&[&[0x82, kind, 0x9b][..], &count.to_be_bytes()].concat());
    all_refused(&[
        (many(1, u64::MAX), "where 10000 are the most"),
        (many(3, 10_001), "where 10000 are the most"),
        (many(4, u64::MAX), "where 10000 are the most"),
        (many(1, 10_000), "not a frame"),
        (plain(&[0x82, 2, 0x5b, 255, 255, 255, 255, 255, 255, 255, 255]), "not a frame"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_has_its_time() {
    let (victim, liars) = Victim::and_liars(3).await;
    let wrong_time = "the peer said hello at the wrong time";
    let twice = plain(&liars[0].hello().encode());
    refused(&victim, &liars[0], &twice, wrong_time).await;
    for (liar, first) in
        [(&liars[1], Frame::Digest([0; 32])), (&liars[2], Frame::Links(Vec::new()))]
    {
        let violations = victim.violations();
        let mut line = liar.connect().await;
        line.say(&first).await;
        assert_eq!(line.closed().await, wrong_time);
        victim.until_violations(violations + 1).await;
    }
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_is_none_is_refused() {
    let (victim, liars) = Victim::and_liars(3).await;
    let named = |liar: &Liar, name: &str| Frame::Hello {
        protocol: PROTOCOL,
        cluster: liar.cluster,
        incarnation: 1,
        name: name.to_owned(),
    };
    for (liar, name) in [(&liars[0], "a\u{1b}[31m"), (&liars[1], &*"x".repeat(65))] {
        let mut line = liar.connect().await;
        line.say(&named(liar, name)).await;
        assert!(line.closed().await.contains("a name that is too long"));
    }
    let Frame::Hello { cluster, incarnation, name, .. } = liars[2].hello() else { unreachable!() };
    let mut line = liars[2].connect().await;
    line.say(&Frame::Hello { protocol: 2, cluster, incarnation, name }).await;
    assert_eq!(line.closed().await, "the peer speaks protocol 2, and this node 1");
    victim.until_violations(3).await;
    victim.still_serves().await;
}
