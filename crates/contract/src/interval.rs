//! Unsigned intervals: every value that a number of 32 or 64 bits may have.

use std::cmp::{max, min};

/// `lo` to `hi`, both included. A number of 32 bits is never above [`Width::W32`]'s mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub lo: u64,
    pub hi: u64,
}

/// The number of bits of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    W32,
    W64,
}

impl Width {
    pub fn mask(self) -> u64 {
        match self {
            Self::W32 => u32::MAX.into(),
            Self::W64 => u64::MAX,
        }
    }

    /// Every value.
    pub fn any(self) -> Interval {
        Interval { lo: 0, hi: self.mask() }
    }

    fn bits(self) -> u64 {
        self.mask().count_ones().into()
    }
}

/// Unsigned comparisons; the others follow by exchanging sides or by negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
}

/// 0, 1, or either.
pub(crate) const BOOL: Interval = Interval { lo: 0, hi: 1 };

impl Interval {
    pub fn point(value: u64) -> Self {
        Self { lo: value, hi: value }
    }

    pub fn as_point(self) -> Option<u64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    /// The smallest interval with both.
    pub fn join(self, other: Self) -> Self {
        Self { lo: min(self.lo, other.lo), hi: max(self.hi, other.hi) }
    }

    pub fn meet(self, other: Self) -> Option<Self> {
        let (lo, hi) = (max(self.lo, other.lo), min(self.hi, other.hi));
        (lo <= hi).then_some(Self { lo, hi })
    }

    pub fn add(self, other: Self, width: Width) -> Self {
        let sum = |a: u64, b: u64| u128::from(a) + u128::from(b);
        wrap(sum(self.lo, other.lo), sum(self.hi, other.hi), width)
    }

    pub fn sub(self, other: Self, width: Width) -> Self {
        // Plus a multiple of 2^bits, so that nothing is negative.
        let bias = u128::from(u64::MAX) + 1;
        let difference = |a: u64, b: u64| bias + u128::from(a) - u128::from(b);
        wrap(difference(self.lo, other.hi), difference(self.hi, other.lo), width)
    }

    pub fn mul(self, other: Self, width: Width) -> Self {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        wrap(product(self.lo, other.lo), product(self.hi, other.hi), width)
    }

    /// The quotient, unless the divisor may be 0.
    pub fn div(self, other: Self) -> Option<Self> {
        (other.lo > 0).then(|| Self { lo: self.lo / other.hi, hi: self.hi / other.lo })
    }

    /// The remainder, unless the divisor may be 0.
    pub fn rem(self, other: Self) -> Option<Self> {
        match (self.as_point(), other.as_point()) {
            (_, _) if other.lo == 0 => None,
            (Some(a), Some(b)) => Some(Self::point(a % b)),
            _ => Some(Self { lo: 0, hi: min(self.hi, other.hi - 1) }),
        }
    }

    pub fn and(self, other: Self) -> Self {
        self.bitwise(other, |a, b| a & b, (0, min(self.hi, other.hi)))
    }

    pub fn or(self, other: Self) -> Self {
        let ones = u64::MAX.checked_shr((self.hi | other.hi).leading_zeros()).unwrap_or(0);
        self.bitwise(other, |a, b| a | b, (max(self.lo, other.lo), ones))
    }

    pub fn xor(self, other: Self) -> Self {
        let ones = u64::MAX.checked_shr((self.hi | other.hi).leading_zeros()).unwrap_or(0);
        self.bitwise(other, |a, b| a ^ b, (0, ones))
    }

    fn bitwise(self, other: Self, exact: fn(u64, u64) -> u64, (lo, hi): (u64, u64)) -> Self {
        match (self.as_point(), other.as_point()) {
            (Some(a), Some(b)) => Self::point(exact(a, b)),
            _ => Self { lo, hi },
        }
    }

    pub fn shl(self, by: Self, width: Width) -> Self {
        match by.as_point() {
            Some(by) => self.mul(Self::point(1 << (by % width.bits())), width),
            None => width.any(),
        }
    }

    pub fn shr(self, by: Self, width: Width) -> Self {
        match by.as_point().map(|by| by % width.bits()) {
            Some(by) => Self { lo: self.lo >> by, hi: self.hi >> by },
            None => Self { lo: 0, hi: self.hi },
        }
    }

    /// Whether the relation holds: 0, 1, or either.
    pub fn compare(self, relation: Relation, other: Self) -> Interval {
        let holds = self.narrow(relation, other).is_some();
        let (relation, swapped) = relation.negated();
        let fails =
            if swapped { other.narrow(relation, self) } else { self.narrow(relation, other) };
        Interval { lo: fails.is_none().into(), hi: holds.into() }
    }

    /// What is left of both sides if the relation holds; none if it cannot.
    pub fn narrow(self, relation: Relation, other: Self) -> Option<(Self, Self)> {
        let (mut a, mut b) = (self, other);
        match relation {
            Relation::Eq => return a.meet(b).map(|both| (both, both)),
            Relation::Ne => {
                a = a.without(b.as_point())?;
                b = b.without(self.as_point())?;
            }
            Relation::Lt => {
                a.hi = min(a.hi, b.hi.checked_sub(1)?);
                b.lo = max(b.lo, a.lo.checked_add(1)?);
            }
            Relation::Le => {
                a.hi = min(a.hi, b.hi);
                b.lo = max(b.lo, a.lo);
            }
        }
        // If nothing is left of one side, nothing is left of the other.
        (a.lo <= a.hi).then_some((a, b))
    }

