//! The tricks of a liar, and how often each is played.

use super::dice::Dice;

/// What a liar does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// It goes on with one of its histories, and tells some of it.
    TellsHistory,
    /// It goes on from an older change in a new segment.
    MakesBranch,
    /// It goes on from an older change in the same segment: two changes at one place.
    Equivocates,
    /// It sends once more what it heard.
    Replays,
    /// It sends another's run with other entries.
    Alters,
    /// It sends another's run with other seqs.
    Displaces,
    /// It signs another's change as its own.
    Usurps,
    /// It sends a change with a signature that is none.
    SignsBadly,
    /// It signs a change that leaves a hole.
    SkipsSeqs,
    /// It signs a change that is older than the one before.
    GoesBackInTime,
    /// It signs a change that hangs on nothing.
    SendsOrphan,
    /// It signs many of them.
    FloodsOrphans,
    /// It signs more bytes of them than may wait.
    SendsLargeOrphans,
    /// It says that it holds what there is not.
    ClaimsHeads,
    /// It says that it holds hundreds of authors that there are not.
    ClaimsAuthors,
    /// It says a digest of nothing.
    ClaimsDigest,
    /// It acks what it has not.
    ClaimsAcks,
    /// It says that it is connected with everybody.
    ClaimsLinks,
    /// It says that it has lost what it never had, and wants it.
    ClaimsLosses,
    /// It sends what is no frame.
    SendsGarbage,
    /// It greets in the middle of a session.
    SaysHelloAgain,
    /// It says nothing more on this connection.
    FallsSilent,
}

/// How often each is played, beside the others.
const ODDS: [(Trick, usize); 21] = [
    (Trick::TellsHistory, 30),
    (Trick::MakesBranch, 8),
    (Trick::Equivocates, 10),
    (Trick::Replays, 8),
    (Trick::Alters, 3),
    (Trick::Displaces, 5),
    (Trick::Usurps, 4),
    (Trick::SignsBadly, 2),
    (Trick::SkipsSeqs, 4),
    (Trick::GoesBackInTime, 6),
    (Trick::SendsOrphan, 4),
    (Trick::FloodsOrphans, 3),
    (Trick::SendsLargeOrphans, 2),
    (Trick::ClaimsHeads, 6),
    (Trick::ClaimsAuthors, 2),
    (Trick::ClaimsAcks, 3),
    (Trick::ClaimsLinks, 3),
    (Trick::ClaimsLosses, 3),
    (Trick::SendsGarbage, 2),
    (Trick::SaysHelloAgain, 2),
    (Trick::FallsSilent, 1),
];

/// What a liar may do after the network has healed: nothing that would have to be admitted.
const CLAIMS: [Trick; 6] = [
    Trick::ClaimsHeads,
    Trick::ClaimsAuthors,
    Trick::ClaimsDigest,
    Trick::ClaimsAcks,
    Trick::ClaimsLinks,
    Trick::ClaimsLosses,
];

impl Trick {
    /// One of them, by their odds.
    pub fn draw(dice: &mut Dice) -> Self {
        let mut at = dice.below(ODDS.iter().map(|(_, odds)| odds).sum());
        for (trick, odds) in ODDS {
            if at < odds {
                return trick;
            }
            at -= odds;
        }
        Self::TellsHistory
    }

    /// A mere claim.
    pub fn draw_claim(dice: &mut Dice) -> Self {
        CLAIMS[dice.below(CLAIMS.len())]
    }

    /// What a story says of it.
    pub fn words(self) -> &'static str {
        match self {
            Self::TellsHistory => "tells one of its histories",
            Self::MakesBranch => "makes a branch",
            Self::Equivocates => "signs two changes at one place",
            Self::Replays => "replays a run",
            Self::Alters => "alters another's run",
            Self::Displaces => "moves another's run",
            Self::Usurps => "signs another's change as its own",
            Self::SignsBadly => "signs badly",
            Self::SkipsSeqs => "skips seqs",
            Self::GoesBackInTime => "goes back in time",
            Self::SendsOrphan => "sends a change without its parent",
            Self::FloodsOrphans => "floods",
            Self::SendsLargeOrphans => "floods with large changes",
            Self::ClaimsHeads => "claims heads",
            Self::ClaimsAuthors => "claims authors",
            Self::ClaimsDigest => "claims a digest",
            Self::ClaimsAcks => "acks what it has not",
            Self::ClaimsLosses => "wants what it never had",
            Self::ClaimsLinks => "claims links",
            Self::SendsGarbage => "sends garbage",
            Self::SaysHelloAgain => "says hello again",
            Self::FallsSilent => "falls silent",
        }
    }
}
