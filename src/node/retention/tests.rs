use super::*;

fn policy() -> Retention {
    Retention::default()
}

#[test]
fn without_a_bound_nothing_goes_by_itself() {
    assert!(!policy().is_active());
    assert!(!Retention { peers: 2, archive: Some("x".into()), ..policy() }.is_active());
    for active in [
        Retention { age: Some(Duration::from_secs(1)), ..policy() },
        Retention { entries: Some(1), ..policy() },
        Retention { bytes: Some(1), ..policy() },
        Retention { archived: true, ..policy() },
    ] {
        assert!(active.is_active());
    }
}

#[test]
fn marks_are_made_for_the_shortest_age() {
    let (tenant, topic) = (Tenant::default(), Topic::parse("t").unwrap());
    let of_topic =
        TopicRetention { tenant, topic, age: Some(Duration::from_secs(5)), entries: None };
    let both = Retention { age: Some(Duration::from_secs(60)), topics: vec![of_topic], ..policy() };
    assert_eq!(both.shortest_age(), Some(Duration::from_secs(5)));
}
