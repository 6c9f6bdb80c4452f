//! What a node answers to entries that are appended, as it is printed.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::failure::Stop;
use super::output::{Format, Output, not_an_entry};

#[derive(Deserialize)]
struct Receipt {
    id: String,
}

/// Prints receipts for as long as somebody reads them: whoever pipes entries in wants them
/// appended, even when nobody looks at the ids any more.
pub struct Receipts<'o> {
    output: &'o mut Output,
    printed: u64,
    reader_left: bool,
}

impl<'o> Receipts<'o> {
    /// Begins with none.
    pub fn new(output: &'o mut Output) -> Self {
        Self { output, printed: 0, reader_left: false }
    }

    /// Prints those of one request.
    ///
    /// # Errors
    /// Stdout can't be written.
    pub fn print(&mut self, receipts: &[Box<RawValue>]) -> Outcome {
        self.unless_reader_left(|this| {
            for receipt in receipts {
                this.write(receipt)?;
                this.printed += 1;
            }
            this.output.flush()
        })
    }

    fn write(&mut self, receipt: &RawValue) -> Outcome {
        match self.output.format {
            Format::Text => {
                let receipt: Receipt = serde_json::from_str(receipt.get()).map_err(not_an_entry)?;
                self.output.line(receipt.id)
            }
            Format::Ndjson | Format::Cloudevents => self.output.line(receipt),
            Format::Json => {
                let before: &[u8] = if self.printed == 0 { b"[" } else { b",\n" };
                self.output.bytes(before)?;
                self.output.bytes(receipt.get().as_bytes())
            }
        }
    }

    /// Closes the array of -o json.
    ///
    /// # Errors
    /// Stdout can't be written.
    pub fn end(&mut self) -> Outcome {
        self.unless_reader_left(|this| {
            if this.output.format == Format::Json && this.printed > 0 {
                this.output.line("]")?;
            }
            this.output.flush()
        })
    }

    fn unless_reader_left(&mut self, write: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        if self.reader_left {
            return Ok(());
        }
        match write(self) {
            Err(Stop::ReaderLeft) => {
                self.reader_left = true;
                Ok(())
            }
            written => written,
        }
    }
}
