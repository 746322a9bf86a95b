//! A range of bytes, in one number: it is passed and returned without a stack, and a field of a policy has one.

/// Bits of a place. The rest are those of a size.
const PLACE: u32 = 17;

/// A range of bytes, at a place that is counted from where its policy begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text(pub(crate) u32);

impl Text {
    /// So many bytes from a place on.
    #[inline]
    #[must_use]
    pub const fn new(at: u32, size: u32) -> Self {
        Self(at | size << PLACE)
    }

    /// Where it begins.
    #[inline]
    #[must_use]
    pub const fn at(self) -> u32 {
        self.0 & ((1 << PLACE) - 1)
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub const fn size(self) -> u32 {
        self.0 >> PLACE
    }

    /// Where it ends.
    #[inline]
    pub(crate) const fn end(self) -> u32 {
        self.at() + self.size()
    }
}
