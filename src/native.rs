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

#![allow(unsafe_code)]

mod client;
mod count;

use core::ffi::{CStr, c_char, c_void};
use core::{ptr, slice};

use crate::RULE;
use crate::decision::Value;
use crate::except;
use crate::policy::{
    BODY, DENY_REPEATED, DETAILS, ENFORCE, GRPC_RESPONSE, HEADER, MISSING_DETAILS, REMOVE,
    RESPONSE, SCRATCH, STATUS, WORDS,
};

/// Envoy warns in its log if its ABI has another version; it refuses a module that lacks an event.
const ABI_VERSION: &CStr = c"v0.1.0";

/// `envoy_dynamic_module_type_http_header_type_RequestHeader`.
const REQUEST_HEADER: u32 = 0;
/// `envoy_dynamic_module_type_on_http_filter_request_headers_status_Continue` and `_StopIteration`.
const CONTINUE: u32 = 0;
const STOP_ITERATION: u32 = 1;

/// What the media type of a gRPC call begins with. Only the end or a `+` may follow: `application/grpc-web`
/// is not gRPC.
const GRPC: &[u8] = b"application/grpc";

/// `envoy_dynamic_module_type_module_buffer` and `envoy_dynamic_module_type_envoy_buffer`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Buffer {
    ptr: *const u8,
    length: usize,
}

impl Buffer {
    const NONE: Self = Self { ptr: ptr::null(), length: 0 };

    const fn of(text: &'static str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    const fn of_bytes(bytes: &'static [u8]) -> Self {
        Self { ptr: bytes.as_ptr(), length: bytes.len() }
    }
}

/// `envoy_dynamic_module_type_module_http_header`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    key: Buffer,
    value: Buffer,
}

/// The headers of an answer.
struct Headers<const N: usize>([Header; N]);

// SAFETY: the pointers are those of string constants, which nothing writes.
unsafe impl<const N: usize> Sync for Headers<N> {}

impl<const N: usize> Headers<N> {
    const fn of(pairs: [(&'static str, &'static str); N]) -> Self {
        let mut headers = [Header { key: Buffer::NONE, value: Buffer::NONE }; N];
        let mut i = 0;
        while i < N {
            headers[i] = Header { key: Buffer::of(pairs[i].0), value: Buffer::of(pairs[i].1) };
            i += 1;
        }
        Self(headers)
    }
}

static HEADERS: Headers<{ RESPONSE.len() }> = Headers::of(RESPONSE);
static GRPC_HEADERS: Headers<{ GRPC_RESPONSE.len() }> = Headers::of(GRPC_RESPONSE);

/// `envoy_dynamic_module_type_http_filter_envoy_ptr`: the request, as Envoy knows it.
type Request = *mut c_void;

unsafe extern "C" {
    fn envoy_dynamic_module_callback_http_set_header(
        request: Request,
        map: u32,
        key: Buffer,
        value: Buffer,
    ) -> bool;

    fn envoy_dynamic_module_callback_http_get_header(
        request: Request,
        map: u32,
        key: Buffer,
        value: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;

    fn envoy_dynamic_module_callback_http_send_response(
        request: Request,
        status: u32,
        headers: *const Header,
        headers_size: usize,
        body: Buffer,
        details: Buffer,
    );

    fn envoy_dynamic_module_callback_http_send_response_headers(
        request: Request,
        headers: *const Header,
        headers_size: usize,
        end_of_stream: bool,
    );

    fn envoy_dynamic_module_callback_http_send_response_data(
        request: Request,
        data: Buffer,
        end_of_stream: bool,
    );
}

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

/// Decides a request when its headers have arrived.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    request: Request,
    filter: *const c_void,
    _end_of_stream: bool,
) -> u32 {
    let counters = filter.addr();
    let is_expected = |size, count| RULE.accepts_size(size) && (!DENY_REPEATED || count == 1);
    let client = value_of(request, HEADER, is_expected)
        .and_then(|value| RULE.find(&Value::<WORDS>::of(value), &mut [0; SCRATCH]));
    if let Some(client) = client
        && (!REMOVE || set(request, HEADER, Buffer::NONE))
        && client::takes(request, client)
    {
        count::add(request, counters, crate::count::ALLOWED);
        return CONTINUE;
    }
    if except::IS_USED && is_exempt(request) && client::takes_none(request) {
        count::add(request, counters, crate::count::EXEMPT);
        return CONTINUE;
    }
    if !ENFORCE {
        // Everything passes, even if Envoy refuses.
        let _ = client::takes_none(request);
        count::add(request, counters, crate::count::SHADOW_DENIED);
        return CONTINUE;
    }
    count::add(request, counters, crate::count::DENIED);
    deny(request);
    STOP_ITERATION
}

/// Whether the request passes without the header.
#[cold]
fn is_exempt(request: Request) -> bool {
    except::is_exempt(&Fields(request))
}

/// The fields of a request.
struct Fields(Request);

impl except::Fields for Fields {
    fn field(&self, name: &'static str) -> &[u8] {
        text_of(self.0, name)
    }
}

