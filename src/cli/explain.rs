//! `towline explain`: what an error means and what can be done.

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use crate::words::Code;

/// The widest line of an explanation.
const WIDTH: usize = 80;

/// Say what an error means and what can be done
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline explain E0101
  towline explain                              all codes")]
pub struct Explain {
    /// A code, as in error[E0101]
    code: Option<String>,
}

impl Explain {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let codes = match &self.code {
            Some(text) => vec![Code::parse(text).ok_or_else(|| unknown(text))?],
            None => Code::ALL.to_vec(),
        };
        let mut output = global.output();
        match (output.format, &self.code) {
            (Format::Text, None) => {
                for code in codes {
                    output.line(format_args!("{}  {}", code.text(), code.title()))?;
                }
            }
            (Format::Text, Some(_)) => {
                for code in codes {
                    let (text, title) = (code.text(), code.title());
                    output.line(format_args!("{text}: {title}\n"))?;
                    output.line(wrapped(code.explanation()))?;
                    output.line(format_args!("\nExit code {}.", code.exit()))?;
                }
            }
            (Format::Json, None) => {
                output.json(&codes.into_iter().map(facts).collect::<Vec<_>>())?
            }
            _ => {
                for code in codes {
                    output.json(&facts(code))?;
                }
            }
        }
        output.flush()
    }
}

fn unknown(text: &str) -> Failure {
    let why = format_args!("{text:?} is no code of towline");
    Failure::new(Code::NotFound, "there is nothing to explain", why)
        .hint("towline explain, which lists all codes")
}

fn facts(code: Code) -> Value {
    json!({
        "code": code.text(),
        "title": code.title(),
        "explanation": code.explanation(),
        "exit": code.exit(),
        "status": code.status(),
    })
}

/// A text in lines that fit a terminal.
fn wrapped(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    let mut width = 0;
    for word in text.split_whitespace() {
        let wide = word.chars().count();
        if width > 0 && width + 1 + wide > WIDTH {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += wide;
    }
    lines
}
