//! The network of a node: who is dialed, who is let in, and one exchange with each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio_util::task::TaskTracker;

use super::config::PeerAddress;
use super::exchange::{self, Context, Ended};
use super::roster::{Contact, Roster};
use super::sync::watch;
use crate::net::endpoint::{Arrival, ConnectError, Connected, Endpoint, Incoming};
use crate::store::tip::Shortage;
use crate::words::{NodeId, Offset};

/// The first wait after an attempt failed.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two attempts, to which jitter adds as much again at most.
const BACKOFF_MOST: Duration = Duration::from_secs(5);
/// A session that stood for so long starts the waits anew.
const STABLE: Duration = Duration::from_secs(30);
/// The node with the higher id lets the other dial first, so that they don't both.
const COURTESY: Duration = Duration::from_millis(150);
/// How long a start waits for peers that don't answer before it appends alone.
const REJOIN: Duration = Duration::from_secs(2);
/// How long it waits where the store has lost entries of the node's own.
const INSIST: Duration = Duration::from_secs(10);
/// How long it waits for peers that answer and claim more of this node than they send.
const REJOIN_MOST: Duration = Duration::from_secs(60);

/// Starts the tasks that listen and dial. They end when `closing` says so.
pub fn start(
    context: &Context,
    endpoint: &Endpoint,
    peers: &[PeerAddress],
    closing: &watch::Receiver<bool>,
    tasks: &TaskTracker,
) {
    tasks.spawn(listen(context.clone(), endpoint.clone(), closing.clone(), tasks.clone()));
    for peer in peers {
        tasks.spawn(keep_dialing(context.clone(), endpoint.clone(), *peer, closing.clone()));
    }
}

async fn listen(
    context: Context,
    endpoint: Endpoint,
    mut closing: watch::Receiver<bool>,
    tasks: TaskTracker,
) {
    loop {
        let arrival = tokio::select! {
            arrival = endpoint.accept() => arrival,
            _ = closing.wait_for(|closing| *closing) => None,
        };
        match arrival {
            Some(Arrival::Begun(incoming)) => {
                tasks.spawn(welcome(context.clone(), *incoming, closing.clone()));
            }
            Some(Arrival::Crowded(from)) => context.door.crowded(from),
            None => return,
        }
    }
}

async fn welcome(context: Context, incoming: Incoming, closing: watch::Receiver<bool>) {
    let from = incoming.address();
    context.metrics.handshakes.inc();
    let finished = incoming.finish().await;
    context.metrics.handshakes.dec();
    match finished {
        Ok(connected) => drop(exchange::run(context, connected, closing).await),
        Err(ConnectError::GivenUp) => tracing::debug!(%from, "a handshake was given up"),
        Err(error) => context.door.refused(from, &error),
    }
}

/// Keeps a session with one peer: dials, and dials again with growing, jittered waits.
async fn keep_dialing(
    context: Context,
    endpoint: Endpoint,
    peer: PeerAddress,
    mut closing: watch::Receiver<bool>,
) {
    let waits = ExponentialBuilder::default()
        .with_min_delay(BACKOFF_FIRST)
        .with_max_delay(BACKOFF_MOST)
        .without_max_times()
        .with_jitter();
    let mut backoff = waits.build();
    if context.me > peer.node {
        pause(COURTESY, &mut closing).await;
    }
    while !*closing.borrow() {
        wait_until_alone(&context.roster, peer.node, &mut closing).await;
        while let Some(left) = context.door.ban_left(&peer.node)
            && !*closing.borrow()
        {
            pause(left, &mut closing).await;
        }
        if *closing.borrow() {
            return;
        }
        let began = tokio::time::Instant::now();
        match dial(&context, &endpoint, peer, &mut closing).await {
            Some(connected) => {
                let ended = exchange::run(context.clone(), connected, closing.clone()).await;
                if !matches!(ended, Ended::Duplicate) && began.elapsed() > STABLE {
                    backoff = waits.build();
                }
            }
            None => context.roster.update(peer.node, |_| {}),
        }
        pause(backoff.next().unwrap_or(BACKOFF_MOST), &mut closing).await;
    }
}

async fn dial(
    context: &Context,
    endpoint: &Endpoint,
    peer: PeerAddress,
    closing: &mut watch::Receiver<bool>,
) -> Option<Connected> {
    let dialed = tokio::select! {
        dialed = endpoint.dial(peer.node, peer.address) => dialed,
        _ = closing.wait_for(|closing| *closing) => return None,
    };
    match dialed {
        Ok(connected) => Some(connected),
        Err(error) => {
            tracing::debug!(peer = %peer.node.short(), %error, "can't connect");
            context.roster.update(peer.node, |entry| {
                if entry.contact == Contact::Connecting {
                    entry.contact = Contact::Unreachable;
                }
                entry.trouble = Some(error.to_string());
            });
            None
        }
    }
}

async fn pause(time: Duration, closing: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

/// Waits while a session with the peer stands.
async fn wait_until_alone(roster: &Arc<Roster>, peer: NodeId, closing: &mut watch::Receiver<bool>) {
    let mut bell = roster.bell();
    while roster.is_connected(&peer) {
        tokio::select! {
            _ = bell.changed() => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}

/// Waits until the peers that can be reached have said what they hold of this node, and all of it
/// is held here: only then can it append without writing a seq twice.
///
/// A peer that doesn't answer is waited for two seconds, so a node that is alone soon appends; one
/// that answers is given a minute. A node whose store has lost entries of its own waits ten seconds
/// for anybody who brings them. To append too early does no harm that lasts: it makes a branch,
/// which the node's next segment joins.
pub async fn rejoin(
    roster: &Arc<Roster>,
    peers: &[PeerAddress],
    (shortage, mut watermark): (Shortage, watch::Receiver<Offset>),
    closing: &mut watch::Receiver<bool>,
) {
    let named: BTreeSet<NodeId> = peers.iter().map(|peer| peer.node).collect();
    let mut bell = roster.bell();
    let began = tokio::time::Instant::now();
    loop {
        bell.borrow_and_update();
        watermark.borrow_and_update();
        let lacks_own = shortage.lacks_own();
        let patience = began + if lacks_own { INSIST } else { REJOIN };
        let patient = tokio::time::Instant::now() < patience;
        let now = roster.peers();
        let open = |node: &&NodeId| {
            let settled = now.get(*node).is_some_and(|entry| entry.own_settled);
            !settled && (patient || roster.is_connected(node))
        };
        let waits = lacks_own && patient;
        if !waits && !named.iter().any(|node| open(&node)) {
            if lacks_own {
                tracing::error!(
                    "no peer has brought this node's own newest entries: it goes on without them, \
                     and joins the two branches when they come"
                );
            }
            return;
        }
        tokio::select! {
            _ = bell.changed() => {}
            Ok(()) = watermark.changed() => {}
            () = tokio::time::sleep_until(patience), if patient => {}
            () = tokio::time::sleep_until(began + REJOIN_MOST) => return,
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}
