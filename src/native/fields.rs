//! The header fields of a request. Envoy lists all of them for a tenth of what it takes to look one up by its name:
//! for the first look-up, it builds a hash table of all fields.

use core::mem::MaybeUninit;
use core::slice;

use super::abi::{
    Buffer, Header, REQUEST_HEADER, Request, envoy_dynamic_module_callback_http_get_header,
    envoy_dynamic_module_callback_http_get_headers,
    envoy_dynamic_module_callback_http_get_headers_size,
};
use crate::decision::partial;
use crate::except;
use crate::policy::{DENY_REPEATED, HEADER};

/// The header as Envoy keeps it: `host` has the name that it has in HTTP/2.
pub const FIELD: &str = match HEADER.as_bytes() {
    b"host" => ":authority",
    _ => HEADER,
};

/// Most fields that are listed. Envoy accepts 100, unless it is configured otherwise.
const MOST: usize = 128;

/// The size of a name that Envoy has not written.
const UNWRITTEN: usize = 0;

/// Memory for a list.
pub type Room = [MaybeUninit<Header>; MOST];

/// Empty memory for a list.
pub const ROOM: Room = [MaybeUninit::uninit(); MOST];

/// The fields of a request, until one of them is changed.
pub enum Fields<'a> {
    /// All of them; what Envoy has not written has a name without bytes.
    Listed(&'a [MaybeUninit<Header>]),
    /// More than a list holds: Envoy is asked for each.
    Asked(Request),
}

impl<'a> Fields<'a> {
    /// The fields of `request`; none if Envoy does not return them.
    #[inline]
    pub fn of(request: Request, room: &'a mut Room) -> Self {
        // SAFETY: `request` is what Envoy passed to the event that runs.
        let size =
            unsafe { envoy_dynamic_module_callback_http_get_headers_size(request, REQUEST_HEADER) };
        let Some(list) = room.get_mut(..size) else { return Self::Asked(request) };
        for field in &mut *list {
            // SAFETY: a part of a reference. Volatile, so that the writes are not joined into a call of memset.
            unsafe { (&raw mut (*field.as_mut_ptr()).key.length).write_volatile(UNWRITTEN) };
        }
        // SAFETY: `request` as above. Envoy writes at most as many fields as it said just before.
        let listed = unsafe {
            let list = list.as_mut_ptr().cast();
            envoy_dynamic_module_callback_http_get_headers(request, REQUEST_HEADER, list)
        };
        Self::Listed(if listed { list } else { &[] })
    }

    /// The first value of the field `name`, if `expected` accepts its size and how many values there are.
    #[expect(clippy::inline_always, reason = "as below")]
    #[inline(always)]
    pub fn value_of(
        &self,
        name: &'static str,
        expected: impl Fn(usize, usize) -> bool,
    ) -> Option<&'a [u8]> {
        let (value, count) = match *self {
            Self::Listed(fields) => {
                let mut values = fields.iter().filter_map(|field| value(field, name));
                (values.next()?, if DENY_REPEATED { 1 + values.count() } else { 1 })
            }
            Self::Asked(request) => ask(request, name)?,
        };
        if value.ptr.is_null() || !expected(value.length, count) {
            return None;
        }
        // SAFETY: Envoy points to the value in the request's header map, which stays as it is until this
        // event returns or changes it; the size is one that a value may have.
        Some(unsafe { slice::from_raw_parts(value.ptr, value.length) })
    }

    /// The first value of the field `name`; empty if there is none.
    #[expect(
        clippy::inline_always,
        reason = "for a name that is known, it is a few instructions a field"
    )]
    #[inline(always)]
    pub fn text_of(&self, name: &'static str) -> &'a [u8] {
        // No value is longer.
        self.value_of(name, |size, _| isize::try_from(size).is_ok()).unwrap_or_default()
    }
}

impl except::Fields for Fields<'_> {
    fn field(&self, name: &'static str) -> &[u8] {
        self.text_of(name)
    }
}

/// The value of `field` if its name is `name`.
#[inline]
fn value(field: &MaybeUninit<Header>, name: &'static str) -> Option<Buffer> {
    // SAFETY: this part was written before Envoy got the list.
    if unsafe { (&raw const (*field.as_ptr()).key.length).read() } != name.len() {
        return None;
    }
    // SAFETY: no name is empty, so that Envoy has written the field.
    let Header { key, value } = unsafe { field.assume_init_read() };
    if key.ptr.is_null() {
        return None;
    }
    // SAFETY: as for values.
    let key = unsafe { slice::from_raw_parts(key.ptr, key.length) };
    // By words: a comparison of slices would call `memcmp`.
    let (words, rest) = key.as_chunks();
    let (expected, last) = name.as_bytes().as_chunks();
    let same = |(word, expected): (&[u8; 8], &[u8; 8])| {
        u64::from_le_bytes(*word) == u64::from_le_bytes(*expected)
    };
    (words.iter().zip(expected).all(same) && partial(rest) == partial(last)).then_some(value)
}

/// Asks Envoy for the first value of the field `name`, and how many it has.
#[cold]
fn ask(request: Request, name: &'static str) -> Option<(Buffer, usize)> {
    let (mut value, mut count) = (Buffer::NONE, 0);
    // SAFETY: `request` is what Envoy passed to the event that runs; the key is a string constant; the
    // results are two locals.
    let found = unsafe {
        envoy_dynamic_module_callback_http_get_header(
            request,
            REQUEST_HEADER,
            Buffer::of(name),
            &raw mut value,
            0,
            &raw mut count,
        )
    };
    (found && count != 0).then_some((value, count))
}
