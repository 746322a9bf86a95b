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
use crate::decision;
use crate::policy::{
    BODY, DETAILS, ENFORCE, GRPC_STATUS, HEADER, HEADERS_SERIALIZED, MISSING_DETAILS, REMOVE,
    SCRATCH, STATUS, WORDS,
};

type Value = decision::Value<WORDS>;

/// `WasmResult::Ok` of the specification; every other status denies.
const OK: u32 = 0;
/// `WasmResult::NotFound`: there is no such header.
const NOT_FOUND: u32 = 1;
/// `MapType::HttpRequestHeaders`.
const HTTP_REQUEST_HEADERS: u32 = 0;
/// `Action::Continue` and `Action::Pause`, what the callback returns.
const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;
/// The address that refuses an allocation: outside memory on every engine, and positive as an i32,
/// the type in which some hosts keep addresses.
///
/// Hosts check the bounds of what they write, and return `InvalidMemoryAccess` for this address. Two
/// closer ones are not refused everywhere: mosn's Go host writes the client's bytes to a null address,
/// and WAMR appends a heap to the one page, so that its end, 65,536, is inside memory.
const REFUSED: usize = 0x7fff_0000;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_value(
        map: u32,
        key_data: *const u8,
        key_size: usize,
        value_data: *mut usize,
        value_size: *mut u32,
    ) -> u32;

    fn proxy_send_local_response(
        status: u32,
        details_data: *const u8,
        details_size: usize,
        body_data: *const u8,
        body_size: usize,
        headers_data: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;

    fn proxy_remove_header_map_value(map: u32, key_data: *const u8, key_size: usize) -> u32;
}

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
        ptr::without_provenance_mut(REFUSED)
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
#[cfg_attr(not(feature = "log"), expect(unused_variables))]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    #[cfg(feature = "log")]
    lines::write(&lines::REQUEST, context);
    let answer = host_delivers_value();
    if answer.is_accepted
        && (!REMOVE || host_removes(&MEMORY.header))
        && client::host_takes(answer.client)
    {
        count::add(crate::count::ALLOWED);
        return CONTINUE;
    }
    let is_missing = MISSING_DETAILS.is_some() && answer.is_missing();
    if except::IS_USED && except::is_exempt() && client::host_takes_none() {
        count::add(crate::count::EXEMPT);
        return CONTINUE;
    }
    #[cfg(feature = "log")]
    lines::write(&lines::DENIED, context);
    if !ENFORCE {
        // Everything passes, even if the host refuses.
        let _ = client::host_takes_none();
        count::add(crate::count::SHADOW_DENIED);
        return CONTINUE;
    }
    count::add(crate::count::DENIED);
    // The request stays stopped even if the host fails to send the denial.
    let _ = send_denial(is_missing);
    PAUSE
}

/// The host's answer to the question for the header.
struct Answer {
    /// The host returned Ok and wrote, during this call, an accepted value to the lent buffer, the buffer's
    /// address and the value's size.
    is_accepted: bool,
    /// Whose value it is then.
    client: usize,
    status: u32,
}

impl Answer {
    /// Whether the request has no header, or an empty one.
    fn is_missing(&self) -> bool {
        // SAFETY: the host, the only other writer, does not run.
        let value = unsafe { &*MEMORY.value.get() };
        self.status == NOT_FOUND || self.status == OK && value.size() == 0
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

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(test)]
mod tests;
