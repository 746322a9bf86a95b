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
/// A bit for each element that was read, for each text that is not empty, and for more that rules ask for.
pub(crate) const SEEN: u32 = 40;
pub(crate) const FULL: u32 = 41;
pub(crate) const MORE: u32 = 42;
/// For each element, how many texts of it there are, and a bit for each place that a name has.
pub(crate) const COUNTS: u32 = 48;
pub(crate) const PLACES: u32 = 80;
/// A bit for each size that an accepted value has.
pub(crate) const SIZES: u32 = 112;
pub(crate) const END: u32 = SIZES + (crate::limits::VALUES_SIZE as u32 / 32 + 1);
