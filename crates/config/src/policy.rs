//! A policy as a gate keeps it: numbers, and ranges of bytes in the store.

use crate::json::Text;

/// The texts of a policy.
pub const HEADER: usize = 0;
/// Empty if the policy has none.
pub const CLIENT_HEADER: usize = 1;
/// The denial's headers: as pairs in a draft, and then as the ABI's serialized form.
pub const HEADERS: usize = 2;
/// The denial's body.
pub const BODY: usize = 3;
/// Response code details.
pub const DETAILS: usize = 4;
/// The same where the header is missing.
pub const MISSING_DETAILS: usize = 5;
/// Exempt methods, as a list.
pub const METHODS: usize = 6;
/// Exempt paths, as a list.
pub const PATHS: usize = 7;
/// The number of texts.
pub const TEXTS: usize = 8;

/// What is true of a policy, a bit each.
pub const REMOVE: u32 = 1;
/// It counts.
pub const COUNT: u32 = 1 << 1;
/// It denies.
pub const ENFORCE: u32 = 1 << 2;
/// It exempts CORS preflights.
pub const PREFLIGHT: u32 = 1 << 3;
/// It has other details for a request without the header.
pub const HAS_MISSING_DETAILS: u32 = 1 << 4;
/// It keeps digests of values.
pub const HASHED: u32 = 1 << 5;
/// Its values are clients'.
pub(crate) const CLIENTS: u32 = 1 << 6;
/// The denial has a content type, or a gRPC status, among its headers.
pub(crate) const CONTENT_TYPE: u32 = 1 << 7;
pub(crate) const GRPC_HEADER: u32 = 1 << 8;
/// `OPTIONS` is exempt.
pub(crate) const OPTIONS: u32 = 1 << 9;

/// A policy. All zero, it is none, and accepts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The texts.
    pub texts: [Text; TEXTS],
    /// Status of the denial.
    pub status: u32,
    /// gRPC status of the denial; -1 if the host derives it.
    pub grpc_status: i32,
    pub(crate) flags: u32,
    /// Words of a value's image.
    pub(crate) words: u32,
    /// Size of the longest value.
    pub(crate) longest: u32,
    /// The number of values, and of buckets.
    pub(crate) items: u32,
    pub(crate) buckets: u32,
    /// What the hash begins with.
    pub(crate) seed: u64,
    /// Sizes of accepted values, two bytes each; none if some size is not known.
    pub(crate) sizes: Text,
    /// Two bytes for each bucket, and for each slot the number of its value.
    pub(crate) displacements: u32,
    pub(crate) slots: u32,
    /// The keys of the values, by number.
    pub(crate) keys: u32,
    /// Where each client's name is, four bytes each: where it begins in `names`, and in the last byte its size.
    pub(crate) ids: u32,
    pub(crate) names: u32,
}

impl Policy {
    pub(crate) const NONE: Self = Self {
        texts: [Text { at: 0, size: 0 }; TEXTS],
        status: 0,
        grpc_status: 0,
        flags: 0,
        words: 0,
        longest: 0,
        items: 0,
        buckets: 0,
        seed: 0,
        sizes: Text { at: 0, size: 0 },
        displacements: 0,
        slots: 0,
        keys: 0,
        ids: 0,
        names: 0,
    };

    /// Whether this is true of the policy.
    #[inline]
    #[must_use]
    pub fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Sets what is true of it.
    pub(crate) fn set(&mut self, flag: u32, truth: bool) {
        self.flags = if truth { self.flags | flag } else { self.flags & !flag };
    }
}

/// A value or a client in a draft.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub(crate) id: Text,
    /// The value, or 32 bytes of its digest.
    pub(crate) value: Text,
    /// The value's size, or 0 if it is not known.
    pub(crate) size: u32,
    pub(crate) is_digest: bool,
}

impl Item {
    pub(crate) const NONE: Self = Self {
        id: Text { at: 0, size: 0 },
        value: Text { at: 0, size: 0 },
        size: 0,
        is_digest: false,
    };
}
