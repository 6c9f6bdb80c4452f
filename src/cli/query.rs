//! `towline query`: searches the log, at a node or in a data directory.

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Parameters};
use super::failure::{Failure, Stop};
use super::filters::Filters;
use super::output::Listing;
use super::place::{Global, Place, as_node};
use crate::node::{self, Cursor, OfflineLog, Order};
use crate::words::json::{EntryJson, Lateness};

mod explained;

/// How many entries are asked for at once.
const PAGE: u64 = 1_000;

/// Search the log, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline query --topic story/42
  towline query --since 1h --grep error
  towline query --reverse --limit 1 -o ndjson  the newest entry
  towline query --topic story/42 --explain     what is read for it",
    after_help = "\
Prints everything that meets the filters, page by page. With --limit, -o json
says in \"next\" where --after goes on. --explain makes one page, of --limit
entries or 1000, and prints what was read for it instead."
)]
pub struct Query {
    #[command(flatten)]
    listing: Range,
    #[command(flatten)]
    filters: Filters,
    /// Say what of the log is read for the answer, and why no more
    #[arg(long)]
    explain: bool,
}

/// Which part of the log is listed, and in which order.
#[derive(Debug, Default, Args)]
pub struct Range {
    /// By time (the same on every node), by arrival at this node, or by author and seq
    #[arg(long, value_enum, default_value = "time", value_name = "time|arrival|author")]
    #[arg(hide_possible_values = true)]
    order: OrderName,
    /// The newest first
    #[arg(long)]
    reverse: bool,
    /// At most so many entries [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where a listing ended: its "next"
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OrderName {
    #[default]
    Time,
    Arrival,
    Author,
}

impl OrderName {
    fn order(self) -> Order {
        match self {
            Self::Time => Order::Time,
            Self::Arrival => Order::Arrival,
            Self::Author => Order::Author,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Arrival => "arrival",
            Self::Author => "author",
        }
    }
}

impl Query {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut output = global.output();
        if self.explain {
            let explanation = self.listing.explain(&self.filters, global.place()?)?;
            return explained::print(&mut output, &explanation);
        }
        let listing = Listing::new(&mut output, "entries");
        self.listing.print(&self.filters, global.place()?, listing)
    }
}

/// A page of entries in the very JSON of the node.
#[derive(Deserialize)]
struct Page {
    entries: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl Range {
    /// Prints all entries of the range that meet the filters.
    ///
    /// # Errors
    /// They can't be read or printed.
    pub fn print(&self, filters: &Filters, mut place: Place, mut listing: Listing<'_>) -> Outcome {
        let mut after = self.after.clone();
        let mut left = self.limit;
        loop {
            let limit = left.map_or(PAGE, |left| left.min(PAGE));
            let page = match &mut place {
                Place::Node(client) => self.ask(client, filters, limit, after)?,
                Place::Directory(log) => self.read(log, filters, limit, after.as_deref())?,
            };
            for entry in &page.entries {
                listing.entry(entry)?;
            }
            left = left.map(|left| left.saturating_sub(page.entries.len() as u64));
            after = page.next;
            if after.is_none() || left == Some(0) {
                return listing.end(after.as_deref());
            }
            listing.flush()?;
        }
    }

    /// What is read for the first page of the range.
    fn explain(&self, filters: &Filters, place: Place) -> Result<Box<RawValue>, Stop> {
        let limit = self.limit.unwrap_or(PAGE);
        match place {
            Place::Node(client) => {
                let mut parameters = self.parameters(filters, limit, self.after.clone());
                parameters.push(("explain", "true".to_owned()));
                Ok(client.get("/v1/entries", &parameters)?)
            }
            Place::Directory(mut log) => {
                let query = self.query(filters, limit, self.after.as_deref())?;
                let (_, explanation) = log.explain(&query).map_err(|e| Failure::query(&e))?;
                as_node(&explanation)
            }
        }
    }

    fn ask(
        &self,
        client: &Client,
        filters: &Filters,
        limit: u64,
        after: Option<String>,
    ) -> Result<Page, Stop> {
        Ok(client.get("/v1/entries", &self.parameters(filters, limit, after))?)
    }

    fn parameters(&self, filters: &Filters, limit: u64, after: Option<String>) -> Parameters {
        let mut parameters = filters.parameters();
        parameters.push(("order", self.order.name().to_owned()));
        parameters.push(("limit", limit.to_string()));
        parameters.extend(self.reverse.then(|| ("reverse", "true".to_owned())));
        parameters.extend(after.map(|cursor| ("after", cursor)));
        parameters
    }

    fn read(
        &self,
        log: &mut OfflineLog,
        filters: &Filters,
        limit: u64,
        after: Option<&str>,
    ) -> Result<Page, Stop> {
        let query = self.query(filters, limit, after)?;
        let page = log.query(&query).map_err(|error| Failure::query(&error))?;
        let entries = page.entries.iter();
        let entries = entries.map(|entry| as_node(&EntryJson::new(entry, Lateness::InOrder)));
        Ok(Page {
            entries: entries.collect::<Result<_, _>>()?,
            next: page.next.map(|cursor| cursor.to_string()),
        })
    }

    fn query(
        &self,
        filters: &Filters,
        limit: u64,
        after: Option<&str>,
    ) -> Result<node::Query, Stop> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut query = node::Query::in_order(self.order.order());
        query = query.filter(filters.filter()).limit(limit);
        if self.reverse {
            query = query.reverse();
        }
        if let Some(text) = after {
            let cursor: Cursor = text.parse().map_err(|error| bad_cursor(&error))?;
            query = query.after(cursor);
        }
        Ok(query)
    }
}

fn bad_cursor(error: &node::CursorError) -> Failure {
    Failure::query(&node::QueryError::Cursor(error.clone()))
}
