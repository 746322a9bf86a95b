//! What the native front uses of Envoy's dynamic-module ABI, and the events that it has no use for.

use core::ffi::c_void;
use core::ptr;

/// `envoy_dynamic_module_type_http_header_type_RequestHeader`.
pub const REQUEST_HEADER: u32 = 0;

/// `envoy_dynamic_module_type_module_buffer` and `envoy_dynamic_module_type_envoy_buffer`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buffer {
    pub ptr: *const u8,
    pub length: usize,
}

impl Buffer {
    pub const NONE: Self = Self { ptr: ptr::null(), length: 0 };

    pub const fn of(text: &'static str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    pub const fn of_bytes(bytes: &'static [u8]) -> Self {
        Self { ptr: bytes.as_ptr(), length: bytes.len() }
    }
}

/// `envoy_dynamic_module_type_module_http_header` and `envoy_dynamic_module_type_envoy_http_header`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Header {
    pub key: Buffer,
    pub value: Buffer,
}

impl Header {
    pub const NONE: Self = Self { key: Buffer::NONE, value: Buffer::NONE };
}

/// The headers of an answer.
pub struct Headers<const N: usize>(pub [Header; N]);

// SAFETY: the pointers are those of string constants, which nothing writes.
unsafe impl<const N: usize> Sync for Headers<N> {}

impl<const N: usize> Headers<N> {
    pub const fn of(pairs: [(&'static str, &'static str); N]) -> Self {
        let mut headers = [Header::NONE; N];
        let mut i = 0;
        while i < N {
            headers[i] = Header { key: Buffer::of(pairs[i].0), value: Buffer::of(pairs[i].1) };
            i += 1;
        }
        Self(headers)
    }
}

/// `envoy_dynamic_module_type_http_filter_envoy_ptr`: the request, as Envoy knows it.
pub type Request = *mut c_void;

unsafe extern "C" {
    pub fn envoy_dynamic_module_callback_http_set_header(
        request: Request,
        map: u32,
        key: Buffer,
        value: Buffer,
    ) -> bool;

    pub fn envoy_dynamic_module_callback_http_get_headers_size(request: Request, map: u32)
    -> usize;

    pub fn envoy_dynamic_module_callback_http_get_headers(
        request: Request,
        map: u32,
        headers: *mut Header,
    ) -> bool;

    pub fn envoy_dynamic_module_callback_http_get_header(
        request: Request,
        map: u32,
        key: Buffer,
        value: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;

    pub fn envoy_dynamic_module_callback_http_send_response(
        request: Request,
        status: u32,
        headers: *const Header,
        headers_size: usize,
        body: Buffer,
        details: Buffer,
    );

    pub fn envoy_dynamic_module_callback_http_send_response_headers(
        request: Request,
        headers: *const Header,
        headers_size: usize,
        end_of_stream: bool,
    );

    pub fn envoy_dynamic_module_callback_http_send_response_data(
        request: Request,
        data: Buffer,
        end_of_stream: bool,
    );
}

/// Writes a header of the request, in place of all its values. Without a value, it takes the header off.
pub fn set(request: Request, name: &'static str, value: Buffer) -> bool {
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

/// Events that the gate has no use for. Envoy looks each up when it loads the module. All return 0, which is
/// Continue where a status is expected, and a null pointer, which refuses the configuration, for
/// `per_route_config_new`. Arguments are left out: in C's calling convention the caller owns them.
macro_rules! ignore {
    ($($event:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            pub extern "C" fn $event() -> usize {
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
