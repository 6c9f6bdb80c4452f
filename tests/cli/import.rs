//! `import`: what was exported comes back, once, however often it is tried.

use serde_json::Value;

use crate::program::{Failed, Home, printed};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn drafts(count: usize) -> String {
    (0..count).map(|n| format!("{{\"topic\":\"t\",\"kind\":\"k\",\"data\":{n}}}\n")).collect()
}

fn entries(home: &Home) -> u64 {
    home.json(&["status", "-o", "json"])["entries"].as_u64().unwrap()
}

#[test]
fn what_was_exported_is_imported_with_its_origin() {
    let (from, to) = (Home::new(), Home::new());
    let _one = from.start(&[]);
    printed(from.piped(&["append", "-t", "t", "--attr", "a=b"], b"text\n\xff\x00\n"));
    from.ok(&[
        "append",
        "-k",
        "json",
        "--tenant",
        "acme",
        "--format",
        "ndjson",
        r#"{"data":{"a":1.0}}"#,
    ]);
    let exported = from.ok(&["export"]);
    let _other = to.start(&[]);
    let said = printed(to.piped(&["import"], exported.as_bytes()));
    assert!(said.starts_with("ok: 3 entries, "), "{said}");

    let (old, new) = (lines(&exported), lines(&to.ok(&["export"])));
    assert_eq!((old.len(), new.len()), (3, 3));
    for (old, new) in old.iter().zip(&new) {
        for field in ["tenant", "topic", "kind", "data", "data_base64", "content_type"] {
            assert_eq!(old[field], new[field], "{field}");
        }
        assert_eq!(new["attributes"]["origin"], old["id"]);
        assert_eq!(new["attributes"]["origin.time"], old["time"]);
        assert_ne!(new["author"], old["author"]);
    }
    assert_eq!(new[0]["attributes"]["a"], "b");
}

#[test]
fn the_same_input_again_imports_nothing_twice() {
    let home = Home::new();
    let _node = home.start(&[]);
    // Lines that are all alike, in batches that are: they are different entries.
    let alike = "{\"topic\":\"t\",\"kind\":\"k\",\"data\":1}\n".repeat(2_500);
    std::fs::write(home.path().join("alike.ndjson"), &alike).unwrap();
    // A run that was cut after two batches sent these.
    let cut: String = alike.lines().take(2_000).map(|line| format!("{line}\n")).collect();
    printed(home.piped(&["import", "-"], cut.as_bytes()));
    assert_eq!(entries(&home), 2_000);
    for _ in 0..2 {
        let told = home.json(&["import", "alike.ndjson", "-o", "json"]);
        assert_eq!(told["entries"], 2_500);
        assert_eq!(entries(&home), 2_500);
    }
}

#[test]
fn a_bad_line_is_named_and_mended_input_goes_on() {
    let home = Home::new();
    let _node = home.start(&[]);
    let good = drafts(1_500);
    let bad = good.replace("\"data\":1234}", "\"data\":}");
    let failed = Failed::of(home.piped(&["import"], bad.as_bytes()));
    assert!(failed.is("E0004", 2), "{failed:?}");
    assert_eq!(failed.what, "line 1235 is no entry");
    assert!(failed.why.contains("the 1000 entries before it stay"), "{failed:?}");
    assert_eq!(entries(&home), 1_000);
    printed(home.piped(&["import"], good.as_bytes()));
    assert_eq!(entries(&home), 1_500);
    let page = home.ok(&["query", "--order", "arrival", "-o", "ndjson", "--limit", "1500"]);
    let numbers: Vec<u64> = lines(&page).iter().map(|e| e["data"].as_u64().unwrap()).collect();
    assert!(numbers.into_iter().eq(0..1_500));
}

#[test]
fn every_line_is_checked_without_a_node() {
    let home = Home::new();
    let said = printed(home.piped(&["import", "--dry-run"], drafts(3).as_bytes()));
    assert_eq!(said, "ok: 3 entries to import\n");
    let reserved = b"{\"topic\":\"t\",\"kind\":\"towline.gap\",\"data\":1}\n";
    assert!(Failed::of(home.piped(&["import", "--dry-run"], reserved)).is("E0002", 2));
}

#[test]
fn an_import_of_nothing_is_refused() {
    let home = Home::new();
    assert!(home.fails(&["import", "--dry-run", "-"]).is("E0005", 2));
    assert!(home.fails(&["import", "--dry-run", "missing.ndjson"]).is("E0401", 1));
    assert!(home.fails(&["import", "-"]).is("E0201", 5));
}
