//! Counters in the host's statistics.

/// A counter's place in the static.
pub type Counter = usize;

pub const ALLOWED: Counter = 0;
pub const DENIED: Counter = 1;
pub const EXEMPT: Counter = 2;
pub const SHADOW_DENIED: Counter = 3;

#[cfg(policy = "count")]
mod metrics {
    use super::super::{ENFORCE, UnsafeCell, except};
    use super::{ALLOWED, Counter, DENIED, EXEMPT, SHADOW_DENIED};

    /// `MetricType::Counter`.
    const COUNTER: u32 = 0;
    /// No host has a metric with this number.
    const UNDEFINED: u32 = u32::MAX;

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_define_metric(
            kind: u32,
            name_data: *const u8,
            name_size: usize,
            metric: *mut u32,
        ) -> u32;
        fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
    }

    struct Metrics(UnsafeCell<[u32; 4]>);

    // SAFETY: as for `Memory`, one thread at a time.
    unsafe impl Sync for Metrics {}

    static METRICS: Metrics = Metrics(UnsafeCell::new([UNDEFINED; 4]));

    /// Defines the counters. A host that refuses changes no decision.
    #[cfg_attr(target_family = "wasm", unsafe(no_mangle))]
    extern "C" fn proxy_on_vm_start(_root: u32, _configuration_size: u32) -> u32 {
        define(ALLOWED, "header_gate.allowed");
        if except::IS_USED {
            define(EXEMPT, "header_gate.exempt");
        }
        if ENFORCE {
            define(DENIED, "header_gate.denied");
        } else {
            define(SHADOW_DENIED, "header_gate.shadow_denied");
        }
        1
    }

    fn define(counter: Counter, name: &'static str) {
        let metric = METRICS.0.get().cast::<u32>().wrapping_add(counter);
        // SAFETY: name and size are those of a constant; the result is an element of the static, to which
        // no reference exists while the host writes.
        let _ = unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), metric) };
    }

    pub fn add(counter: Counter) {
        // SAFETY: the host does not run while the number is read, and gets it by value.
        let _ = unsafe { proxy_increment_metric((*METRICS.0.get())[counter], 1) };
    }
}

/// Adds one to a counter, if the policy counts.
#[inline]
pub fn add(counter: Counter) {
    #[cfg(policy = "count")]
    metrics::add(counter);
    let _ = counter;
}
