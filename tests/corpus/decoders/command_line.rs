//! Lines that are piped into `append` and `emit`.

use towline::cli::decoders;

use super::Verdict;
use super::request::sent;

/// The longest payload of a line.
const MOST: usize = 4 << 10;

/// The first byte says how the others are piped in.
pub fn command_line(bytes: &[u8]) -> Verdict {
    let Some((how, input)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let text = ["--format", "text"];
    let lines = ["--format", "ndjson"];
    let named = ["--topic", "t", "--kind", "k", "--tenant", "acme", "--attr", "a=b"];
    let flags: &[&[&str]] = match how % 4 {
        0 => &[&text],
        1 => &[&lines],
        2 => &[&text, &named],
        _ => &[&lines, &named],
    };
    let (bodies, ended) = decoders::bodies(&flags.concat(), input, MOST);
    let mut drafts = Vec::new();
    for body in bodies {
        // What the command line takes, a node takes.
        drafts.extend(sent("application/x-ndjson", body).expect("a node takes it"));
    }
    assert!(drafts.iter().all(|draft| draft.data.len() <= MOST));
    if how.is_multiple_of(2) {
        let piped = input.strip_suffix(b"\n").unwrap_or(input).split(|byte| *byte == b'\n');
        let piped = piped.take(drafts.len()).map(<[u8]>::to_vec);
        let kept = drafts.iter().map(|draft| draft.data.to_vec());
        assert!(kept.eq(piped), "a line is kept as it is");
    }
    if let Err(why) = &ended {
        assert_eq!(why.lines().count(), 3, "{why}");
    }
    ended.into()
}
