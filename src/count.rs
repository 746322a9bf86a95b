//! What a gate counts, each request once.

use crate::except;
use crate::policy::ENFORCE;

/// Passed with an accepted value.
pub const ALLOWED: usize = 0;
/// Passed by an exemption.
pub const EXEMPT: usize = 1;
/// Denied.
pub const DENIED: usize = 2;
/// Passed in a dry run, and would be denied.
pub const SHADOW_DENIED: usize = 3;

/// Number of counters.
pub const COUNTERS: usize = 4;

/// The name of each counter, and whether the policy can count with it.
pub const NAMES: [(&str, bool); COUNTERS] = [
    ("header_gate.allowed", true),
    ("header_gate.exempt", except::IS_USED),
    ("header_gate.denied", ENFORCE),
    ("header_gate.shadow_denied", !ENFORCE),
];
