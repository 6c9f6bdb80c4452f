//! Blocks that their authors did not sign so, or that don't open as what they claim.

use towline::core::change::{Change, Link, SignedBlock};
use towline::core::frame::Frame;
use towline::store::block::Sealer;
use towline::words::NodeId;

use crate::scribe::Scribe;
use crate::support::until;
use crate::victim::{CLUSTER, Victim, identity};

fn seal(changes: &[Change]) -> Vec<u8> {
    Sealer::new().unwrap().seal(changes).unwrap()
}

/// A block of two changes, by an author that nobody has met.
fn honest() -> SignedBlock {
    let mut scribe = Scribe::new(identity(70), CLUSTER, 0);
    let place = scribe.place.clone();
    let changes = [scribe.write(&["one", "two"]).0, scribe.write(&["three"]).0];
    let signature = scribe.sign(changes[1].hash);
    SignedBlock { place, next_seq: changes[1].next_seq(), signature, record: seal(&changes).into() }
}

fn altered(alter: impl FnOnce(&mut SignedBlock)) -> SignedBlock {
    let mut block = honest();
    alter(&mut block);
    block
}

/// A record that names one topic of a megabyte, for every one of the entries that it claims.
fn bomb(block: &mut SignedBlock) {
    fn number(out: &mut Vec<u8>, mut number: usize) {
        while number > 0x7f {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }
    const ENTRIES: usize = 4_096;
    let mut columns = Vec::new();
    [1, ENTRIES, 1].into_iter().for_each(|count| number(&mut columns, count));
    for name in ["default", &"x".repeat(1 << 20), "k", "text/plain"] {
        number(&mut columns, name.len());
        columns.extend_from_slice(name.as_bytes());
    }
    for column in
        [vec![0; ENTRIES], vec![0; ENTRIES], vec![0; ENTRIES], vec![1; ENTRIES], Vec::new()]
    {
        number(&mut columns, column.len());
        columns.extend(column);
    }
    let pack = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    let (beside, data) = (pack(&columns), pack(b""));
    let mut record = vec![1];
    [columns.len(), 0, beside.len()].into_iter().for_each(|length| number(&mut record, length));
    record.extend([beside, data, vec![0; 8]].concat());
    block.next_seq = block.place.first_seq.plus(ENTRIES as u64);
    block.record = record.into();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_its_author_did_not_sign_so_is_refused_before_the_store() {
    let (record, signature) = ("a block that can't be opened", "the signature is not the author's");
    let cases: [(SignedBlock, &str); 9] = [
        (altered(|block| block.signature.0[5] ^= 1), signature),
        (altered(|block| block.place.author = identity(2).node_id()), record),
        (altered(|block| block.place.author = NodeId([0; 32])), "the author's key is weak"),
        (altered(|block| block.next_seq = block.next_seq.plus(1)), record),
        (altered(|block| block.record = block.record.slice(1..)), record),
        (altered(|block| block.record = vec![7; 100].into()), record),
        (
            altered(|block| {
                let mut checksum = block.record.to_vec();
                *checksum.last_mut().unwrap() ^= 1;
                block.record = checksum.into();
            }),
            record,
        ),
        (
            altered(|block| {
                if let Link::Opening(opening) = &mut block.place.link {
                    opening.cluster.0[0] ^= 1;
                }
            }),
            "a segment of another cluster",
        ),
        (altered(bomb), record),
    ];
    Victim::refuses(cases.map(|(block, why)| (Frame::Block(Box::new(block)), why))).await;
}

/// The cases above are refused for what was altered, and for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_as_its_author_signed_it_joins_the_log() {
    let (victim, liars) = Victim::and_liars(1).await;
    let authors = victim.node.status().await.unwrap().authors;
    let mut line = liars[0].greet().await;
    line.say(&Frame::Block(Box::new(honest()))).await;
    until(&[&victim.node], |status| status[0].authors == authors + 1).await;
    victim.still_serves().await;
}
