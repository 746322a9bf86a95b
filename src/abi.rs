//! The default front: Proxy-Wasm ABI 0.2.1 itself, with no allocator, no stack and no start-up.
//!
//! A host calls only the callbacks that a module exports, so every export left out saves a call per
//! request. Three remain: the version marker, the allocator through which a host hands over a value,
//! and `proxy_on_request_headers`.
//!
//! All of the module's memory is one static, [`MEMORY`], ordered so that most addresses take one byte
//! in an instruction.

#![allow(unsafe_code)]

mod client;
mod count;
mod except;

use core::cell::UnsafeCell;
use core::ptr;

use crate::RULE;
use crate::abi_host::{
    HTTP_REQUEST_HEADERS, NOT_FOUND, OK, REFUSED, proxy_get_header_map_value,
    proxy_remove_header_map_value, proxy_send_local_response,
};
use crate::decide::{Answer, Gate, decide};
use crate::decision;
use crate::policy::{
    BODY, DETAILS, ENFORCE, GRPC_STATUS, HEADER, HEADERS_SERIALIZED, MISSING_DETAILS, REMOVE,
    SCRATCH, STATUS, WORDS,
};

type Value = decision::Value<WORDS>;

/// The whole memory of the module: two cells that the host writes, then data that it only reads.
#[repr(C)]
struct Memory {
    /// The image of the value. `malloc` lends its start, as many bytes as the longest accepted value
    /// has; the host writes the value's size to its last four.
    value: UnsafeCell<Value>,
    /// The host writes the address of the value here.
    value_data: UnsafeCell<usize>,
    scratch: UnsafeCell<[u32; SCRATCH]>,
    details: [u8; DETAILS.len()],
    missing_details: [u8; missing_details().len()],
    header: [u8; HEADER.len()],
    headers: [u8; HEADERS_SERIALIZED.len()],
    body: [u8; BODY.len()],
}

// SAFETY: a WebAssembly instance without shared memory runs on one thread at a time, and this module
// neither declares nor imports shared memory (`verify` checks every artifact for it).
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory {
    value: UnsafeCell::new(Value::NONE),
    value_data: UnsafeCell::new(0),
    scratch: UnsafeCell::new([0; SCRATCH]),
    details: bytes(DETAILS),
    missing_details: bytes(missing_details()),
    header: bytes(HEADER),
    headers: HEADERS_SERIALIZED,
    body: bytes(BODY),
};

const fn missing_details() -> &'static str {
    match MISSING_DETAILS {
        Some(details) => details,
        None => "",
    }
}

/// `text` as an array, which is part of [`MEMORY`] instead of a pointer to another place.
const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// The buffer that is lent to the host.
fn lent() -> *mut u8 {
    MEMORY.value.get().cast()
}

/// Where a host may write a value of `size` bytes: the lent buffer if an accepted value has that size,
/// an address outside memory if none has.
#[cfg_attr(target_family = "wasm", unsafe(no_mangle))]
extern "C" fn malloc(size: usize) -> *mut u8 {
    if RULE.accepts_size(size) {
        lent()
    } else if except::IS_USED
        && let Some(room) = except::lend(size)
    {
        room
    } else {
        REFUSED
    }
}

/// Marks the ABI version. Hosts look for the export and never call it, so it has the signature and the
/// body of `malloc`: wasm-opt then keeps one function with two names, which saves a type and a body.
#[cfg_attr(target_family = "wasm", unsafe(no_mangle))]
extern "C" fn proxy_abi_version_0_2_1(size: usize) -> *mut u8 {
    malloc(size)
}

/// Decides a request when its headers have arrived.
#[cfg_attr(target_family = "wasm", unsafe(no_mangle))]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    #[cfg(feature = "log")]
    lines::write(&lines::REQUEST, context);
    decide(&Request { context })
}

/// A request, by the number of its context.
#[cfg_attr(not(feature = "log"), expect(dead_code))]
struct Request {
    context: u32,
}

impl Gate for Request {
    #[inline]
    fn ask(&self) -> Answer {
        host_delivers_value()
    }

    #[inline]
    fn host_removes(&self) -> bool {
        !REMOVE || host_removes(&MEMORY.header)
    }

    #[inline]
    fn host_takes(&self, client: usize) -> bool {
        client::host_takes(client)
    }

    #[inline]
    fn host_takes_none(&self) -> bool {
        client::host_takes_none()
    }

    #[inline]
    fn is_missing(&self, answer: Answer) -> bool {
        // SAFETY: the host, the only other writer, does not run.
        let value = unsafe { &*MEMORY.value.get() };
        let is_empty = answer.status == OK && value.size() == 0;
        MISSING_DETAILS.is_some() && (answer.status == NOT_FOUND || is_empty)
    }

