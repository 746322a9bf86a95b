//! Loops over constant data that leave no loop in the module.

/// Runs `$body` for each `$i` in `0..$n`: the first eight unrolled, which takes fewer bytes than a loop,
/// the rest in a loop. (At opt-level z the compiler unrolls nothing by itself.)
macro_rules! for_each {
    ($i:ident < $n:expr, $body:expr) => {
        for_each!(@ $i, $n, $body, 0 1 2 3 4 5 6 7);
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
