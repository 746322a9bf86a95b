//! Exempt paths against an independent normaliser: whatever a gateway or a service makes of an exempt path, it
//! still matches.

use header_gate::except::has_path;

const PATTERNS: [&str; 3] = ["/healthz", "/.well-known/acme/*", "/s/*"];

/// Checks a request's target.
pub fn fuzz(target: &[u8]) {
    if !has_path(&PATTERNS, target) {
        return;
    }
    let mut path = target.split(|byte| b"?#".contains(byte)).next().unwrap_or_default().to_vec();
    assert!(matches(&path), "{target:?}");
    // As it is, decoded once, and decoded twice.
    for _ in 0..3 {
        for normalised in [normalise(&path, false), normalise(&path, true)] {
            assert!(matches(&normalised), "{target:?} becomes {normalised:?}");
        }
        path = decode(&path);
    }
}

fn matches(path: &[u8]) -> bool {
    PATTERNS.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix.as_bytes()),
        None => path == pattern.as_bytes(),
    })
}

/// RFC 3986, section 2.1, with a `+` left alone.
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < path.len() {
        match (path[at], digit(path.get(at + 1)), digit(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// RFC 3986, section 5.2.4, and what servers do beyond it: `\\` is `/`, slashes are merged, what follows `;` in a
/// segment is dropped, and so is what follows a `?` or `#` that was decoded. With `trim`, a segment loses dots and
/// spaces at its end.
fn normalise(path: &[u8], trim: bool) -> Vec<u8> {
    let text: String = path.iter().map(|&byte| char::from(byte)).collect();
    let text = text.replace('\\', "/");
    let text = text.split(['?', '#', '\0']).next().unwrap_or_default();
    let folder = text.ends_with('/');
    let mut segments = Vec::new();
    for segment in text.split('/') {
        let segment = segment.split(';').next().unwrap_or_default();
        let trimmed = segment.trim_end_matches(['.', ' ']);
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop(),
            _ if trim && trimmed.is_empty() => {}
            _ if trim => segments.push(trimmed),
            _ => segments.push(segment),
        }
    }
    let end = if folder && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/")).chars().map(|c| c as u8).collect()
}
