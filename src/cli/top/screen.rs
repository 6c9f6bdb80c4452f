//! The screen of `towline top`: what was seen of a node, drawn.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};

use crate::cli::answers::{Known, Status, short};
use crate::cli::line::one_line;
use crate::cli::status::{bytes, counted};

/// A narrower screen has no room for addresses.
const NARROW: u16 = 70;

/// One look at a node.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Itself.
    pub status: Status,
    /// All that it knows.
    pub nodes: Vec<Known>,
}

/// What is shown.
pub struct View {
    seen: Option<Seen>,
    /// Entries a second, the newest last.
    rates: VecDeque<u64>,
    most: usize,
    every: Duration,
    /// Why the node was not seen lately.
    pub trouble: Option<String>,
}

impl View {
    /// A view that remembers so many looks.
    pub fn new(most: usize, every: Duration) -> Self {
        Self { seen: None, rates: VecDeque::new(), most, every, trouble: None }
    }

    /// Takes a look.
    pub fn see(&mut self, seen: Seen) {
        let before = self.seen.as_ref().map(|before| before.status.entries);
        if let Some(before) = before {
            let new = seen.status.entries.saturating_sub(before);
            self.rates.push_back(new / self.every.as_secs().max(1));
        }
        while self.rates.len() > self.most {
            self.rates.pop_front();
        }
        (self.seen, self.trouble) = (Some(seen), None);
    }
}

/// Draws it, whatever size the screen has.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let Some(Seen { status, nodes }) = &view.seen else { return };
    let areas = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(6),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [head, graph, table, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(about(status)), head);
    let width = usize::from(graph.width.saturating_sub(2));
    let rates: Vec<u64> =
        view.rates.iter().skip(view.rates.len().saturating_sub(width)).copied().collect();
    let now = view.rates.back().copied().unwrap_or(0);
    let title = format!(" new entries: {now} a second ");
    let sparkline = Sparkline::default().data(&rates).style(Style::new().fg(Color::Cyan));
    frame.render_widget(sparkline.block(Block::bordered().title(title)), graph);
    frame.render_widget(of_nodes(nodes, table.width), table);
    let foot_line = match &view.trouble {
        Some(why) => {
            let warning = Style::new().fg(Color::Black).bg(Color::Yellow);
            Line::styled(format!("the node doesn't answer: {}", one_line(why)), warning)
        }
        None => Line::styled("q ends", Style::new().add_modifier(Modifier::DIM)),
    };
    frame.render_widget(foot_line, foot);
}

fn about(status: &Status) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let short = short(&status.node);
    let state = match &status.trouble {
        Some(trouble) => format!("{}: {}", status.state, one_line(trouble)),
        None => one_line(&status.state).into_owned(),
    };
    let style = if status.state == "ok" { Color::Green } else { Color::Yellow };
    let log = format!(
        "{} of {}, {} on disk",
        counted(status.entries, "entry", "entries"),
        counted(status.authors, "author", "authors"),
        bytes(status.bytes)
    );
    let events = format!(
        "{} emitted, {} recorded, {} dropped in {}",
        status.emitted,
        status.recorded,
        status.dropped,
        counted(status.gaps, "gap", "gaps")
    );
    let dropped = if status.dropped > 0 { Color::Yellow } else { Color::Reset };
    vec![
        Line::styled(format!("towline  {short}  {}", one_line(&status.name)), bold),
        Line::styled(state, Style::new().fg(style)),
        Line::raw(log),
        Line::styled(events, Style::new().fg(dropped)),
    ]
}

fn of_nodes(nodes: &[Known], width: u16) -> Table<'static> {
    let header = ["NODE", "NAME", "STATE", "ADDRESS", "ENTRIES", "LAG", ""];
    let rows = nodes.iter().map(|node| {
        let colour = match node.state.as_str() {
            "self" | "connected" if node.lag == 0 => Color::Reset,
            "connected" => Color::Cyan,
            "connecting" | "unreachable" => Color::Yellow,
            _ => Color::Reset,
        };
        Row::new([
            node.short(),
            one_line(&node.name).into_owned(),
            one_line(&node.state).into_owned(),
            one_line(&node.address).into_owned(),
            node.authored.to_string(),
            node.lag.to_string(),
            node.remark(),
        ])
        .style(Style::new().fg(colour))
    });
    // Where there is no room for all, addresses and remarks go first.
    let (name, address, remark) = match width < NARROW {
        true => (Constraint::Min(5), Constraint::Length(0), Constraint::Length(0)),
        false => (Constraint::Length(12), Constraint::Length(21), Constraint::Min(10)),
    };
    let [id, state, entries, lag] = [8, 11, 8, 7].map(Constraint::Length);
    let widths = [id, name, state, address, entries, lag, remark];
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(rows, widths).header(header)
}
