//! The native front: the same decision behind Envoy's dynamic-module ABI, spoken raw.
//!
//! Names, types and return values are those of `source/extensions/dynamic_modules/abi/abi.h` in Envoy
//! 1.38 to 1.40: events of a module are called `envoy_dynamic_module_on_…`, functions of Envoy
//! `envoy_dynamic_module_callback_…`. The module is trusted code in Envoy's process.
//!
//! It has no state: a configuration and a filter, which Envoy lets a module create for each listener and
//! each request, are pointers to nothing, which hold the numbers of the counters. Nothing is allocated; the value
//! is read where Envoy keeps it, and copied to the stack only if it has the size of an accepted one.
//!
//! A denial is streamed: its headers, then its body. That takes half the instructions of Envoy's
//! `http_send_response`, which a policy with `details` needs. A denied gRPC call is always streamed,
//! because `http_send_response` answers it with `grpc-status: 0`, which a client takes for success.
//!
//! | file | contents |
//! |---|---|
//! | `abi.rs` | types and functions of Envoy, events without a use |
//! | `fields.rs` | the header fields of a request |
//! | `denial.rs` | the answer |
//! | `client.rs` | the header that names the client |
//! | `count.rs` | counters |

#![allow(unsafe_code)]

mod abi;
mod client;
mod count;
mod denial;
mod fields;

use core::ffi::{CStr, c_char, c_void};
use core::mem::MaybeUninit;
use core::ptr;

use crate::RULE;
use crate::decision::Value;
use crate::except;
use crate::policy::{DENY_REPEATED, ENFORCE, HEADER, REMOVE, SCRATCH, WORDS};
use abi::{Buffer, Request};
use fields::{FIELD, Fields, ROOM};

/// Envoy warns in its log if its ABI has another version; it refuses a module that lacks an event.
const ABI_VERSION: &CStr = c"v0.1.0";

/// `envoy_dynamic_module_type_on_http_filter_request_headers_status_Continue` and `_StopAllIterationAndWatermark`: the
/// body of a denied request never reaches the module, so that nothing resumes the request.
const CONTINUE: u32 = 0;
const STOP: u32 = 4;

/// Envoy loads the module: the version of the ABI. A null pointer would refuse to load.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    ABI_VERSION.as_ptr()
}

/// A filter is configured. A null pointer would refuse the configuration.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config: *mut c_void,
    _name: Buffer,
    _settings: Buffer,
) -> *const c_void {
    ptr::without_provenance(count::define_all(config))
}

/// A request arrives. Envoy answers it with an error if this is a null pointer.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const c_void,
    _request: Request,
) -> *const c_void {
    config
}

/// The client whose value this is.
#[inline]
fn find(bytes: &[u8]) -> Option<usize> {
    let mut value = MaybeUninit::<Value<WORDS>>::uninit();
    let mut scratch = MaybeUninit::<[u32; SCRATCH]>::uninit();
    // SAFETY: the values are arrays of so many numbers, or are transparent. Volatile, so that the writes are not
    // joined into a call of memset.
    unsafe {
        for_each!(word < WORDS, value.as_mut_ptr().cast::<u64>().add(word).write_volatile(0));
        for_each!(at < SCRATCH, scratch.as_mut_ptr().cast::<u32>().add(at).write_volatile(0));
    }
    // SAFETY: all of their numbers have been written.
    let (value, scratch) = unsafe { (value.assume_init_mut(), scratch.assume_init_mut()) };
    value.fill(bytes);
    RULE.find(value, scratch)
}

/// Decides a request when its headers have arrived.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    request: Request,
    filter: *const c_void,
    _end_of_stream: bool,
) -> u32 {
    let counters = filter.addr();
    let mut room = ROOM;
    let mut fields = Fields::of(request, &mut room);
    let is_expected = |size, count| RULE.accepts_size(size) && (!DENY_REPEATED || count == 1);
    let client = fields.value_of(FIELD, is_expected).and_then(find);
    if let Some(client) = client {
        if (!REMOVE || abi::set(request, HEADER, Buffer::NONE)) && client::takes(request, client) {
            count::add(request, counters, crate::count::ALLOWED);
            return CONTINUE;
        }
        // Envoy may have changed a field before it refused.
        fields = Fields::of(request, &mut room);
    }
    if except::IS_USED && except::is_exempt(&fields) {
        if client::takes_none(request) {
            count::add(request, counters, crate::count::EXEMPT);
            return CONTINUE;
        }
        fields = Fields::of(request, &mut room);
    }
    if !ENFORCE {
        // Everything passes, even if Envoy refuses.
        let _ = client::takes_none(request);
        count::add(request, counters, crate::count::SHADOW_DENIED);
        return CONTINUE;
    }
    count::add(request, counters, crate::count::DENIED);
    denial::send(request, &fields);
    STOP
}

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(test)]
mod tests;
