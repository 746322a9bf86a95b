//! Exemptions: questions for other headers, on the way to a denial.

use core::slice;

use super::{
    HTTP_REQUEST_HEADERS, MEMORY, OK, RULE, UnsafeCell, Value, WORDS, proxy_get_header_map_value,
};
use crate::except::Fields;
pub use crate::except::IS_USED;
use crate::policy::EXCEPT_ROOM;

/// What was lent during a question: the size, or one of these.
struct Lent(UnsafeCell<usize>);

const NO_QUESTION: usize = 0;
const NOTHING_YET: usize = usize::MAX;

// SAFETY: as for `Memory`, one thread at a time.
unsafe impl Sync for Lent {}

static LENT: Lent = Lent(UnsafeCell::new(NO_QUESTION));

/// The longest text that is looked at. What is longer costs a request nothing more, and exempts nothing.
const ROOM: usize = EXCEPT_ROOM;

/// The room behind all data; `gate build` proves that the page has so much left.
#[cfg(target_family = "wasm")]
fn room() -> *mut u8 {
    unsafe extern "C" {
        // The linker's name for the end of the data.
        static mut __heap_base: u8;
    }
    &raw mut __heap_base
}

#[cfg(not(target_family = "wasm"))]
fn room() -> *mut u8 {
    struct Room(UnsafeCell<[u8; ROOM]>);
    // SAFETY: the tests ask one question at a time.
    unsafe impl Sync for Room {}
    static PLACE: Room = Room(UnsafeCell::new([0; ROOM]));
    PLACE.0.get().cast()
}

/// Lends room for a text of `size` bytes, and clears it, if a question is asked.
pub fn lend(size: usize) -> Option<*mut u8> {
    let room = room();
    // SAFETY: the only reference to the cell; nothing else refers to the room, which has `size` bytes.
    // Volatile, so that the writes are not joined into a call of memset.
    unsafe {
        if *LENT.0.get() == NO_QUESTION || size > ROOM {
            return None;
        }
        *LENT.0.get() = size;
        for at in 0..size {
            room.add(at).write_volatile(0);
        }
    }
    Some(room)
}

/// Asks the host for a header of the request. Returns the size of its value only if the host returns Ok and
/// the address and size of memory that it was lent during this call; 0 otherwise.
#[inline(never)]
fn ask(name: &'static str) -> usize {
    let (value, value_data) = (MEMORY.value.get(), MEMORY.value_data.get());
    // SAFETY: as in `host_delivers_value`; the size is the last four bytes of `value`, and the cell has no other
    // reference. Volatile, so that `gate build` can follow what is compared.
    let (status, size, value_data, lent) = unsafe {
        for_each!(i < WORDS, value.cast::<u64>().add(i).write_volatile(0));
        value_data.write_volatile(0);
        *LENT.0.get() = NOTHING_YET;
        let size: *mut u32 = super::lent().add(size_of::<Value>() - size_of::<u32>()).cast();
        let status = proxy_get_header_map_value(
            HTTP_REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            value_data,
            size,
        );
        let size = size.read_volatile() as usize;
        (status, size, value_data.read(), LENT.0.get().replace(NO_QUESTION))
    };
    if status != OK || size > ROOM {
        return 0;
    }
    let is_lent = RULE.accepts_size(size) || size == lent;
    if is_lent && value_data == place(size).addr() { size } else { 0 }
}

/// Where a text of `size` bytes is: the size of an accepted value has the buffer of values.
#[inline(never)]
fn place(size: usize) -> *const u8 {
    if RULE.accepts_size(size) { super::lent() } else { room() }
}

/// The text that was the answer to the last question.
#[expect(clippy::inline_always, reason = "a slice would be returned on the stack")]
#[inline(always)]
fn text(size: usize) -> &'static [u8] {
    // SAFETY: memory that was lent has `size` bytes, the room's or fewer; nothing writes to it while the
    // slice lives, which is until the next question.
    unsafe { slice::from_raw_parts(place(size), size) }
}

/// Whether the request passes without the header.
pub fn is_exempt() -> bool {
    crate::except::is_exempt(&Request)
}

/// The request that is decided.
struct Request;

impl Fields for Request {
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn field(&self, name: &'static str) -> &[u8] {
        text(ask(name))
    }
}
