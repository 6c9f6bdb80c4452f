//! The numbers and texts that columns are made of, those of a block and those of its row.

/// Bytes that are read from front to back; every read can fail, none can panic.
#[derive(Clone, Copy)]
pub(in crate::store) struct Input<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    /// An unsigned LEB128 number.
    #[inline]
    pub fn number(&mut self) -> Option<u64> {
        // Most are one byte, or two.
        match *self.bytes {
            [one @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Some(u64::from(one))
            }
            [low, high @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Some(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A number that is at most `most`.
    #[inline]
    pub fn length(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|length| *length <= most)
    }

    #[inline]
    pub fn skip_text(&mut self) -> Option<()> {
        let length = self.length(self.bytes.len())?;
        self.take(length).map(drop)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.length(self.bytes.len())?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

pub(in crate::store) fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}
