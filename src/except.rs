//! Requests that pass without the header, by their method or path. Asked only on the way to a denial.
//!
//! A path is exempt only if it is plain: if no normalisation, decoding or server that strips parameters makes
//! another path of it. Then what is exempt here is exempt for whoever reads the path next.

use crate::decision::path::plain;
use crate::policy::{METHODS, PATHS, PREFLIGHT};

/// Whether the policy has exemptions.
pub const IS_USED: bool = PREFLIGHT || !METHODS.is_empty() || !PATHS.is_empty();

/// What a front returns of a request.
pub trait Fields {
    /// Asks the host for a field, which is empty if there is none. What was returned before may be overwritten.
    fn field(&self, name: &'static str) -> &[u8];
}

/// Which requests a policy exempts.
pub trait Exemptions {
    /// Whether some methods are.
    fn has_methods(&self) -> bool;
    /// Whether CORS preflights are.
    fn has_preflight(&self) -> bool;
    /// Whether some paths are.
    fn has_paths(&self) -> bool;
    /// Whether this method is.
    fn is_method(&self, method: &[u8]) -> bool;
    /// Whether this path is, if it is plain.
    fn is_path(&self, path: &[u8]) -> bool;
}

/// Whether the request passes without the header.
#[expect(clippy::inline_always, reason = "slices would be returned on the stack")]
#[inline(always)]
#[must_use]
pub fn is_exempt_by(request: &impl Fields, policy: &impl Exemptions) -> bool {
    if policy.has_preflight() || policy.has_methods() {
        let method = request.field(":method");
        if policy.is_method(method)
            || policy.has_preflight()
                && has_method(&["OPTIONS"], method)
                && !request.field("origin").is_empty()
                && !request.field("access-control-request-method").is_empty()
        {
            return true;
        }
    }
    if !policy.has_paths() {
        return false;
    }
    let target = request.field(":path");
    policy.is_path(target.get(..plain(target)).unwrap_or_default())
}

/// The exemptions of the policy that is compiled in.
struct Compiled;

impl Exemptions for Compiled {
    #[inline]
    fn has_methods(&self) -> bool {
        !METHODS.is_empty()
    }

    #[inline]
    fn has_preflight(&self) -> bool {
        PREFLIGHT
    }

    #[inline]
    fn has_paths(&self) -> bool {
        !PATHS.is_empty()
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn is_method(&self, method: &[u8]) -> bool {
        has_method(&METHODS, method)
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn is_path(&self, path: &[u8]) -> bool {
        is_listed(&PATHS, path)
    }
}

/// Whether the request passes without the header, by the policy that is compiled in.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
#[must_use]
pub fn is_exempt(request: &impl Fields) -> bool {
    is_exempt_by(request, &Compiled)
}

/// Whether `method` is one of `methods`.
#[expect(clippy::inline_always, reason = "a slice of patterns would be passed on the stack")]
#[inline(always)]
#[must_use]
pub fn has_method<const N: usize>(methods: &[&str; N], method: &[u8]) -> bool {
    let mut found = false;
    for_each!(i < N, unrolled found |= method.len() == methods[i].len() && starts_with(method, methods[i].as_bytes()));
    found
}

/// Whether the path of `target` (what comes before `?` or `#`) matches one of `patterns`: equals one, or starts
/// as one that ends in `/*`.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
#[must_use]
pub fn has_path<const N: usize>(patterns: &[&str; N], target: &[u8]) -> bool {
    is_listed(patterns, target.get(..plain(target)).unwrap_or_default())
}

/// The same for a plain path.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn is_listed<const N: usize>(patterns: &[&str; N], path: &[u8]) -> bool {
    let mut found = false;
    for_each!(i < N, unrolled found |= matches(path, patterns[i]));
    found
}

#[expect(clippy::inline_always, reason = "what is left of a pattern is known then")]
#[inline(always)]
fn matches(path: &[u8], pattern: &str) -> bool {
    match pattern.as_bytes() {
        [prefix @ .., b'*'] => starts_with(path, prefix),
        pattern => path.len() == pattern.len() && starts_with(path, pattern),
    }
}

/// Byte by byte: a comparison of slices would call `memcmp`.
#[inline(never)]
fn starts_with(bytes: &[u8], start: &[u8]) -> bool {
    bytes.len() >= start.len() && bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 4] = ["/healthz", "/.well-known/acme-challenge/*", "/static/*", "/end/"];

    #[test]
    fn exempt_paths_are_those_of_a_pattern() {
        for target in [
            "/healthz",
            "/healthz?",
            "/healthz?a=/../b;%2e",
            "/healthz#x",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/a-_~.b",
            "/static/",
            "/static/.hidden/a..b/a.",
            "/static/a%20%41%7e!$&'()*+,=:@[]^`{|}<>\"",
            "/static/a/b/",
            "/end/",
        ] {
            assert!(has_path(&PATTERNS, target.as_bytes()), "{target}");
        }
        for target in [
            "",
            "healthz",
            "*",
            "/",
            "?",
            "#",
            "/healthz/",
            "/healthzz",
            "/health",
            "/Healthz",
            "//healthz",
            "/static",
            "/staticx",
            "/end",
            "/end/x",
            "/a/healthz",
            "/%68ealthz",
            "http://a/healthz",
            " /healthz",
            "/healthz ",
            "/?/healthz",
        ] {
            assert!(!has_path(&PATTERNS, target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn a_path_that_could_mean_another_is_never_exempt() {
        for rest in [
            "..", "../", "../x", ".", "./x", "a/..", "a/.", "a/./b", "a/../b", "..;/x", "..x",
            ".;x", "/x", "a//b", "a\\b", "a;b", ";", "a b", "\t", "\u{7f}", "\u{e9}", "\u{1}",
            "...", ".%41", "%2e", "%2E", "a%2f", "a%2F", "%5c", "%5C", "%25", "%3b", "%3f", "%23",
            "%00", "%0a", "%7f", "%80", "%c0%ae", "%20", "%41", "a/%20b", "%", "a%", "a%2", "%zz",
            "%2g", "%g2", "%u002e", "%%2e", ".?a", ".#",
        ] {
            let target = std::format!("/static/{rest}");
            assert!(!has_path(&PATTERNS, target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn methods_are_compared_byte_for_byte() {
        let methods = ["OPTIONS", "HEAD"];
        assert!(has_method(&methods, b"OPTIONS") && has_method(&methods, b"HEAD"));
        for method in ["", "options", "OPTION", "OPTIONSS", "HEA", "GET"] {
            assert!(!has_method(&methods, method.as_bytes()), "{method}");
        }
        assert!(!has_method(&[], b"") && !has_path(&[], b"/"));
    }
}