    #[inline]
    fn is_exempt(&self) -> bool {
        except::IS_USED && except::is_exempt()
    }

    #[inline]
    fn enforces(&self) -> bool {
        ENFORCE
    }

    #[inline]
    fn count(&self, counter: usize) {
        count::add(counter);
    }

    #[cfg(feature = "log")]
    fn log_denial(&self) {
        lines::write(&lines::DENIED, self.context);
    }

    #[inline]
    fn deny(&self, is_missing: bool) {
        // The request stays stopped even if the host fails to send the denial.
        let _ = send_denial(is_missing);
    }
}

/// Asks the host for the header.
#[inline]
fn host_delivers_value() -> Answer {
    let (value, value_data) = (MEMORY.value.get(), MEMORY.value_data.get());
    // SAFETY: both point to a live static, `value` to WORDS words (it is a transparent array of
    // them); no reference to either exists, and the host, the other writer, does not run. Volatile,
    // so that the writes are not joined into a call of memset, which would add a loop.
    unsafe {
        for_each!(i < WORDS, value.cast::<u64>().add(i).write_volatile(0));
        value_data.write_volatile(0);
    }
    // SAFETY: key and size are those of a static. The results are an aligned word each: the whole of
    // `value_data`, and the last four bytes of `value`, whose size is a multiple of eight. No
    // reference to either exists while the host writes.
    let status = unsafe {
        proxy_get_header_map_value(
            HTTP_REQUEST_HEADERS,
            MEMORY.header.as_ptr(),
            MEMORY.header.len(),
            value_data,
            lent().add(size_of::<Value>() - size_of::<u32>()).cast(),
        )
    };
    // SAFETY: the host has returned, so nothing writes until this function does, and nothing else refers to the
    // cells; any bits are valid for all three types. By reference, because a long value would be copied by a call
    // of memcpy.
    let (value, value_data, scratch) =
        unsafe { (&*value, value_data.read(), &mut *MEMORY.scratch.get()) };
    // A single test: `|` takes fewer bytes and instructions than branches.
    let wrong = (status ^ OK) as usize | (value_data ^ lent().addr());
    // To hash a value is dear, though.
    let is_needless = !scratch.is_empty() && wrong != 0;
    let client = if is_needless { None } else { RULE.find(value, scratch) };
    let is_accepted = (wrong | usize::from(client.is_none())) == 0;
    Answer { is_accepted, client: client.unwrap_or_default(), status }
}

/// Takes a header off the request, all of its values.
fn host_removes(header: &'static [u8]) -> bool {
    // SAFETY: key and size are those of a static, which the host only reads.
    let status = unsafe {
        proxy_remove_header_map_value(HTTP_REQUEST_HEADERS, header.as_ptr(), header.len())
    };
    status == OK
}

fn send_denial(is_missing: bool) -> u32 {
    let Memory { details, missing_details, headers, body, .. } = &MEMORY;
    let details: &[u8] = if is_missing { missing_details } else { details };
    // SAFETY: each address and size is that of a static, which the host only reads.
    unsafe {
        proxy_send_local_response(
            STATUS,
            if details.is_empty() { ptr::null() } else { details.as_ptr() },
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            GRPC_STATUS,
        )
    }
}

/// The lines of feature `log`, each in a static of its own.
#[cfg(feature = "log")]
mod lines {
    use core::cell::UnsafeCell;

    use crate::log::{self, Line};

    /// `LogLevel::Info` of the specification.
    const INFO: u32 = 2;

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_log(level: u32, message_data: *const u8, message_size: usize) -> u32;
    }

    pub struct Lines<const N: usize>(UnsafeCell<Line<N>>);

    // SAFETY: as for `Memory`, one thread at a time.
    unsafe impl<const N: usize> Sync for Lines<N> {}

    pub static REQUEST: Lines<{ log::REQUEST.size() }> = Lines(UnsafeCell::new(log::REQUEST));
    pub static DENIED: Lines<{ log::DENIED.size() }> = Lines(UnsafeCell::new(log::DENIED));

    /// Writes `line` for `context` to the host's log.
    pub fn write<const N: usize>(line: &Lines<N>, context: u32) {
        // SAFETY: the only reference to the static is made here, and is gone before the host is
        // called: not even a host that calls back meanwhile makes a second one beside it.
        let (message, size) = unsafe {
            let message = (*line.0.get()).of(context);
            (message.as_ptr(), message.len())
        };
        // SAFETY: address and size are those of a part of a static, which the host only reads. If it
        // refuses the line, the line is lost and the decision unchanged.
        let _ = unsafe { proxy_log(INFO, message, size) };
    }
}

#[cfg(test)]
mod tests;
