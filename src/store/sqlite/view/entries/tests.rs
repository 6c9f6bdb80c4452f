use super::*;

fn narrowed(column: c_int, operator: char, value: ValueRef<'_>) -> Wanted {
    let mut wanted = Wanted::all(Listed::Merged(Direction::Forward));
    wanted.narrow((column, operator), value);
    wanted
}

#[test]
fn a_plan_is_read_as_it_was_written() {
    let plan: Vec<_> = conditions("0=4]8=5<").collect();
    assert_eq!(plan, [(0, '='), (4, ']'), (8, '='), (5, '<')]);
}

#[test]
fn numbers_bound_a_listing_as_sql_means_them() {
    let offsets = |operator, number| {
        let Wanted { offsets, .. } = narrowed(OFFSET, operator, ValueRef::Integer(number));
        (offsets.start.0, offsets.end.0)
    };
    assert_eq!(offsets('=', 5), (5, 6));
    assert_eq!(offsets('>', 5), (6, u64::MAX));
    assert_eq!(offsets(']', 5), (5, u64::MAX));
    assert_eq!(offsets('<', 5), (0, 5));
    assert_eq!(offsets('[', 5), (0, 6));
    assert_eq!(offsets('>', -5), (0, u64::MAX));
    assert_eq!(offsets('<', -5), (0, 0));
}

#[test]
fn a_text_that_is_no_printed_time_bounds_nothing() {
    let bounds = |text: &str| {
        let Wanted { since, until, .. } = narrowed(TIME, '=', ValueRef::Text(text.as_bytes()));
        since.zip(until).map(|(since, until)| (since.millis(), until.millis()))
    };
    let (day, second) = (1_795_219_200_000, 1_795_237_297_000);
    assert_eq!(bounds("2026-11-21"), Some((day, day + 1)));
    assert_eq!(bounds("2026-11-21T05:01:37.123Z"), Some((second + 123, second + 124)));
    assert_eq!(bounds("2026-11-21T05:01:37Z"), Some((second, second + 1_000)));
    for text in ["", "yesterday", "2026-1", "2026-11-21T05:01:37+01:00", "2026-13-01", "é"] {
        assert_eq!(bounds(text), None, "{text}");
    }
}

#[test]
fn what_no_entry_can_be_lists_nothing() {
    assert!(narrowed(AUTHOR, '=', ValueRef::Text(b"alice")).nothing);
    assert!(narrowed(ID, '=', ValueRef::Text(b"'; DROP TABLE entries; --")).nothing);
    assert!(narrowed(TOPIC, '=', ValueRef::Null).nothing);
    assert!(!narrowed(AUTHOR, '=', ValueRef::Integer(5)).nothing);
}
