//! The lines of feature `log`, written without allocating.
//!
//! A line is `#`, the context's number, and a text that is known at compile time. The number is written
//! backwards into the room in front of the text, and the line begins at its first character.

use crate::policy::DENIAL;

/// What follows the context's number in every line.
const PREFIX: &str = " wasm-rust: ";

/// Text of the first line: the name of the callback.
const CALLED: &str = "on_http_request_headers";

/// `#` and the ten digits of the largest number.
const ROOM: usize = 11;

/// A line for each request.
pub const REQUEST: Line<{ size(CALLED) }> = Line::new(CALLED);

/// A line for each denied request, after [`REQUEST`].
pub const DENIED: Line<{ size(DENIAL) }> = Line::new(DENIAL);

/// Room for the number, and the text behind it.
#[derive(Clone, Copy)]
pub struct Line<const N: usize>([u8; N]);

const fn size(text: &str) -> usize {
    ROOM + PREFIX.len() + text.len()
}

impl<const N: usize> Line<N> {
    const fn new(text: &str) -> Self {
        let mut line = [0; N];
        let (_, behind) = line.split_at_mut(ROOM);
        let (prefix, rest) = behind.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        rest.copy_from_slice(text.as_bytes());
        Self(line)
    }

    /// Size of the longest line.
    #[must_use]
    pub const fn size(&self) -> usize {
        N
    }

    /// The line of the context with this number.
    #[expect(
        clippy::inline_always,
        reason = "a slice is returned on the stack; the ABI front has none"
    )]
    #[inline(always)]
    #[must_use]
    pub fn of(&mut self, context: u32) -> &[u8] {
        let start = self.0.first_chunk_mut().map_or(0, |room| put_number(room, context));
        self.0.get(start..).unwrap_or_default()
    }
}

/// Writes `#` and `number` to the end of `room`; returns where they begin.
fn put_number(room: &mut [u8; ROOM], mut number: u32) -> usize {
    let mut start = ROOM - 1;
    room[start] = b'0' + (number % 10) as u8;
    while number > 9 && start > 1 {
        number /= 10;
        start -= 1;
        room[start] = b'0' + (number % 10) as u8;
    }
    start -= 1;
    room[start] = b'#';
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_the_number_of_its_context() {
        let mut line = REQUEST;
        // The longest number first: no digit of it may remain in the shorter ones.
        for context in [u32::MAX, 1_000_000_000, 65_536, 10, 9, 2, 0] {
            let expected = std::format!("#{context} wasm-rust: on_http_request_headers");
            assert_eq!(str::from_utf8(line.of(context)), Ok(expected.as_str()));
        }
    }
}
