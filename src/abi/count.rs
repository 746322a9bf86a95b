//! Counters in the host's statistics.

use super::UnsafeCell;
use crate::abi_host::{COUNTER, UNDEFINED, proxy_define_metric, proxy_increment_metric};
use crate::count::{COUNTERS, NAMES};
use crate::policy::COUNT;

/// The host's number of each counter.
struct Metrics(UnsafeCell<[u32; COUNTERS]>);

// SAFETY: as for `Memory`, one thread at a time.
unsafe impl Sync for Metrics {}

static METRICS: Metrics = Metrics(UnsafeCell::new([UNDEFINED; COUNTERS]));

/// Defines the counters when the VM starts. A host that refuses changes no decision. It is exported only if the policy
/// counts: each callback costs.
#[cfg_attr(all(target_family = "wasm", policy = "count"), unsafe(no_mangle))]
#[cfg_attr(not(any(test, policy = "count")), expect(dead_code))]
pub extern "C" fn proxy_on_vm_start(_root: u32, _configuration_size: u32) -> u32 {
    for_each!(
        counter < COUNTERS,
        if NAMES[counter].1 {
            define(counter, NAMES[counter].0);
        }
    );
    1
}

fn define(counter: usize, name: &'static str) {
    let metric = METRICS.0.get().cast::<u32>().wrapping_add(counter);
    // SAFETY: name and size are those of a constant; the result is an element of the static, to which
    // no reference exists while the host writes.
    let _ = unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), metric) };
}

/// Adds one to a counter, if the policy counts.
#[inline]
pub fn add(counter: usize) {
    if COUNT {
        // SAFETY: the host does not run while the number is read, and gets it by value.
        let _ = unsafe { proxy_increment_metric((*METRICS.0.get())[counter], 1) };
    }
}