    /// Without a value, if that is at an end.
    fn without(self, value: Option<u64>) -> Option<Self> {
        let Self { lo, hi } = self;
        match value {
            Some(value) if lo == hi && lo == value => None,
            Some(value) if lo == value => Some(Self { lo: lo + 1, hi }),
            Some(value) if hi == value => Some(Self { lo, hi: hi - 1 }),
            _ => Some(self),
        }
    }
}

impl Relation {
    /// The relation that holds where this one does not, and whether the sides are exchanged.
    pub fn negated(self) -> (Self, bool) {
        match self {
            Self::Eq => (Self::Ne, false),
            Self::Ne => (Self::Eq, false),
            Self::Lt => (Self::Le, true),
            Self::Le => (Self::Lt, true),
        }
    }
}

/// The interval of results that wrap around: whole, if all of them wrap equally often.
fn wrap(lo: u128, hi: u128, width: Width) -> Interval {
    let size = u128::from(width.mask()) + 1;
    if lo / size == hi / size {
        Interval { lo: (lo % size) as u64, hi: (hi % size) as u64 }
    } else {
        width.any()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Intervals of all kinds: points and ranges, small and at the ends.
    fn intervals(width: Width) -> Vec<Interval> {
        let ends =
            [0, 1, 2, 5, 8, 9, 31, 255, 256, width.mask() / 2, width.mask() - 1, width.mask()];
        let pairs = ends.iter().flat_map(|&lo| ends.iter().map(move |&hi| (lo, hi)));
        pairs.filter(|(lo, hi)| lo <= hi).map(|(lo, hi)| Interval { lo, hi }).collect()
    }

    /// Values of an interval: its ends and some in between.
    fn values(Interval { lo, hi }: Interval) -> impl Iterator<Item = u64> {
        let near = [lo, lo.saturating_add(1), lo.saturating_add(7), lo / 2 + hi / 2];
        near.into_iter().chain([hi.saturating_sub(1), hi]).filter(move |v| (lo..=hi).contains(v))
    }

    type Exact = fn(u64, u64, Width) -> u64;
    type Abstract = fn(Interval, Interval, Width) -> Interval;

    #[test]
    fn every_result_lies_in_the_interval_of_results() {
        let operations: [(&str, Exact, Abstract); 8] = [
            ("add", |a, b, w| a.wrapping_add(b) & w.mask(), |a, b, w| a.add(b, w)),
            ("sub", |a, b, w| a.wrapping_sub(b) & w.mask(), |a, b, w| a.sub(b, w)),
            ("mul", |a, b, w| a.wrapping_mul(b) & w.mask(), |a, b, w| a.mul(b, w)),
            ("and", |a, b, _| a & b, |a, b, _| a.and(b)),
            ("or", |a, b, _| a | b, |a, b, _| a.or(b)),
            ("xor", |a, b, _| a ^ b, |a, b, _| a.xor(b)),
            ("shl", |a, b, w| (a << (b % w.bits())) & w.mask(), |a, b, w| a.shl(b, w)),
            ("shr", |a, b, w| a >> (b % w.bits()), |a, b, w| a.shr(b, w)),
        ];
        for width in [Width::W32, Width::W64] {
            let all = intervals(width);
            for (a, b) in all.iter().flat_map(|&a| all.iter().map(move |&b| (a, b))) {
                for (x, y) in values(a).flat_map(|x| values(b).map(move |y| (x, y))) {
                    for (name, exact, over) in operations {
                        let (result, range) = (exact(x, y, width), over(a, b, width));
                        let lies = (range.lo..=range.hi).contains(&result);
                        assert!(lies && range.hi <= width.mask(), "{name} {a:?} {b:?}: {x} {y}");
                    }
                    let contains = |range: Interval, value| (range.lo..=range.hi).contains(&value);
                    assert!(a.div(b).is_none_or(|range| contains(range, x / y)));
                    assert!(a.rem(b).is_none_or(|range| contains(range, x % y)));
                    assert!(y != 0 || a.div(b).is_none() && a.rem(b).is_none());
                    assert!(contains(a.join(b), x) && contains(a.join(b), y));
                    let relations = [
                        (Relation::Eq, x == y),
                        (Relation::Ne, x != y),
                        (Relation::Lt, x < y),
                        (Relation::Le, x <= y),
                    ];
                    for (relation, holds) in relations {
                        assert!(
                            contains(a.compare(relation, b), holds.into()),
                            "{relation:?} {a:?} {b:?}"
                        );
                        if holds {
                            let (a, b) = a.narrow(relation, b).unwrap();
                            assert!(contains(a, x) && contains(b, y), "{relation:?}: {x} {y}");
                        }
                    }
                }
            }
        }
    }
}
