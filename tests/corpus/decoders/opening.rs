//! Opening statements.

use towline::core::segment::Opening;

use super::Verdict;
use super::allocation::within;

pub fn opening(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let most = 16 * text.len() + (16 << 10); // a parent is 40 bytes, from 30 bytes of text at least
    let parsed = within(most, || Opening::parse(text));
    if let Ok(opening) = &parsed {
        assert_eq!(opening.text(), text, "one opening has one spelling");
        assert_eq!(opening.check(), Ok(()));
    }
    parsed.into()
}
