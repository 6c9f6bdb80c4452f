use super::*;
use crate::node::Cursor;
use crate::store::memory::MemoryStore;
use crate::store::{Owner, Store, StoreId};
use crate::words::{ClusterId, NodeId};

const STORE: StoreId = StoreId([1; 8]);

fn reader() -> Box<dyn Reader> {
    let owner = Owner { node: NodeId([1; 32]), cluster: ClusterId([2; 32]) };
    MemoryStore::new(STORE, owner).reader().unwrap()
}

fn named(name: &str) -> ConsumerName {
    ConsumerName::new(None, name).unwrap()
}

fn of(tenant: &str, name: &str) -> ConsumerName {
    ConsumerName::new(Some(Tenant::parse(tenant).unwrap()), name).unwrap()
}

fn at(offset: u64) -> Position {
    Position::Here(Cursor { store: STORE, offset: Offset(offset), last: None })
}

fn to(offset: u64, holder: &str, lease: Option<u64>) -> Moved {
    Moved {
        position: Some(at(offset)),
        holder: Some(holder.to_owned()),
        lease_seconds: lease,
        direction: Allowed::Forward,
    }
}

fn put(
    consumers: &Consumers,
    name: &ConsumerName,
    moved: &Moved,
    second: u64,
) -> Result<Consumer, ConsumerError> {
    consumers.put(&mut *reader(), name, moved, Time::from_millis(1_000 * second))
}

#[test]
fn a_place_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let consumers = Consumers::open(Some(directory.path()));
    for name in [named("mail.v2"), of("acme", "mail.v2"), of("..", "x")] {
        let kept = put(&consumers, &name, &to(7, "a", Some(30)), 1).unwrap();
        let again = Consumers::open(Some(directory.path()));
        assert_eq!(again.find(&name), Some(kept));
        assert!(again.remove(&name).unwrap().is_some());
        assert_eq!(Consumers::open(Some(directory.path())).find(&name), None);
    }
}

#[test]
fn a_lease_keeps_others_away_until_it_ends_or_is_given_back() {
    let consumers = Consumers::open(None);
    let put = |moved: Moved, now| put(&consumers, &named("c"), &moved, now);
    put(to(1, "a", Some(30)), 0).unwrap();
    assert!(matches!(put(to(2, "b", None), 29), Err(ConsumerError::Leased { .. })));
    put(to(2, "a", Some(0)), 29).unwrap();
    put(to(3, "b", Some(30)), 29).unwrap();
    put(to(4, "a", Some(30)), 59).unwrap();
    assert_eq!(consumers.find(&named("c")).unwrap().position, at(4).to_string());
}

#[test]
fn a_place_moves_back_for_a_replay_only() {
    let consumers = Consumers::open(None);
    let put = |moved: Moved| put(&consumers, &named("c"), &moved, 0);
    put(to(9, "a", Some(30))).unwrap();
    assert!(matches!(put(to(8, "a", None)), Err(ConsumerError::Backward { .. })));
    let replay = Moved { direction: Allowed::Replay, ..to(8, "b", None) };
    let replayed = put(replay).unwrap();
    assert_eq!((replayed.position, replayed.lease), (at(8).to_string(), None));
}

#[test]
fn names_lead_nowhere_else() {
    for name in ["", ".", "../x", "a/b", "A", "a\0", "a@b", &"x".repeat(65)] {
        let made = ConsumerName::new(None, name);
        assert!(matches!(made, Err(ConsumerError::Name)), "{name:?}");
    }
}

#[test]
fn no_tenant_takes_the_room_of_all() {
    let consumers = Consumers::open(None);
    let moved = to(0, "a", None);
    for n in 0..TENANT_CONSUMERS {
        put(&consumers, &of("acme", &n.to_string()), &moved, 0).unwrap();
    }
    let one_more = put(&consumers, &of("acme", "more"), &moved, 0);
    assert!(matches!(one_more, Err(ConsumerError::TooMany)));
    put(&consumers, &of("acme", "0"), &moved, 0).unwrap();
    put(&consumers, &of("other", "more"), &moved, 0).unwrap();
    for n in consumers.list().len()..CONSUMERS {
        put(&consumers, &named(&n.to_string()), &moved, 0).unwrap();
    }
    assert!(matches!(put(&consumers, &named("more"), &moved, 0), Err(ConsumerError::TooMany)));
}

#[test]
fn a_file_that_is_none_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("cursors")).unwrap();
    for name in ["broken", "Not a name", "a@b@c"] {
        fs::write(directory.path().join(format!("cursors/{name}.json")), "{").unwrap();
    }
    assert_eq!(Consumers::open(Some(directory.path())).list(), []);
}
