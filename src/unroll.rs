//! Loops over constant data that leave no loop in the module.

/// `$body` for each `$i` below `$n`: unrolled for the first eight, where that takes fewer bytes than
/// a loop would; what is left is a loop. (At opt-level z the compiler unrolls nothing by itself.)
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
