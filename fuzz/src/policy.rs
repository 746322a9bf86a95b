//! The policy parser: it never panics, an error is one line, and an accepted policy makes a module.

use std::path::Path;

use header_gate_host::pairs;
use header_gate_policy::Policy;
use syn::{Expr, Item, Lit, UnOp};

/// The memory of a module, which no policy may outgrow.
const PAGE: usize = 64 * 1024;

/// Checks how the policy `text` is parsed; returns the policy if it is accepted.
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
    let Policy { header, deny, client, .. } = &policy;
    let values = &policy.accepted();
    assert!(header.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
    assert!(!header.is_empty() && (200..=599).contains(&deny.status));
    assert!(!values.is_empty() || policy.is_hashed());
    assert!(client.iter().all(|client| !client.id.is_empty()));
    for (i, value) in values.iter().enumerate() {
        assert!(!value.is_empty() && !values[..i].contains(value), "{value:?}");
    }
    for value in deny.headers.iter().map(|(_, value)| value.as_str()).chain(values.iter().copied())
    {
        assert!(value.bytes().all(|b| b == b'\t' || !b.is_ascii_control()), "{value:?}");
        assert_eq!(value.trim_matches([' ', '\t']), value, "hosts strip whitespace");
    }
    let read = pairs(&policy.serialized_headers()).expect("the ABI's form");
    assert!(
        read.iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .eq(deny.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    );
    check_constants(&policy);
    check_memory(&policy);
    Some(policy)
}

/// Parses the generated source, and compares each constant with the policy.
fn check_constants(policy: &Policy) {
    let source = policy.constants();
    // The compiler rejects these characters in a source.
    assert!(!source.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')));
    let constant = |item: &Item| match item {
        Item::Const(item) if item.ident != "SCRATCH" => {
            Some((item.ident.to_string(), literals(&item.expr)))
        }
        // The rule and the clients, which the gate's own tests compare.
        _ => None,
    };
    let file = syn::parse_file(&source).expect("Rust");
    let constants: Vec<_> = file.items.iter().filter_map(constant).collect();

    let Policy { header, deny, except, .. } = policy;
    let values = if policy.is_hashed() { Vec::new() } else { policy.accepted() };
    let longest = policy.longest();
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    let pairs = |pairs: &[(String, String)]| -> Vec<_> {
        pairs.iter().flat_map(|(name, value)| [name, value]).flat_map(|each| text(each)).collect()
    };
    let expected = [
        ("HEADER", text(header)),
        ("VALUES", values.iter().flat_map(|value| text(value)).collect()),
        ("LONGEST", text(&longest.to_string())),
        ("WORDS", text(&(longest + 4).div_ceil(8).to_string())),
        ("STATUS", text(&deny.status.to_string())),
        ("HEADERS", pairs(&deny.headers)),
        ("HEADERS_SERIALIZED", vec![policy.serialized_headers()]),
        ("BODY", text(&deny.body)),
        ("DETAILS", text(&deny.details)),
        (
            "MISSING_DETAILS",
            deny.missing_details.iter().flat_map(|details| text(details)).collect(),
        ),
        (
            "GRPC_STATUS",
            text(&deny.grpc_status.map_or("-1".to_owned(), |status| status.to_string())),
        ),
        ("DENY_REPEATED", text(&policy.repeated.is_some().to_string())),
        ("REMOVE", text(&policy.remove.to_string())),
        ("COUNT", text(&policy.count.to_string())),
        ("ENFORCE", text(&policy.enforce.to_string())),
        ("PREFLIGHT", text(&except.preflight.to_string())),
        ("METHODS", except.methods.iter().flat_map(|method| text(method)).collect()),
        ("PATHS", except.paths.iter().flat_map(|path| text(path)).collect()),
        ("RESPONSE", pairs(&policy.response())),
        ("GRPC_RESPONSE", pairs(&policy.grpc_response())),
        ("DENIAL", text(&policy.denial())),
        ("CLIENT_HEADER", policy.client_header.iter().flat_map(|name| text(name)).collect()),
        ("EXCEPT_ROOM", text("4096")),
    ];
    assert_eq!(constants, expected.map(|(name, literals)| (name.to_owned(), literals)));
}

/// The literals of an expression in order; lists are flattened.
fn literals(expression: &Expr) -> Vec<Vec<u8>> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => vec![number.base10_digits().into()],
            Lit::Str(text) => vec![text.value().into()],
            Lit::ByteStr(bytes) => vec![bytes.value()],
            Lit::Bool(truth) => vec![truth.value.to_string().into()],
            _ => panic!("neither a number nor a text"),
        },
        Expr::Unary(negated) if matches!(negated.op, UnOp::Neg(_)) => {
            literals(&negated.expr).into_iter().map(|number| [b"-", &number[..]].concat()).collect()
        }
        Expr::Unary(dereferenced) => literals(&dereferenced.expr),
        // `None` and `Some`.
        Expr::Path(_) => vec![],
        Expr::Call(some) => some.args.iter().flat_map(literals).collect(),
        Expr::Array(list) => list.elems.iter().flat_map(literals).collect(),
        Expr::Tuple(list) => list.elems.iter().flat_map(literals).collect(),
        _ => panic!("neither a literal nor a list"),
    }
}

/// Everything that a module with this policy and log lines keeps in memory fits into its pages.
fn check_memory(policy: &Policy) {
    let Policy { header, values, deny, except, .. } = policy;
    // The null address, the lent image, the images of the accepted values, and the value's address.
    let images = 8 + 8 * policy.words() * (1 + values.len()) + 8;
    let details = deny.details.len() + deny.missing_details.as_ref().map_or(0, String::len);
    let denial = policy.serialized_headers().len() + deny.body.len() + details;
    // With the names of the headers that are asked for, and of the counters.
    let options = except.methods.iter().chain(&except.paths).map(String::len).sum::<usize>() + 256;
    // A context's number and a prefix in front of each of two lines.
    let lines = 2 * 24 + "on_http_request_headers".len() + policy.denial().len();
    let clients: usize =
        policy.client.iter().map(|client| 8 * policy.words().max(4) + client.id.len() + 6).sum();
    let memory = images + header.len() + denial + options + lines + clients;
    assert!(memory <= policy.pages() * PAGE, "{memory} bytes, {} pages", policy.pages());
}
