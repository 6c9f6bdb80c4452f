//! Reading lines, of which any may be too long, and knowing when the next one would have to be
//! waited for.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;

/// How much is read ahead.
const READ_AHEAD: usize = 1 << 20;

/// Lines of a stream: the bytes between line feeds, whatever they are.
pub struct Lines<R> {
    input: BufReader<R>,
    number: u64,
    most: usize,
}

/// Says why there is no next line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is too long.
    #[error("line {number} has more than {most} bytes")]
    TooLong {
        /// Its number, from 1.
        number: u64,
        /// The bound.
        most: usize,
    },
    /// The stream can't be read.
    #[error("the input can't be read: {0}")]
    Io(#[from] io::Error),
}

impl<R: Read> Lines<R> {
    /// The lines of a stream, of at most `most` bytes each.
    pub fn new(input: R, most: usize) -> Self {
        Self { input: BufReader::with_capacity(READ_AHEAD, input), number: 0, most }
    }

    /// The next line without its line feed. A last line that has none is a line, too.
    ///
    /// # Errors
    /// See [`LineError`]. What follows must not be read.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let mut line = Vec::new();
        let bound = self.most as u64 + 1;
        Read::by_ref(&mut self.input).take(bound).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > self.most {
            return Err(LineError::TooLong { number: self.number, most: self.most });
        }
        Ok(Some(line))
    }

    /// The number of the line that was read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether a whole line is there already.
    pub fn has_line(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }
}

/// Whether stdin is a file, which stays as it is until it is read.
pub fn stdin_is_file() -> bool {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    stdin.and_then(|stdin| stdin.metadata()).is_ok_and(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(text, 4);
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    #[test]
    fn a_line_keeps_all_but_its_line_feed() {
        assert_eq!(lines(b"a\r\n\n\xff"), [&b"a\r"[..], b"", b"\xff"]);
        assert_eq!(lines(b"a\n"), [b"a"]);
        assert_eq!(lines(b""), [b""; 0]);
    }

    #[test]
    fn a_line_may_be_as_long_as_the_bound() {
        assert_eq!(lines(b"abcd\nabcd"), [b"abcd", b"abcd"]);
        let mut lines = Lines::new(&b"a\nabcde\n"[..], 4);
        lines.next_line().unwrap();
        let error = lines.next_line().unwrap_err();
        assert_eq!(error.to_string(), "line 2 has more than 4 bytes");
    }

    #[test]
    fn a_line_is_there_once_its_line_feed_is() {
        let mut lines = Lines::new(&b"a\nb"[..], 4);
        assert!(!lines.has_line());
        lines.next_line().unwrap();
        assert!(!lines.has_line());
    }
}
