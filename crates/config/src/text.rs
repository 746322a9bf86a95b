//! A range of bytes, in one number: it is passed and returned without a stack.

/// A range of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text(pub(crate) u64);

impl Text {
    /// So many bytes from a place on.
    #[inline]
    #[must_use]
    pub const fn new(at: u32, size: u32) -> Self {
        Self(at as u64 | (size as u64) << 32)
    }

    /// Where it begins.
    #[inline]
    #[must_use]
    pub const fn at(self) -> u32 {
        self.0 as u32
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub const fn size(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Where it ends.
    #[inline]
    pub(crate) const fn end(self) -> u32 {
        self.at() + self.size()
    }
}
