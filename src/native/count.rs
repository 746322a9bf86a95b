//! Counters in Envoy's statistics. Their numbers are all that the gate keeps, in the pointer that Envoy takes for its
//! configuration.

use core::ffi::{CStr, c_void};
use core::ptr;

use super::{Buffer, EXCEPTS, Request};
use crate::policy::{COUNT, ENFORCE};

/// Counters in Envoy's statistics: a byte with Envoy's number for each of these, from the lowest one on; 0 for one
/// that the policy has no use for, or that Envoy refused.
pub type Counters = usize;
pub const ALLOWED: u32 = 0;
pub const DENIED: u32 = 8;
pub const EXEMPT: u32 = 16;
pub const SHADOW_DENIED: u32 = 24;
/// Makes a pointer of the numbers that is not null.
const NOT_NULL: Counters = 1 << 32;

unsafe extern "C" {
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: *mut c_void,
        name: Buffer,
        label_names: *const Buffer,
        label_names_size: usize,
        counter: *mut usize,
    ) -> u32;

    fn envoy_dynamic_module_callback_http_filter_increment_counter(
        request: Request,
        counter: usize,
        label_values: *const Buffer,
        label_values_size: usize,
        value: u64,
    ) -> u32;
}

/// Defines the counters that the policy can count.
pub fn define_all(config: *mut c_void) -> Counters {
    let mut counters = NOT_NULL;
    if COUNT {
        counters |= define(config, c"header_gate.allowed", ALLOWED);
        if EXCEPTS {
            counters |= define(config, c"header_gate.exempt", EXEMPT);
        }
        counters |= if ENFORCE {
            define(config, c"header_gate.denied", DENIED)
        } else {
            define(config, c"header_gate.shadow_denied", SHADOW_DENIED)
        };
    }
    counters
}

/// Defines a counter; what it adds to [`Counters`].
fn define(config: *mut c_void, name: &'static CStr, place: u32) -> Counters {
    let (mut counter, bytes) = (0, name.to_bytes());
    let name = Buffer { ptr: bytes.as_ptr(), length: bytes.len() };
    // SAFETY: `config` is what Envoy passed to the event that runs; the name is a constant, there are no labels,
    // and the result is a local.
    let result = unsafe {
        envoy_dynamic_module_callback_http_filter_config_define_counter(
            config,
            name,
            ptr::null(),
            0,
            &raw mut counter,
        )
    };
    let known = result == 0 && counter < usize::from(u8::MAX);
    if known { (counter + 1) << place } else { 0 }
}

/// Adds one to a counter, if the policy counts.
pub fn add(request: Request, counters: Counters, place: u32) {
    let counter = counters >> place & usize::from(u8::MAX);
    if COUNT && counter != 0 {
        // SAFETY: `request` is what Envoy passed to the event that runs; there are no labels. A count that Envoy
        // refuses is lost, and the decision unchanged.
        let _ = unsafe {
            envoy_dynamic_module_callback_http_filter_increment_counter(
                request,
                counter - 1,
                ptr::null(),
                0,
                1,
            )
        };
    }
}
