//! The names of clients.

use crate::policy::{ID_TEXT, IDS};

/// The name of the client in this slot.
#[expect(clippy::inline_always, reason = "a slice would be returned on the stack")]
#[inline(always)]
#[must_use]
pub fn id(client: usize) -> Option<&'static [u8]> {
    let (start, end) = (*IDS.get(client)?, *IDS.get(client + 1)?);
    // As bytes: a text would look for the ends of characters.
    ID_TEXT.as_bytes().get(start as usize..end as usize)
}
