//! An exchange: the shell around one session with one peer, one half of what `src/node/exchange.rs`
//! does. It moves frames between session and network as bytes, verifies runs, and reads the store
//! when the session asks. The other half is in [`peers`](super::peers).

use std::collections::VecDeque;

use bytes::Bytes;
use towline::core::change::SignedRun;
use towline::core::frame::{Frame, Wanted};
use towline::core::frontier::Head;
use towline::core::offers::Offers;
use towline::core::session::{Parties, Received, Session, Step};
use towline::store::Reader;
use towline::store::block::BlockOpener;
use towline::store::damage::Lost;
use towline::store::memory::MemoryStore;
use towline::store::ranges::{compare, fetch, holds, wanted};
use towline::words::limits::{AUTHORS, FRAME_BYTES_UNPACKED};
use towline::words::{NodeId, Seq};

use super::agenda::HostId;
use super::clock::{MILLI, SECOND};
use super::coverage::Mark;
use super::group::Verified;
use super::ledger::Ledger;
use super::network::{ConnectionId, Side};
use super::promise::{Outcome, Promise};
use super::stage::{Stage, kind};
use super::story::Happening;

/// How often digests are exchanged.
pub const INTERVAL: u64 = SECOND;
/// How many runs may wait to be verified, and how many to be committed.
const RUNS: usize = 4; // full: no further frame is taken from the network
/// How many changes a scan reads at once.
const SCANNED: usize = 512;

/// One end of a connection at an honest node.
pub struct Exchange {
    pub connection: ConnectionId,
    pub side: Side,
    pub peer: HostId,
    parties: Parties,
    session: Session,
    greeted: bool,
    /// Runs that are being verified, oldest first.
    verifying: VecDeque<Verified>,
    /// How many runs wait for the writer.
    unsettled: usize,
    /// The heads of this node that the peer named first.
    own_heads: Option<Vec<Head>>,
    /// Whether all of them are held here.
    own_settled: bool,
    /// What the peer says of segments that it has removed.
    pub offers: Offers,
}

/// What a frame came to.
pub enum Heard {
    /// Nothing but another look at the session.
    Noted,
    /// The peer has said who it is.
    Greeted,
    /// A run has to be verified.
    Run,
    /// The peer has lost these entries.
    Wanted(Vec<Wanted>),
}

impl Exchange {
    /// An exchange at the moment when the connection stands.
    pub fn new((connection, side): (ConnectionId, Side), peer: HostId, parties: Parties) -> Self {
        Self {
            connection,
            side,
            peer,
            session: Session::new(parties.clone()),
            parties,
            greeted: false,
            verifying: VecDeque::new(),
            unsettled: 0,
            own_heads: None,
            own_settled: false,
            offers: Offers::default(),
        }
    }

    /// Whether the peer has said hello.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// The peer's name among nodes.
    pub fn peer_id(&self) -> NodeId {
        self.parties.peer
    }

    /// Whether all that the peer held of this node when it said so first is held here.
    pub fn is_settled(&self) -> bool {
        self.own_settled
    }

    /// Whether a frame can be handled now.
    pub fn has_room(&self) -> bool {
        self.verifying.len() < RUNS && self.unsettled < RUNS
    }

