//! The fields of a policy, each of four bytes. A text is counted from where the policy begins.

use crate::keys;

/// The header's name, in lower case.
pub const HEADER: u32 = keys::HEADER;
/// The header that names a client; 0 if the policy has none.
pub const CLIENT_HEADER: u32 = keys::CLIENT_HEADER;
/// The denial's headers, in the ABI's serialized form.
pub const HEADERS: u32 = keys::HEADERS;
/// The denial's body.
pub const BODY: u32 = keys::BODY;
/// Response code details.
pub const DETAILS: u32 = keys::DETAILS;
/// The same where the header is missing; 0 if they are the same.
pub const MISSING_DETAILS: u32 = keys::MISSING_DETAILS;
/// Exempt methods, as a list.
pub const METHODS: u32 = keys::METHODS;
/// Exempt paths, as a list.
pub const PATHS: u32 = keys::PATHS;
/// Status of the denial.
pub const STATUS: u32 = keys::STATUS;
/// gRPC status of the denial; -1 if the host derives it.
pub const GRPC_STATUS: u32 = keys::GRPC_STATUS;
/// Bytes of a value's image, and of a key: whole words.
pub(crate) const IMAGE: u32 = 32;
pub(crate) const KEY: u32 = 33;
/// Where slots begin, in bytes from the policy on.
pub(crate) const SLOTS: u32 = 34;
/// The bytes of slots less those of one, and those of slots that are looked at.
pub(crate) const MASK: u32 = 35;
pub(crate) const PROBES: u32 = 36;
/// Whether it keeps digests of values.
pub(crate) const HASHED: u32 = 37;
/// Bytes of all exempt paths.
pub(crate) const PATHS_SIZE: u32 = 38;
/// The last name, by its place among the fields.
pub(crate) const LAST: u32 = 39;
/// A bit for each element that was read, and for more that rules ask for.
pub(crate) const SEEN: u32 = 40;
const MORE: u32 = 41;
/// For each element, how many texts of it there are, and a bit for each place that a name has.
pub(crate) const COUNTS: u32 = 48;
const PLACES: u32 = 80;
/// A bit for each size that an accepted value has.
pub(crate) const SIZES: u32 = 112;
pub(crate) const END: u32 = SIZES + (crate::limits::VALUES_SIZE as u32 / 32 + 1);

// Bits are counted from the first field on.

/// The bit for an element that was read.
pub(crate) const fn seen(number: u32) -> u32 {
    32 * SEEN + number
}

/// The bit for an element that is true.
pub(crate) const fn truth(number: u32) -> u32 {
    32 * number
}

/// The bit for a name at this place of `fields.rs`, among the elements of this number.
pub(crate) const fn named(number: u32, place: u32) -> u32 {
    32 * (PLACES + number) + place % 32
}

/// The bit for the size of an accepted value.
pub(crate) const fn sized(size: u32) -> u32 {
    32 * SIZES + size
}

/// The header names the client, too.
pub(crate) const SAME_NAME: u32 = 32 * MORE;
/// The status is one without a body.
pub(crate) const BODILESS: u32 = 32 * MORE + 1;
/// There is a body.
pub(crate) const HAS_BODY: u32 = 32 * MORE + 2;
