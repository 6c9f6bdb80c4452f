//! The settings file of a node.

use towline::cli::decoders;

use super::Verdict;

pub fn settings(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let read = decoders::settings(text);
    if let Err(why) = &read {
        assert_eq!(why.lines().count(), 3, "{why}");
    }
    let name = decoders::name_in_settings(text);
    assert_eq!(name.as_deref(), Ok(text), "a name in a settings file reads back");
    read.into()
}
