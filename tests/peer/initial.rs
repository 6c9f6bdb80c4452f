//! The first packet of a handshake, by hand (RFC 9001, section 5.2): what a sender can say who never
//! reads an answer.

use std::sync::Arc;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Keys, Version};
use rustls::{ClientConfig, Side};

/// No first packet may be shorter.
const INITIAL_BYTES: usize = 1_200;
/// The extension `supported_versions` that names TLS 1.3 alone, and one that names TLS 1.2 alone.
const TLS_1_3: [u8; 7] = [0, 0x2b, 0, 3, 2, 3, 4];
const TLS_1_2: [u8; 7] = [0, 0x2b, 0, 3, 2, 3, 3];

/// The ClientHello that these settings make, for a connection whose source id is this.
pub fn client_hello(config: ClientConfig, source: [u8; 8]) -> Vec<u8> {
    // initial_source_connection_id (0x0f), which the server checks.
    let parameters = [&[0x0f, 8][..], &source].concat();
    let name = ServerName::try_from("towline").unwrap();
    let mut client =
        ClientConnection::new(Arc::new(config), Version::V1, name, parameters).unwrap();
    let mut hello = Vec::new();
    client.write_hs(&mut hello);
    hello
}

/// The same ClientHello, speaking TLS 1.2.
pub fn as_tls_1_2(mut hello: Vec<u8>) -> Vec<u8> {
    let at = hello.windows(TLS_1_3.len()).position(|part| part == TLS_1_3).unwrap();
    hello[at..at + TLS_1_2.len()].copy_from_slice(&TLS_1_2);
    hello
}

/// A packet that begins a connection with a ClientHello; `token` proves the sender's address.
pub fn packet(hello: &[u8], token: &[u8], destination: &[u8], source: [u8; 8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    let keys = Keys::initial(Version::V1, suite, suite.quic.unwrap(), destination, Side::Client);
    let seal = keys.local.packet;
    // A long header, type Initial, with a packet number of 4 bytes.
    let mut head = vec![0xc3, 0, 0, 0, 1, destination.len() as u8];
    head.extend_from_slice(destination);
    head.push(8);
    head.extend_from_slice(&source);
    head.extend_from_slice(&(0x4000 | token.len() as u16).to_be_bytes());
    head.extend_from_slice(token);
    let length = INITIAL_BYTES - head.len() - 2;
    head.extend_from_slice(&(0x4000 | length as u16).to_be_bytes());
    let number = head.len();
    head.extend_from_slice(&[0; 4]);
    // One CRYPTO frame; what follows is padding.
    let mut body = vec![6, 0];
    body.extend_from_slice(&(0x4000 | hello.len() as u16).to_be_bytes());
    body.extend_from_slice(hello);
    body.resize(INITIAL_BYTES - head.len() - seal.tag_len(), 0);
    let tag = seal.encrypt_in_place(0, &head, &mut body).unwrap();
    let mut packet = [head, body, tag.as_ref().to_vec()].concat();
    let (first, rest) = packet.split_at_mut(1);
    let (digits, after) = rest[number - 1..].split_at_mut(4);
    let sample = &after[..keys.local.header.sample_len()];
    keys.local.header.encrypt_in_place(sample, &mut first[0], digits).unwrap();
    packet
}

/// What a Retry asks for: the id and the token that the next packet must carry. None: it is another
/// packet.
pub fn retry(answer: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    const TAG_BYTES: usize = 16;
    if answer.first()? & 0xf0 != 0xf0 {
        return None;
    }
    let source = 6 + usize::from(*answer.get(5)?);
    let token = source + 1 + usize::from(*answer.get(source)?);
    let end = answer.len().checked_sub(TAG_BYTES)?;
    Some((answer.get(source + 1..token)?.to_vec(), answer.get(token..end)?.to_vec()))
}

/// The frames in the first packet of an answer, as bytes.
pub fn open(answer: &[u8], destination: [u8; 8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    let keys = Keys::initial(Version::V1, suite, suite.quic.unwrap(), &destination, Side::Client);
    let mut packet = answer.to_vec();
    // Behind the two ids: an empty token, the length in two bytes, the packet number.
    let source = 6 + usize::from(packet[5]);
    let number = source + 1 + usize::from(packet[source]) + 3;
    let length = usize::from(u16::from_be_bytes([packet[number - 2], packet[number - 1]]) & 0x3fff);
    packet.truncate(number + length);
    let (first, rest) = packet.split_at_mut(1);
    let (digits, after) = rest[number - 1..].split_at_mut(4);
    let sample = &after[..keys.remote.header.sample_len()];
    keys.remote.header.decrypt_in_place(sample, &mut first[0], digits).unwrap();
    let digits = usize::from(packet[0] & 3) + 1;
    let (head, body) = packet.split_at_mut(number + digits);
    let counted = head[number..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    keys.remote.packet.decrypt_in_place(counted, head, body).unwrap().to_vec()
}
