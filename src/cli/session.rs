//! `towline session`: sessions and their transcripts.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};

use super::Outcome;
use super::client::Parameters;
use super::completions;
use super::place::Global;
use super::tenant::{Extent, Said, Whose, follow, list, path, post, show};

/// Begin, read and extend sessions and their transcripts
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline session begin agent-7 first 'You are a reviewer.'
  towline session extend first -k answer 'I am.'
  towline session show first                   all of it
  towline session show first --newest --limit 20
  towline session fork agent-7 second --of first --at 1
  towline session ls
  towline session follow agent-7")]
pub struct Sessions {
    #[command(flatten)]
    whose: Whose,
    #[command(subcommand)]
    command: SessionCommand,
}

#[derive(Debug, Subcommand)]
enum SessionCommand {
    /// List sessions, the newest first; or the transcripts of one
    Ls {
        #[arg(add = ArgValueCandidates::new(completions::sessions))]
        session: Option<String>,
        #[command(flatten)]
        part: Part,
    },
    /// Begin a transcript with its first entry, and with it the session
    Begin {
        session: String,
        transcript: String,
        #[command(flatten)]
        said: Said,
        /// Don't tell viewers: a restored session goes on where it was
        #[arg(long)]
        quiet_begin: bool,
    },
    /// Begin a transcript that comes from another one, at a place in it
    Fork {
        session: String,
        transcript: String,
        /// The other transcript
        #[arg(long, value_name = "TRANSCRIPT")]
        of: String,
        /// How many of its entries come before
        #[arg(long, value_name = "N")]
        at: u64,
        #[command(flatten)]
        said: Said,
    },
    /// Begin a transcript that sums up another one
    Compact {
        session: String,
        transcript: String,
        /// The other transcript
        #[arg(long, value_name = "TRANSCRIPT")]
        of: String,
        #[command(flatten)]
        said: Said,
    },
    /// Append to a transcript
    Extend {
        transcript: String,
        #[command(flatten)]
        said: Said,
        /// After this entry, instead of at the end
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Show a transcript; --through shows another branch of it
    Show {
        transcript: String,
        /// The branch that this entry is on
        #[arg(long, value_name = "ID")]
        through: Option<String>,
        #[command(flatten)]
        part: Part,
        /// The last entries before this one
        #[arg(long, value_name = "ID", conflicts_with = "after")]
        before: Option<String>,
        /// The last entries
        #[arg(long, conflicts_with_all = ["after", "before"])]
        newest: bool,
    },
    /// Cut a transcript to its first entries
    Truncate { transcript: String, to: u64 },
    /// Note something beside a transcript
    Trace {
        transcript: String,
        #[command(flatten)]
        said: Said,
    },
    /// Show a session and what happens in it
    Follow {
        #[arg(add = ArgValueCandidates::new(completions::sessions))]
        session: String,
        /// How many entries at first, the newest ones
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: usize,
    },
}

impl Sessions {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        let sessions = path(&["sessions", &self.whose.tenant]);
        let of = |name: &str| path(&["transcripts", &self.whose.tenant, name]);
        let begin = |begun: Value, said: &Said| {
            let mut begun = begun;
            begun["events"] = said.event()?;
            post(&client, &sessions, &Parameters::new(), &begun)
        };
        let answer = match &self.command {
            SessionCommand::Ls { session, part } => {
                let of_one = |name: &String| path(&["sessions", &self.whose.tenant, name]);
                let path = session.as_ref().map_or(sessions, of_one);
                return list(&client, &path, part.parameters(), part.extent(), global, &mut output);
            }
            SessionCommand::Begin { session, transcript, said, quiet_begin } => begin(
                json!({"session": session, "transcript": transcript, "quiet": quiet_begin}),
                said,
            )?,
            SessionCommand::Fork { session, transcript, of, at, said } => begin(
                json!({"session": session, "transcript": transcript, "origin": "fork", "of": of, "at": at}),
                said,
            )?,
            SessionCommand::Compact { session, transcript, of, said } => begin(
                json!({"session": session, "transcript": transcript, "origin": "compaction", "of": of}),
                said,
            )?,
            SessionCommand::Extend { transcript, said, after } => {
                let after = after.iter().map(|id| ("after", id.clone())).collect();
                post(&client, &of(transcript), &after, &said.event()?)?
            }
            SessionCommand::Show { transcript, through, part, before, newest } => {
                let mut asked = part.parameters();
                asked.extend(through.iter().map(|id| ("through", id.clone())));
                asked.extend(before.iter().map(|id| ("before", id.clone())));
                asked.extend(newest.then(|| ("newest", "true".to_owned())));
                let is_end = before.is_some() || *newest;
                let extent = if is_end { Extent::Page } else { part.extent() };
                return list(&client, &of(transcript), asked, extent, global, &mut output);
            }
            SessionCommand::Truncate { transcript, to } => {
                let path = of(transcript) + "/truncate";
                post(&client, &path, &Parameters::new(), &json!({"to": to}))?
            }
            SessionCommand::Trace { transcript, said } => {
                let path = of(transcript) + "/traces";
                post(&client, &path, &Parameters::new(), &said.event()?)?
            }
            SessionCommand::Follow { session, limit } => {
                let path = path(&["sessions", &self.whose.tenant, session]) + "/follow";
                let asked = vec![("limit", limit.to_string())];
                return follow(&client, &path, &asked, &mut output);
            }
        };
        show(&answer, &mut output)
    }
}

/// Which part of a list is shown.
#[derive(Debug, Args)]
struct Part {
    /// What comes after this; --limit says where a list goes on
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// How many at most [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Part {
    fn parameters(&self) -> Parameters {
        let limit = self.limit.map(|limit| limit.to_string());
        let asked = [("after", self.after.clone()), ("limit", limit)];
        asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn extent(&self) -> Extent {
        if self.limit.is_some() { Extent::Page } else { Extent::All }
    }
}
