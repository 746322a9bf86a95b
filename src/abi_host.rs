//! The host as the ABI fronts see it: Proxy-Wasm ABI 0.2.1, as far as they need it.

#![allow(unsafe_code)]

use core::ptr;

/// `WasmResult::Ok` of the specification; every other status denies.
pub const OK: u32 = 0;
/// `WasmResult::NotFound`: there is no such header.
pub const NOT_FOUND: u32 = 1;
/// `MapType::HttpRequestHeaders`.
pub const HTTP_REQUEST_HEADERS: u32 = 0;
/// `Action::Continue` and `Action::Pause`, what the callback returns.
pub const CONTINUE: u32 = 0;
pub const PAUSE: u32 = 1;
/// `MetricType::Counter`.
pub const COUNTER: u32 = 0;
/// No host has a metric with this number.
pub const UNDEFINED: u32 = u32::MAX;
/// The address that refuses an allocation: outside memory on every engine, and positive as an i32,
/// the type in which some hosts keep addresses.
///
/// Hosts check the bounds of what they write, and return `InvalidMemoryAccess` for this address. Two
/// closer ones are not refused everywhere: mosn's Go host writes the client's bytes to a null address,
/// and WAMR appends a heap to the one page, so that its end, 65,536, is inside memory.
pub const REFUSED: *mut u8 = ptr::without_provenance_mut(0x7fff_0000);

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub fn proxy_get_header_map_value(
        map: u32,
        key_data: *const u8,
        key_size: usize,
        value_data: *mut usize,
        value_size: *mut u32,
    ) -> u32;

    pub fn proxy_send_local_response(
        status: u32,
        details_data: *const u8,
        details_size: usize,
        body_data: *const u8,
        body_size: usize,
        headers_data: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;

    pub fn proxy_remove_header_map_value(map: u32, key_data: *const u8, key_size: usize) -> u32;

    pub fn proxy_replace_header_map_value(
        map: u32,
        key_data: *const u8,
        key_size: usize,
        value_data: *const u8,
        value_size: usize,
    ) -> u32;

    pub fn proxy_define_metric(
        kind: u32,
        name_data: *const u8,
        name_size: usize,
        metric: *mut u32,
    ) -> u32;

    pub fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
}

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
