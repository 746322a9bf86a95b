//! The policy's parser: it never panics, an error is one line, and what it accepts makes a module.

use std::path::Path;

use header_gate::pairs::{serialize, serialized_size};
use header_gate_host::pairs;
use header_gate_policy::Policy;
use syn::{Expr, ExprLit, Item, Lit};

/// The memory of a module, which nothing that a policy brings along may outgrow.
const PAGE: usize = 64 * 1024;
/// Room for the header pairs of any accepted policy.
const PAIRS: usize = 8 * 1024;

/// Takes any bytes for the text of a policy.
///
/// # Panics
/// As for [`check`].
pub fn fuzz(input: &[u8]) {
    let _ = check(&String::from_utf8_lossy(input));
}

/// Checks what comes of the policy `text`; it is returned if it is accepted.
///
/// # Panics
/// Something that the build or a gateway relies on does not hold.
#[must_use]
pub fn check(text: &str) -> Option<Policy> {
    let policy = match Policy::parse(text, Path::new("policy.toml")) {
        Ok(policy) => policy,
        Err(error) => {
            let error = error.to_string();
            let printable = error.chars().all(|c| !c.is_control());
            assert!(printable && error.starts_with("policy.toml: "), "{error:?}");
            return None;
        }
    };
    assert!(policy.header.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
    assert!(!policy.header.is_empty() && (200..=599).contains(&policy.deny.status));
    assert!(!policy.values.is_empty());
    for (i, value) in policy.values.iter().enumerate() {
        assert!(!value.is_empty() && !policy.values[..i].contains(value), "{value:?}");
    }
    let header_values = policy.deny.headers.iter().map(|(_, value)| value);
    for value in header_values.chain(&policy.values) {
        assert!(value.bytes().all(|b| b == b'\t' || !b.is_ascii_control()), "{value:?}");
        assert_eq!(value.trim_matches([' ', '\t']), value, "a host strips blanks");
    }
    constants_say_what_the_policy_says(&policy);
    pairs_are_what_a_host_reads(&policy);
    assert!(memory(&policy) <= PAGE, "{} bytes", memory(&policy));
    Some(policy)
}

/// A constant of the source that is made of a policy: numbers and texts, in order.
#[derive(Debug, PartialEq)]
enum Constant {
    Number(u32),
    Text(Vec<u8>),
    List(Vec<Self>),
}

impl Constant {
    fn of(expression: &Expr) -> Self {
        match expression {
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
                Self::Number(number.base10_parse().expect("a number of 32 bits"))
            }
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Self::Text(text.value().into()),
            Expr::Lit(ExprLit { lit: Lit::ByteStr(bytes), .. }) => Self::Text(bytes.value()),
            Expr::Array(list) => Self::List(list.elems.iter().map(Self::of).collect()),
            Expr::Tuple(list) => Self::List(list.elems.iter().map(Self::of).collect()),
            _ => panic!("neither a number nor a text nor a list"),
        }
    }

    fn text(text: impl AsRef<str>) -> Self {
        Self::Text(text.as_ref().into())
    }
}

fn constants_say_what_the_policy_says(policy: &Policy) {
    let source = policy.constants();
    // The compiler refuses a source in which these stand as they are.
    assert!(!source.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')));
    let file = syn::parse_file(&source).expect("Rust");
    let constants: Vec<_> = file
        .items
        .iter()
        .map(|item| {
            let Item::Const(item) = item else { panic!("no constant") };
            (item.ident.to_string(), Constant::of(&item.expr))
        })
        .collect();
    let deny = &policy.deny;
    let pair = |(name, value): &(String, String)| {
        Constant::List(vec![Constant::text(name), Constant::text(value)])
    };
    let expected = [
        ("HEADER", Constant::text(&policy.header)),
        ("VALUES", Constant::List(policy.values.iter().map(Constant::text).collect())),
        ("STATUS", Constant::Number(deny.status.into())),
        ("HEADERS", Constant::List(deny.headers.iter().map(pair).collect())),
        ("BODY", Constant::text(&deny.body)),
        ("DETAILS", Constant::text(&deny.details)),
        ("DENIAL", Constant::text(policy.denial())),
    ];
    assert_eq!(constants, expected.map(|(name, constant)| (name.to_owned(), constant)));
}

fn pairs_are_what_a_host_reads(policy: &Policy) {
    let headers = &policy.deny.headers;
    let texts: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let size = serialized_size(&texts);
    assert!(size <= PAIRS, "{size} bytes of header pairs");
    // Almost every policy has few; the full size is slow to clear.
    let form = if size <= 256 {
        serialize::<256>(&texts).to_vec()
    } else {
        serialize::<PAIRS>(&texts).to_vec()
    };
    let read = pairs(&form[..size]).expect("the ABI's form");
    let bytes =
        |(name, value): &(String, String)| (name.as_bytes().into(), value.as_bytes().into());
    assert_eq!(read, headers.iter().map(bytes).collect::<Vec<_>>());
}

/// Bytes of everything that a module with this policy and the log lines may keep in its memory.
fn memory(policy: &Policy) -> usize {
    let Policy { header, values, deny, .. } = policy;
    let longest = values.iter().map(String::len).max().unwrap_or_default();
    let image = (longest + 4).next_multiple_of(8);
    let texts: Vec<_> = deny.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    // The null address; the lent image, and where its address is put.
    let cells = 8 + image + 8;
    let answer = header.len() + serialized_size(&texts) + deny.body.len() + deny.details.len();
    // The images, and the values that give the accepted sizes: bytes, address and size of each.
    let accepted = values.len() * (image + 8) + values.iter().map(String::len).sum::<usize>();
    // The number of the context and the prefix stand before each of the two lines.
    let lines = 2 * 24 + "on_http_request_headers".len() + policy.denial().len();
    cells + answer + accepted + lines
}
