//! `towline top`: a live view of a cluster in a terminal.

use std::io::{IsTerminal, stdout};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};

use super::Outcome;
use super::answers;
use super::failure::{Failure, Stop};
use super::place::Global;
use crate::words::Code;
use screen::{Seen, View};

mod screen;

/// How often a key is looked for.
const KEYS: Duration = Duration::from_millis(100);
/// How many samples the graph of the rate keeps.
const SAMPLES: usize = 240;
/// How large a picture is that goes into a pipe.
const PICTURE: (u16, u16) = (100, 24);
/// The exit code of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Watch a cluster live: nodes, lag, rates, gaps
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline top
  towline top --node http://10.0.0.1:7118
  towline top | head                           one picture, for a pipe",
    after_help = "\
q, Esc or Ctrl-C ends it. A node that goes away is told of, and comes back by
itself."
)]
pub struct Top {
    /// How many seconds lie between two looks
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
}

impl Top {
    pub(super) fn run(self, global: &Global) -> Outcome {
        if !stdout().is_terminal() {
            return picture(global);
        }
        // A node that isn't there at all is said before the screen is taken.
        let first = look(global)?;
        let every = Duration::from_secs(self.every);
        let (seeing, seen) = sync_channel(1); // full: the next look waits
        let global = global.clone();
        // It ends with the process, or when nobody looks any more.
        let looking = std::thread::spawn(move || watch(&global, &seeing, every));
        let terminal = ratatui::try_init();
        let mut terminal = terminal
            .map_err(|error| Failure::new(Code::Io, "the terminal can't be used", error))?;
        let mut view = View::new(SAMPLES, every);
        view.see(first);
        let shown = show(&mut terminal, &mut view, &seen);
        ratatui::restore();
        drop((seen, looking));
        shown
    }
}

/// One look at the node.
fn look(global: &Global) -> Result<Seen, Failure> {
    let (status, nodes) = answers::ask(&global.node()?)?;
    Ok(Seen { status, nodes })
}

fn watch(global: &Global, seeing: &SyncSender<Result<Seen, String>>, every: Duration) {
    loop {
        std::thread::sleep(every);
        let seen = look(global).map_err(|failure| failure.why().to_owned());
        if seeing.send(seen).is_err() {
            return;
        }
    }
}

/// Draws what is seen until a key ends it.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut View,
    seen: &Receiver<Result<Seen, String>>,
) -> Outcome {
    let failed = |error| Failure::new(Code::Io, "the terminal can't be used", error);
    loop {
        match seen.try_recv() {
            Ok(Ok(seen)) => view.see(seen),
            Ok(Err(why)) => view.trouble = Some(why),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => view.trouble = Some("nobody looks".to_owned()),
        }
        terminal.draw(|frame| screen::draw(frame, view)).map_err(failed)?;
        if event::poll(KEYS).map_err(failed)?
            && let Event::Key(key) = event::read().map_err(failed)?
        {
            match ended_by(key) {
                None => {}
                Some(0) => return Ok(()),
                Some(code) => return Err(Stop::Told(code)),
            }
        }
    }
}

/// The exit code that a key asks for, if it ends the view.
fn ended_by(key: KeyEvent) -> Option<u8> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(INTERRUPTED),
        KeyCode::Char('q') | KeyCode::Esc => Some(0),
        _ => None,
    }
}

/// One picture as text, for pipes.
fn picture(global: &Global) -> Outcome {
    let mut view = View::new(SAMPLES, Duration::from_secs(1));
    view.see(look(global)?);
    let mut output = global.output();
    for line in drawn(&view, PICTURE) {
        output.line(line)?;
    }
    output.flush()
}

/// The lines of a screen of this size.
fn drawn(view: &View, (width, height): (u16, u16)) -> Vec<String> {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| screen::draw(frame, view));
    let buffer = terminal.backend().buffer();
    let cells = buffer.content().chunks(usize::from(width).max(1));
    let lines = cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(entries: u64) -> Seen {
        let status = json!({"node": "ab".repeat(32), "name": "a\u{1b}[31m", "state": "ok",
            "entries": entries, "authors": 2, "emitted": 5, "recorded": 4, "dropped": 1, "gaps": 1,
            "bytes": 2048, "version": "0", "cluster": "ef".repeat(32), "frontier": ""});
        let nodes = json!([
            {"node": "ab".repeat(32), "name": "", "state": "self", "authored": 3, "lag": 0,
                "skew_seconds": 0},
            {"node": "cd".repeat(32), "name": "", "state": "unreachable", "authored": 4, "lag": 1234,
                "address": "10.0.0.2:7117", "skew_seconds": 0, "trouble": "no answer"}]);
        Seen {
            status: serde_json::from_value(status).unwrap(),
            nodes: serde_json::from_value(nodes).unwrap(),
        }
    }

    fn text(view: &View, size: (u16, u16)) -> String {
        drawn(view, size).join("\n")
    }

    #[test]
    fn nodes_lag_rate_and_gaps_are_seen() {
        let mut view = View::new(SAMPLES, Duration::from_secs(2));
        view.see(seen(100));
        view.see(seen(150));
        let text = text(&view, PICTURE);
        for shown in ["150 entries", "25 a second", "1 dropped", "cdcdcdcd", "1234", "no answer"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }

    #[test]
    fn a_narrow_screen_shows_nodes_states_and_lag_whole() {
        let mut view = View::new(SAMPLES, Duration::from_secs(1));
        view.see(seen(1));
        let text = text(&view, (46, 16));
        for shown in ["cdcdcdcd", "unreachable", "1234", "ENTRIES", "LAG"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }

    #[test]
    fn nothing_that_a_node_says_commands_the_terminal() {
        let mut view = View::new(SAMPLES, Duration::from_secs(1));
        view.see(seen(1));
        assert!(!text(&view, PICTURE).contains('\u{1b}'));
    }

    #[test]
    fn a_node_that_went_away_is_told_of_on_any_screen() {
        let mut view = View::new(SAMPLES, Duration::from_secs(1));
        view.see(seen(1));
        view.trouble = Some("connection refused".to_owned());
        assert!(text(&view, PICTURE).contains("connection refused"));
        for size in [(1, 1), (20, 3), (300, 100)] {
            text(&view, size);
        }
    }

    #[test]
    fn a_key_ends_it() {
        let key = |code, modifiers| ended_by(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(0));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(INTERRUPTED));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
    }
}