    /// Takes a frame that has arrived. The error says what no honest node does.
    pub fn hear(&mut self, bytes: &Bytes, stage: &mut Stage) -> Result<Heard, String> {
        let frame = Frame::decode(bytes).map_err(|error| error.to_string())?;
        let host = stage.network.host(self.connection, self.side);
        stage.tell(Happening::Received { host, from: self.peer, frame: kind(&frame) });
        if let (Frame::Frontier(heads), None) = (&frame, &self.own_heads) {
            let own = heads.iter().find(|(author, _)| *author == self.parties.me);
            self.own_heads = Some(own.map(|(_, heads)| heads.clone()).unwrap_or_default());
        }
        match self.session.handle_frame(frame).map_err(|violation| violation.to_string())? {
            Received::Noted => Ok(Heard::Noted),
            Received::Wanted(list) => Ok(Heard::Wanted(list)),
            Received::Pruned(chain) => {
                let checked = chain.iter().try_for_each(|it| it.check(self.parties.cluster));
                checked.map_err(|forged| forged.to_string())?;
                self.offers.hear(chain, stage.now.0 / MILLI);
                Ok(Heard::Noted)
            }
            Received::Greeted { .. } => {
                self.greeted = true;
                Ok(Heard::Greeted)
            }
            Received::Block(block) => {
                let mut opener = BlockOpener::new().map_err(|error| error.to_string())?;
                let verified = opener.verify(&block, self.parties.cluster);
                let changes = verified.map_err(|forged| forged.to_string())?;
                self.verifying.push_back((changes, Some(block.record)));
                stage.count(Mark::BlocksReceived);
                Ok(Heard::Run)
            }
            Received::Run(run) => {
                let verified = run.verify(self.parties.cluster);
                self.verifying.push_back((verified.map_err(|forged| forged.to_string())?, None));
                Ok(Heard::Run)
            }
        }
    }

    /// Takes out the run that has been verified, for the writer.
    pub fn next_verified(&mut self) -> Option<Verified> {
        let verified = self.verifying.pop_front()?;
        self.unsettled += 1;
        Some(verified)
    }

    /// A run has been applied, and what there was of it is durable.
    pub fn settle(&mut self) {
        self.unsettled -= 1;
    }

    /// An interval has passed, and this is damaged.
    pub fn pass_interval(&mut self, lost: &[Lost]) {
        self.session.handle_interval();
        self.session.handle_lost(lost.iter().map(Lost::wanted).collect());
    }

