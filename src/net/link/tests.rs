use std::net::SocketAddr;

use super::*;
use crate::net::endpoint::{Arrival, Endpoint};
use crate::net::tls::Admitted;
use crate::words::Identity;

/// A test that waits for longer than this waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two links that are one connection over loopback, with the endpoints that carry it.
async fn links() -> (Link, Link, [Endpoint; 2]) {
    let identities = [[1; 32], [2; 32]].map(|secret| Identity::from_secret(&secret));
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let admitted = Admitted::default();
    identities.iter().for_each(|identity| admitted.insert(identity.node_id()));
    let bind = |identity: &Identity| Endpoint::bind(anywhere, identity.clone(), admitted.clone());
    let (a, b) = (bind(&identities[0]).await.unwrap(), bind(&identities[1]).await.unwrap());
    let dialed = a.dial(identities[1].node_id(), b.address().unwrap());
    let accepted = async {
        match b.accept().await.unwrap() {
            Arrival::Begun(incoming) => incoming.finish().await.unwrap(),
            Arrival::Crowded(from) => panic!("no place for {from}"),
        }
    };
    let (dialed, accepted) = tokio::join!(dialed, accepted);
    let (mut first, opened) = (dialed.unwrap().link().await.unwrap(), accepted.link());
    // The dialer's first bytes open the stream.
    first.send.write_all(&pack(b"hello".to_vec()).unwrap()).await.unwrap();
    let mut second = opened.await.unwrap();
    let mut hello = [0; 10];
    second.receive.read_exact(&mut hello).await.unwrap();
    (first, second, [a, b])
}

/// Bytes that don't compress, the same for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some((*state >> 56) as u8)
    };
    std::iter::repeat_n((), length).scan(seed, |state, ()| next(state)).collect()
}

#[tokio::test]
async fn a_frame_that_was_begun_must_come() {
    for begun in [&[0][..], &[0, 0, 0], &[0, 0, 0, 2, PLAIN], &[0, 0, 0, 2, PLAIN, 7]] {
        let (mut first, mut second, _endpoints) = links().await;
        second.patience.piece = Duration::from_millis(10);
        first.send.write_all(begun).await.unwrap();
        let (_, mut receiver, _) = second.split();
        let received = tokio::time::timeout(PATIENCE, receiver.receive()).await;
        assert_eq!(received.expect("it is given up"), Err(LinkError::Slow), "{begun:?}");
    }
}

#[tokio::test]
async fn a_peer_may_be_silent_between_frames() {
    let (first, mut second, _endpoints) = links().await;
    second.patience.piece = Duration::ZERO;
    let (_, mut receiver, _second) = second.split();
    let (mut sender, _, _first) = first.split();
    let received = tokio::spawn(async move { receiver.receive().await });
    sender.send(b"at last".to_vec()).await.unwrap();
    assert_eq!(received.await.unwrap().unwrap().0, &b"at last"[..]);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_given_up() {
    let (mut first, _second, _endpoints) = links().await;
    first.patience.unread = Duration::from_millis(10);
    let (mut sender, _, _closer) = first.split();
    let mut sent = 0;
    let sending = async {
        loop {
            match sender.send(noise(sent as u64, 1 << 20)).await {
                Ok(bytes) => sent += bytes,
                Err(error) => return error,
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, sending).await;
    assert_eq!(ended.expect("it is given up"), LinkError::Stalled);
    assert!(sent <= 11 << 20, "{sent} bytes wait for a peer that reads nothing");
}

#[test]
fn what_is_packed_unpacks() {
    let frame = b"a line that comes again and again\n".repeat(500);
    let packed = pack(frame.clone()).unwrap();
    assert_eq!(packed[4], ZSTD);
    assert!(packed.len() < frame.len() / 10);
    assert_eq!(unpack(Form::Zstd, packed[5..].to_vec()).unwrap(), frame);
}

#[test]
fn what_is_small_travels_as_it_is() {
    let packed = pack(b"short".to_vec()).unwrap();
    assert_eq!(packed, [&[0, 0, 0, 5, PLAIN][..], b"short"].concat());
}

#[test]
fn a_zstd_bomb_stops_at_the_bound() {
    let bomb = zstd::bulk::compress(&vec![0; 200 << 20], 19).unwrap();
    assert!(bomb.len() < FRAME_BYTES);
    assert_eq!(unpack(Form::Zstd, bomb), Err(LinkError::Bad("it is over 16 MiB unpacked")));
}

#[test]
fn a_window_over_the_bound_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &vec![7; 1 << 20]).unwrap();
    let wide = encoder.finish().unwrap();
    assert_eq!(unpack(Form::Zstd, wide), Err(LinkError::Bad("it doesn't decompress")));
}
