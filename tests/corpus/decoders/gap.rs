//! Gaps: what an entry of any peer may say of dropped events.

use towline::words::gap::{GAP_KIND, GAP_TOPIC};
use towline::words::{
    ChangeHash, Draft, Entry, Gap, Kind, NodeId, Offset, SegmentId, Seq, Tenant, Time, Topic,
};

use super::Verdict;

pub fn gap(bytes: &[u8]) -> Verdict {
    let entry = |body| Entry {
        author: NodeId([1; 32]),
        seq: Seq(7),
        time: Time::default(),
        offset: Offset(7),
        change: ChangeHash([2; 32]),
        segment: SegmentId([3; 16]),
        skew: false,
        forked: false,
        body,
    };
    let stated = entry(Draft {
        tenant: Tenant::parse("towline").expect("a tenant"),
        topic: Topic::parse(GAP_TOPIC).expect("a topic"),
        kind: Kind::parse(GAP_KIND).expect("a kind"),
        attributes: Default::default(),
        content_type: "application/json".into(),
        data: bytes.to_vec().into(),
    });
    let Some(gap) = Gap::from_entry(&stated) else {
        return Verdict::Refused;
    };
    assert!(!gap.to_string().contains(char::is_control));
    let written = entry(gap.draft().expect("constant names parse"));
    assert_eq!(Gap::from_entry(&written), Some(gap));
    let Gap { from, to, reason, .. } = gap;
    assert!(Gap::new(from, to, reason).count >= 1, "a gap that we make states something");
    Verdict::Taken
}
