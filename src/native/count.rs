//! Counters in Envoy's statistics. Their numbers are all that the gate keeps, in the pointer that Envoy takes for its
//! configuration.

use core::ffi::c_void;
use core::ptr;

use super::abi::{Buffer, Request};
use crate::count::{COUNTERS, NAMES};
use crate::policy::COUNT;

/// A byte with Envoy's number for each counter, from the lowest one on; 0 for one that the policy has no use for, or that
/// Envoy refused.
pub type Counters = usize;
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
        for_each!(
            counter < COUNTERS,
            if NAMES[counter].1 {
                counters |= define(config, NAMES[counter].0) << place(counter);
            }
        );
    }
    counters
}

/// Where the byte of a counter begins.
const fn place(counter: usize) -> u32 {
    8 * counter as u32
}

/// Defines a counter; its byte.
fn define(config: *mut c_void, name: &'static str) -> Counters {
    let mut counter = 0;
    let name = Buffer::of(name);
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
    if known { counter + 1 } else { 0 }
}

/// Adds one to a counter, if the policy counts.
pub fn add(request: Request, counters: Counters, counter: usize) {
    let counter = counters >> place(counter) & usize::from(u8::MAX);
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