/// Writes a header of the request, in place of all its values. Without a value, it takes the header off.
fn set(request: Request, name: &'static str, value: Buffer) -> bool {
    // SAFETY: `request` is what Envoy passed to the event that runs; the name is a constant, and the value is one or
    // null.
    unsafe {
        envoy_dynamic_module_callback_http_set_header(
            request,
            REQUEST_HEADER,
            Buffer::of(name),
            value,
        )
    }
}

/// The first value of the header `name`, if `expected` accepts its size and how many values Envoy has.
#[inline]
fn value_of<'a>(
    request: Request,
    name: &'static str,
    expected: impl Fn(usize, usize) -> bool,
) -> Option<&'a [u8]> {
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
    if !found || count == 0 || value.ptr.is_null() || !expected(value.length, count) {
        return None;
    }
    // SAFETY: Envoy points to the value in the request's header map, which stays as it is until this
    // event returns or changes it; the size is one that a value may have.
    Some(unsafe { slice::from_raw_parts(value.ptr, value.length) })
}

/// The first value of the header `name`; empty if Envoy returns none.
fn text_of<'a>(request: Request, name: &'static str) -> &'a [u8] {
    // No value is longer.
    value_of(request, name, |size, _| isize::try_from(size).is_ok()).unwrap_or_default()
}

/// Whether Envoy would answer the request as a gRPC call.
fn is_grpc(request: Request) -> bool {
    text_of(request, "content-type")
        .strip_prefix(GRPC)
        .is_some_and(|rest| rest.first().is_none_or(|&next| next == b'+'))
}

/// Sends the denial.
#[cold]
fn deny(request: Request) {
    if is_grpc(request) {
        send_headers(request, &GRPC_HEADERS, true);
    } else if !DETAILS.is_empty() || MISSING_DETAILS.is_some() {
        let details = match MISSING_DETAILS {
            Some(details) if text_of(request, HEADER).is_empty() => details,
            _ => DETAILS,
        };
        // The first header is the status.
        let headers = &HEADERS.0[1..];
        // SAFETY: `request` as above; the rest are statics and constants, which Envoy copies.
        unsafe {
            envoy_dynamic_module_callback_http_send_response(
                request,
                STATUS,
                headers.as_ptr(),
                headers.len(),
                Buffer::of(BODY),
                Buffer::of(details),
            );
        }
    } else {
        send_headers(request, &HEADERS, BODY.is_empty());
        if !BODY.is_empty() {
            // SAFETY: `request` as above; the body is a constant, which Envoy copies.
            unsafe {
                envoy_dynamic_module_callback_http_send_response_data(
                    request,
                    Buffer::of(BODY),
                    true,
                );
            }
        }
    }
}

fn send_headers<const N: usize>(request: Request, headers: &'static Headers<N>, end: bool) {
    // SAFETY: `request` is what Envoy passed to the event that runs; the headers are a static, which
    // Envoy copies.
    unsafe {
        envoy_dynamic_module_callback_http_send_response_headers(
            request,
            headers.0.as_ptr(),
            N,
            end,
        );
    }
}

/// Events that the gate has no use for. Envoy looks each up when it loads the module. All return 0, which is
/// Continue where a status is expected, and a null pointer, which refuses the configuration, for
/// `per_route_config_new`. Arguments are left out: in C's calling convention the caller owns them.
macro_rules! ignore {
    ($($event:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $event() -> usize {
                0
            }
        )+
    };
}

ignore! {
    envoy_dynamic_module_on_http_filter_config_destroy
    envoy_dynamic_module_on_http_filter_config_http_callout_done
    envoy_dynamic_module_on_http_filter_config_http_stream_complete
    envoy_dynamic_module_on_http_filter_config_http_stream_data
    envoy_dynamic_module_on_http_filter_config_http_stream_headers
    envoy_dynamic_module_on_http_filter_config_http_stream_reset
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers
    envoy_dynamic_module_on_http_filter_config_scheduled
    envoy_dynamic_module_on_http_filter_destroy
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark
    envoy_dynamic_module_on_http_filter_http_callout_done
    envoy_dynamic_module_on_http_filter_http_stream_complete
    envoy_dynamic_module_on_http_filter_http_stream_data
    envoy_dynamic_module_on_http_filter_http_stream_headers
    envoy_dynamic_module_on_http_filter_http_stream_reset
    envoy_dynamic_module_on_http_filter_http_stream_trailers
    envoy_dynamic_module_on_http_filter_local_reply
    envoy_dynamic_module_on_http_filter_per_route_config_destroy
    envoy_dynamic_module_on_http_filter_per_route_config_new
    envoy_dynamic_module_on_http_filter_request_body
    envoy_dynamic_module_on_http_filter_request_trailers
    envoy_dynamic_module_on_http_filter_response_body
    envoy_dynamic_module_on_http_filter_response_headers
    envoy_dynamic_module_on_http_filter_response_trailers
    envoy_dynamic_module_on_http_filter_scheduled
    envoy_dynamic_module_on_http_filter_stream_complete
}

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(test)]
mod tests;
