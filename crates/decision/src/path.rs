//! Which paths mean themselves, whoever reads them.

/// Where in a path a byte is.
#[derive(Clone, Copy)]
enum At {
    Nowhere,
    /// Behind `/`.
    Slash,
    /// Behind a dot that begins a segment.
    Dot,
    Segment,
}

/// The size of the path in `target`, or 0 if it is not plain. A plain path begins with `/` and has none of these:
///
/// - an empty segment but the last, or one that begins with a dot and then has anything but a letter, a digit,
///   `-`, `_` or `~`;
/// - an escape at the start of a segment, which may be a space that a server drops;
/// - `\`, `;`, a space, a control byte, a byte beyond ASCII;
/// - a `%` that is no escape, or an escape of `.`, `/`, `\\`, `;`, `?`, `#`, `%`, a control byte, or a byte beyond
///   ASCII.
#[inline(never)]
#[must_use]
pub fn plain(target: &[u8]) -> usize {
    let (mut size, mut at) = (0, At::Nowhere);
    while let Some(&byte) = target.get(size) {
        at = match (byte, at) {
            (b'/', At::Nowhere | At::Segment) => At::Slash,
            (b'/', _) | (_, At::Nowhere) => return 0,
            (b'-' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', _) => At::Segment,
            (_, At::Dot) => return 0,
            (b'?' | b'#', _) => return size,
            (b'.', At::Slash) => At::Dot,
            (b'%', At::Segment) if is_plain_escape(target, size) => {
                size += 2;
                At::Segment
            }
            (b'%' | b'\\' | b';' | ..=b' ' | 0x7f.., _) => return 0,
            _ => At::Segment,
        };
        size += 1;
    }
    if matches!(at, At::Dot) { 0 } else { size }
}

/// Whether the escape at `at` stands for a byte that is as plain as its escape.
#[inline(never)]
fn is_plain_escape(target: &[u8], at: usize) -> bool {
    let digit = |at: usize| match target.get(at) {
        Some(digit @ b'0'..=b'9') => digit - b'0',
        Some(digit @ (b'a'..=b'f' | b'A'..=b'F')) => (digit | b' ') - b'a' + 10,
        // Makes the byte one beyond ASCII.
        _ => 0x88,
    };
    let byte = digit(at + 1) << 4 | digit(at + 2);
    matches!(byte, b' '..=b'~') && !matches!(byte, b'.' | b'/' | b'\\' | b';' | b'?' | b'#' | b'%')
}

#[cfg(test)]
mod tests {
    use super::plain;

    const PLAIN: &str = "/ /a /a/ /a/b /a.b /.a /a/.b /a.. /a./b /- /_ /~ /0 /9 /z /A /Z /.- /._ /.~ /.0 /a:b /a+b /a@b \
                         /! /a%20b /a%41 /a%7e /a%7E/ /a%2d /a%2D%5a";
    const OTHER: &str = "a a/b * ? // /a// /a//b /. /.. /a/. /a/.. /./ /../a /.? /.: /..a /.%61 /%61 /a/%61 /% /a% /a%4 \
                         /a%4g /a%g1 /a%2e /a%2E /a%2f /a%2F /a%5c /a%5C /a%3b /a%3B /a%3f /a%23 /a%25 /a%00 /a%1f /a%7f \
                         /a%80 /a%ff /a%6/ /a%:0 /a%/0 /a%@0 /a%2` /a%G0 /a\\b /a;b /a\u{1f} /a\u{7f} /é /a\0 http://a/";

    #[test]
    fn a_plain_path_ends_before_its_query() {
        for path in PLAIN.split(' ') {
            for rest in ["", "?", "#", "?/../%", "#;"] {
                let target = [path, rest].concat();
                assert_eq!(plain(target.as_bytes()), path.len(), "{target}");
            }
        }
        for target in OTHER.split(' ').chain(["", "/a b", "/ "]) {
            assert_eq!(plain(target.as_bytes()), 0, "{target}");
        }
    }
}
