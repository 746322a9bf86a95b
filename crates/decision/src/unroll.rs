//! Loops over constant data that leave no loop in the module.

/// Runs `$body` for each `$i` in `0..$n`: the first eight unrolled, which takes fewer bytes than a loop,
/// the rest in a loop. (At opt-level z the compiler unrolls nothing by itself.) With `unrolled`, up to 64 and no loop.
#[macro_export]
macro_rules! for_each {
    ($i:ident < $n:expr, unrolled $body:expr) => {
        const { assert!($n <= 64) };
        $crate::for_each!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
            28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59
            60 61 62 63);
    };
    ($i:ident < $n:expr, $body:expr) => {
        $crate::for_each!(@ $i, $n, $body, 0 1 2 3 4 5 6 7);
        let mut i = 8;
        while i < $n {
            let $i = i;
            $body;
            i += 1;
        }
    };
    (@ $i:ident, $n:expr, $body:expr, $($k:literal)+) => {
        $(if $k < $n {
            let $i: usize = $k;
            $body;
        })+
    };
}
