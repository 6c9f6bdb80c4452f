//! `bench`: what it measures, and that it leaves nothing behind.

use serde_json::Value;

use crate::program::Home;

fn measured(home: &Home, arguments: &[&str]) -> Vec<Value> {
    let all = [&["bench", "-q", "-o", "json", "--directory", "."], arguments].concat();
    home.json(&all).as_array().unwrap().clone()
}

#[test]
fn every_step_measures_something_beside_its_limit() {
    let home = Home::new();
    let steps = "bulk,appenders,http,catch-up,follow,restart,disk,scan,topic,memory,threads";
    let scale = ["--entries", "3000", "--authors", "3", "--topics", "7"];
    let threads = ["--threads", "20", "--tenants", "3"];
    let figures = measured(&home, &[&scale[..], &threads, &["--only", steps]].concat());
    for step in steps.split(',') {
        let mut of_step = figures.iter().filter(|figure| figure["step"] == step).peekable();
        assert!(of_step.peek().is_some(), "{step}");
        for figure in of_step {
            assert!(figure["value"].as_f64().unwrap() > 0.0, "{figure}");
            assert!(figure["limit"]["ratio"].is_f64() || step == "memory", "{figure}");
        }
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn lines_of_a_file_are_the_payloads() {
    let home = Home::new();
    std::fs::write(home.path().join("app.log"), "0123456789\n\n012345678901\n").unwrap();
    let figures = measured(&home, &["--payload", "app.log", "--entries", "100", "--only", "disk"]);
    assert_eq!(
        figures[0]["limit"],
        serde_json::json!({
            "of": "raw payload", "value": 11.0,
            "ratio": figures[0]["value"].as_f64().unwrap() / 11.0,
        })
    );
}

#[test]
fn payloads_that_are_none_are_refused() {
    let home = Home::new();
    std::fs::write(home.path().join("empty"), "\n\n").unwrap();
    assert!(home.fails(&["bench", "--payload", "empty"]).is("E0005", 2));
    assert!(home.fails(&["bench", "--payload", "missing"]).is("E0401", 1));
    assert!(home.fails(&["bench", "--only", "everything"]).is("E0001", 2));
}