    /// The peer has lost these entries.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn want(&mut self, list: &[Wanted], store: &mut MemoryStore) -> Outcome {
        self.session.handle_wanted(wanted(store, list)?);
        Ok(())
    }

    /// The store has grown.
    pub fn grow(&mut self, store: &mut MemoryStore, ledger: &Ledger) -> Outcome {
        self.session.handle_growth();
        self.look_at_own(store, ledger)
    }

    /// This node's connections have changed.
    pub fn link(&mut self, links: Vec<NodeId>) {
        self.session.handle_links(links);
    }

    /// What the peer offered was taken over.
    pub fn adopted(&mut self, (author, end): (NodeId, Head), taken_over: bool) {
        self.offers.forget(&author);
        self.session.handle_adopted((author, end), taken_over);
    }

    /// How far the peer holds an author, by its own word.
    pub fn peer_holds(&self, author: &NodeId) -> Option<Seq> {
        self.session.peer_holds(author)
    }

    /// Does what the session wants, until it wants nothing or there is no room for a frame. `held` says
    /// how far a peer of this node holds an author, by its own word.
    ///
    /// # Errors
    /// What is said breaks a promise.
    pub fn advance(
        &mut self,
        (store, ledger): (&mut MemoryStore, &Ledger),
        held: impl Fn(&NodeId, &NodeId) -> Seq,
        stage: &mut Stage,
    ) -> Outcome {
        while stage.network.has_room(self.connection, self.side)
            && let Some(step) = self.session.poll()
        {
            match step {
                Step::Send(frame) => self.say(&frame, ledger, stage)?,
                Step::ReadFrontier => self.session.handle_own_frontier(&store.frontier()?),
                Step::Compare(heads) => {
                    let found = compare(store, &heads)?;
                    self.session.handle_pruned(found.pruned);
                    let watermark = found.watermark;
                    self.session.handle_compared(found.missing, &found.ahead, watermark, &held);
                    self.look_at_own(store, ledger)?;
                }
                Step::Scan(from) => {
                    let (passed, next) = store.scan(from, SCANNED)?;
                    self.session.handle_scanned(&passed, next);
                }
                Step::Fetch(range) => self.session.handle_fetched(fetch(store, range)?),
            }
        }
        self.check_known(stage)
    }

    /// Sends a frame.
    fn say(&mut self, frame: &Frame, ledger: &Ledger, stage: &mut Stage) -> Outcome {
        check_durable(frame, ledger)?;
        let bytes = Bytes::from(frame.encode());
        Promise::Bounded.holds(bytes.len() <= FRAME_BYTES_UNPACKED, || {
            format!("a {} of {} bytes", kind(frame), bytes.len())
        })?;
        stage.coverage.add(Mark::Pruned, u64::from(matches!(frame, Frame::Pruned(_))));
        stage.coverage.add(Mark::BlocksSent, u64::from(matches!(frame, Frame::Block(_))));
        let author = match frame {
            Frame::Run(run) => Some(run.place.author),
            Frame::Block(block) => Some(block.place.author),
            _ => None,
        };
        if author.is_some_and(|author| author != self.parties.me) {
            stage.count(Mark::Relayed);
        }
        let heard = stage.oracle.is_honest(&self.parties.peer);
        let quiet = matches!(frame, Frame::Digest(_));
        stage.busy_frames += u64::from(heard && !quiet);
        stage.send((self.connection, self.side), kind(frame), bytes);
        Ok(())
    }

    /// Looks whether all that the peer holds of this node is held here by now.
    fn look_at_own(&mut self, store: &mut MemoryStore, ledger: &Ledger) -> Outcome {
        let Some(heads) = self.own_heads.as_ref().filter(|_| !self.own_settled) else {
            return Ok(());
        };
        self.own_settled = holds(store, heads)?;
        let held = heads.iter().all(|head| ledger.ends_at(head));
        Promise::Converges.holds(self.own_settled == held, || {
            format!("it is held: {held}; the store says: {}", self.own_settled)
        })
    }

    /// What the session takes the peer to have is no more than what it ever had, and bounded.
    fn check_known(&self, stage: &Stage) -> Outcome {
        let authors = self.session.held_by_peer().count();
        Promise::Bounded
            .holds(authors <= AUTHORS, || format!("a session remembers {authors} authors"))?;
        let Parties { me, peer, .. } = &self.parties;
        if !stage.oracle.is_honest(peer) {
            return Ok(());
        }
        let of_me = self.session.held_by_peer().filter(|(author, _)| *author == me);
        let taken = of_me.map(|(_, next_seq)| next_seq).max().unwrap_or_default();
        let most = stage.oracle.most_held(self.peer, me);
        Promise::PersistBeforeTelling.holds(taken <= most, || {
            format!(
                "{} is taken to hold {} entries, and never held more than {}",
                self.peer, taken.0, most.0
            )
        })
    }
}

/// What a frame says is durable where it is said.
fn check_durable(frame: &Frame, ledger: &Ledger) -> Outcome {
    match frame {
        Frame::Frontier(heads) | Frame::Ack(heads) => {
            let heads = heads.iter().flat_map(|(_, heads)| heads);
            let early = heads.filter(|head| !ledger.ends_at(head)).count();
            Promise::PersistBeforeTelling.holds(early == 0, || {
                format!("a {} names {early} heads that are not durable", kind(frame))
            })
        }
        Frame::Pruned(chain) => {
            let early = chain.iter().filter(|it| !ledger.ends_at(&it.head())).count();
            Promise::PersistBeforeTelling.holds(early == 0, || {
                format!("a {} names {early} ends that are not durable", kind(frame))
            })
        }
        Frame::Run(_) | Frame::Block(_) => {
            let (place, next_seq) = match frame {
                Frame::Block(block) => (&block.place, block.next_seq),
                Frame::Run(run) => (&run.place, end_of(run)),
                _ => return Ok(()),
            };
            let durable = ledger.has_end(place.segment, next_seq);
            Promise::PersistBeforeTelling.holds(durable, || {
                format!(
                    "a {} up to {}:{} is not durable",
                    kind(frame),
                    place.author.short(),
                    next_seq.0
                )
            })
        }
        _ => Ok(()),
    }
}

fn end_of(run: &SignedRun) -> Seq {
    let entries: usize = run.changes.iter().map(Vec::len).sum();
    run.place.first_seq.plus(entries as u64)
}
