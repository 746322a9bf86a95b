//! The fields of a policy that are 0 unless something is true of it.

use crate::keys;

/// It takes the header off.
pub const REMOVE: u32 = keys::REMOVE;
/// It counts.
pub const COUNT: u32 = keys::COUNT;
/// It denies.
pub const ENFORCE: u32 = keys::ENFORCE;
/// It exempts CORS preflights.
pub const PREFLIGHT: u32 = keys::PREFLIGHT;
/// It has other details for a request without the header.
pub const MISSING_DETAILS: u32 = keys::MISSING_DETAILS;
