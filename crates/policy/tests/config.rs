//! The reader of files and the reader of configurations: what each accepts, and what it makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use cases::{Case, GOOD};
use gate::{Gate, ROOT};
use header_gate_config::{NONE, field, flag, keys, limits};
use header_gate_policy::Policy;

mod cases;
mod gate;

/// A policy in TOML as JSON, if it is TOML. Whole numbers are doubles, as Istio writes them.
fn json(text: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let mut value = serde_json::to_value(table).unwrap();
    doubles(&mut value);
    Some(value.to_string())
}

fn doubles(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(number) => *value = number.as_f64().into(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(doubles),
        serde_json::Value::Object(members) => members.values_mut().for_each(doubles),
        _ => {}
    }
}

/// Values near the accepted ones, and others.
fn values(policy: &Policy) -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = ["", "a", "true", "TRUE", "1", "\u{e9}"].map(Into::into).into();
    values.extend([vec![b'x'; 256], vec![b'x'; 257], vec![0; 8], b"\xff".to_vec()]);
    for own in policy.accepted() {
        let (own, mut other) = (own.as_bytes(), own.as_bytes().to_vec());
        other[0] ^= 1;
        values.extend([own.to_vec(), [own, b" "].concat(), own[1..].to_vec(), other]);
        values.push(own.to_ascii_uppercase());
    }
    values
}

/// Checks that the gate decides and answers as the policy says.
fn compare(policy: &Policy, gate: &mut Gate) {
    let text = |text: u32| str::from_utf8(gate.text(ROOT, text)).unwrap();
    let deny = &policy.deny;
    assert_eq!(text(field::HEADER), policy.header);
    assert_eq!(text(field::CLIENT_HEADER), policy.client_header.as_deref().unwrap_or(""));
    assert_eq!(gate.text(ROOT, field::HEADERS), policy.serialized_headers());
    assert_eq!([text(field::BODY), text(field::DETAILS)], [&deny.body, &deny.details]);
    assert_eq!(text(field::MISSING_DETAILS), deny.missing_details.as_deref().unwrap_or(""));
    assert_eq!(gate.field(field::STATUS), u32::from(deny.status));
    let grpc_status = gate.field(field::GRPC_STATUS).cast_signed();
    assert_eq!(grpc_status, deny.grpc_status.map_or(-1, i32::from));
    for (flag, expected) in [
        (flag::REMOVE, policy.remove),
        (flag::COUNT, policy.count),
        (flag::ENFORCE, policy.enforce),
        (flag::PREFLIGHT, policy.except.preflight),
        (flag::MISSING_DETAILS, deny.missing_details.is_some()),
    ] {
        assert_eq!(gate.0.is(gate.0.base(ROOT), flag), expected, "{flag}");
    }
    for method in ["GET", "OPTIONS", "HEAD", "TRACE", "head", ""] {
        let exempt = policy.except.methods.iter().any(|own| own == method);
        assert_eq!(gate.lists(field::METHODS, method), exempt, "{method}");
    }
    for path in ["/", "/healthz", "/healthz/", "/a", "/a/", "/a/b", "/.well-known/acme-challenge/x"]
    {
        let matches = |own: &String| match own.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == own,
        };
        let exempt = policy.except.paths.iter().any(matches);
        assert_eq!(gate.lists(field::PATHS, path), exempt, "{path}");
    }
    for value in values(policy) {
        let found = gate.find(ROOT, &value);
        // A policy that knows the sizes of its values denies one of another size.
        let sizes = policy.sizes();
        let fits = sizes.is_empty() || sizes.contains(&value.len());
        assert_eq!(found.is_some(), fits && policy.accepts(&value), "{value:?}");
        let is_its = |own: &String| own.as_bytes() == value;
        let client = policy.client.iter().find(|client| client.value.as_ref().is_some_and(is_its));
        if let (Some(found), Some(client)) = (found, client) {
            assert_eq!(found, client.id.as_bytes());
        }
    }
}

fn policies() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["policies", "policies/options"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|file| file.unwrap().path()).chain([root.join("policy.toml")]);
    files.filter(|file| file.is_file()).collect()
}

#[test]
fn both_readers_make_the_same_of_each_policy() {
    let mut gate = Gate::new();
    for file in policies() {
        let text = fs::read_to_string(&file).unwrap();
        let configuration = json(&text).unwrap();
        assert_eq!(gate.take(&configuration), Ok(()), "{configuration}");
        compare(&Policy::read(&file).unwrap(), &mut gate);
    }
}

#[test]
fn both_readers_accept_and_refuse_the_same() {
    let mut gate = Gate::new();
    let all = cases::read();
    let cases = all.refused.iter().chain(&all.warned).chain(&all.fine);
    let (mut accepted, mut refused) = (0, 0);
    for (text, line) in cases.flat_map(Case::texts) {
        // What is no TOML has no JSON either.
        let Some(configuration) = json(&text) else { continue };
        let policy = Policy::parse(&text, Path::new("my.toml"));
        let taken = gate.take(&configuration);
        assert_eq!(taken.is_ok(), policy.is_ok(), "{line}: {taken:?} of {configuration}");
        if let Ok(policy) = policy {
            compare(&policy, &mut gate);
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    assert!(accepted > 60 && refused > 130, "{accepted} and {refused}");
}

/// A line of the reader of files lists the keys that it knows; one is not for plugins.
#[test]
fn both_readers_know_the_same_keys() {
    for (place, table, list) in [
        ("header =", "", keys::POLICY),
        ("[deny]", "[[client]]\nx = 1\n", keys::CLIENT_KEYS),
        ("[deny]", "[except]\nx = 1\n", keys::EXCEPT_KEYS),
        ("status =", "x = 1\n", keys::DENY_KEYS),
    ] {
        let table = if table.is_empty() { "x = 1\n" } else { table };
        let text = GOOD.replacen(place, &format!("{table}{place}"), 1);
        let error = Policy::parse(&text, Path::new("my.toml")).unwrap_err().to_string();
        let expected = list.split('|').map(|key| format!("`{key}`")).collect::<Vec<_>>();
        let expected = format!("unknown key `x`, expected one of {}", expected.join(", "));
        let error = error.replace("`repeated`, ", "");
        assert!(error.ends_with(&expected), "{error}\nand not: {expected}");
    }
}

fn clients(count: usize, size: usize) -> String {
    let client = |n| format!(r#"{{"id":"c{n}","value":"{n:0size$}"}}"#);
    let clients: Vec<_> = (0..count).map(client).collect();
    format!(
        r#"{{"header":"a","client_header":"b","client":[{}],"deny":{{"status":403}}}}"#,
        clients.join(",")
    )
}

#[test]
fn a_thousand_clients_are_found_and_no_more_are_taken() {
    let mut gate = Gate::new();
    assert_eq!(gate.take(&clients(limits::ITEMS, 36)), Ok(()));
    for n in 0..limits::ITEMS {
        let id = gate.find(ROOT, format!("{n:036}").as_bytes());
        assert_eq!(id, Some(format!("c{n}").into_bytes()));
    }
    for n in limits::ITEMS..2 * limits::ITEMS {
        assert_eq!(gate.find(ROOT, format!("{n:036}").as_bytes()), None);
    }
    let before = gate.0.policies().to_vec();
    let line = gate.take(&clients(limits::ITEMS + 1, 8)).unwrap_err();
    assert!(line.ends_with(": client.id: too many items"), "{line}");
    // A refused configuration changes nothing.
    assert!(gate.0.policies() == before);
    assert!(gate.find(ROOT, format!("{:036}", 1).as_bytes()).is_some());
}

/// A value is only left as a key, and of one whose digest is compared nothing is.
#[test]
fn a_configuration_is_cleared_of_its_values() {
    let value = r"a s\u0065cret\u002d\u0074oken";
    let tail = b"oken";
    let sha256 = "0123456789abcdef".repeat(4);
    for (clients, left) in [
        (format!(r#"{{"id":"a","value":"{value}"}}"#), 1),
        (format!(r#"{{"id":"a","value":"{value}"}},{{"id":"b","sha256":"{sha256}"}}"#), 0),
    ] {
        let mut gate = Gate::new();
        let text = format!(r#"{{"header":"a","client":[{clients}],"deny":{{"status":403}}}}"#);
        assert_eq!(gate.take(&text), Ok(()));
        let windows = gate.0.bytes.windows(tail.len());
        assert_eq!(windows.filter(|bytes| bytes == tail).count(), left, "{text}");
        assert_eq!(gate.find(ROOT, b"a secret-token"), Some(b"a".to_vec()));
    }
}

/// The line for the log about a configuration that is refused.
fn refused(text: &[u8]) -> String {
    let mut gate = Gate::new();
    let line = gate.configure(ROOT, text).expect_err("a refusal");
    assert_eq!(gate.0.base(ROOT), NONE);
    line
}

/// A configuration with this header.
fn with(header: &[u8]) -> Vec<u8> {
    let rest = br#","values":["secret"],"deny":{"status":403}}"#;
    [br#"{"header":"#, header, rest].concat()
}

#[test]
fn a_refusal_names_the_place_the_key_and_the_reason() {
    let deep = "[".repeat(60_000);
    let deny = |deny: &str| format!(r#"{{"header":"a","values":["secret"],"deny":{deny}}}"#);
    let many: Vec<_> = (0..257).map(|n| format!("\"{n}\"")).collect();
    let many = format!(r#"{{"values":[{}]}}"#, many.join(","));
    for (text, expected) in [
        ("", "0: policy: missing"),
        ("null", "0: policy: wrong type"),
        ("[]", "0: policy: wrong type"),
        (&deep, "0: policy: wrong type"),
        ("\u{feff}{}", "0: policy: wrong type"),
        ("{}", "2: header: missing"),
        ("{} {}", "3: policy: invalid JSON"),
        ("{1:2}", "1: policy: invalid JSON"),
        (r#"{"secret":true,}"#, "15: policy: invalid JSON"),
        (r#"{"secret":tru}"#, "13: secret: wrong type"),
        (r#"{"secret":True}"#, "10: secret: wrong type"),
        (r#"{"secret":true "count":true}"#, "15: policy: invalid JSON"),
        (r#"{"secret" true}"#, "10: policy: invalid JSON"),
        (r#"{"secret":true,"secret":true}"#, "23: policy: duplicate"),
        (r#"{"s\u0065cret":true,"secret":true}"#, "28: policy: duplicate"),
        (r#"{"Header":"a"}"#, "9: policy: unknown key"),
        (r#"{"header":["a"]}"#, "10: header: wrong type"),
        (r#"{"values":["secret",]}"#, "20: values: wrong type"),
        (r#"{"values":["secret" "b"]}"#, "20: values: invalid JSON"),
        (r#"{"values":["secret",null]}"#, "20: values: wrong type"),
        (r#"{"values":[["secret"]]}"#, "11: values: wrong type"),
        (r#"{"values":["secret"],"client":[{"id":"a"}]}"#, "41: client.value: missing"),
        (&many, "1442: values: too many items"),
        (&deny("{}"), "44: deny.status: missing"),
        (&deny("[403]"), "41: deny: wrong type"),
        (&deny(r#"{"status":403.5}"#), "55: deny.status: wrong type"),
        (&deny(r#"{"status":403.}"#), "55: deny.status: wrong type"),
        (&deny(r#"{"status":0403}"#), "55: deny.status: wrong type"),
        (&deny(r#"{"status":4e2}"#), "52: deny.status: wrong type"),
        (&deny(r#"{"status":-403}"#), "51: deny.status: wrong type"),
        (&deny(r#"{"status":4294967699}"#), "61: deny.status: out of range"),
        (&deny(r#"{"status":199}"#), "54: deny.status: out of range"),
        (&deny(r#"{"status":403,"headers":[["a"]]}"#), "71: deny.headers: wrong type"),
        (&deny(r#"{"status":403,"headers":[["a","b","c"]]}"#), "75: deny.headers: wrong type"),
    ] {
        let line = refused(text.as_bytes());
        assert!(line.ends_with(&format!(" refused at byte {expected}")), "{line}: {text}");
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    let good = with(br#""a""#);
    assert_eq!(Gate::new().take(str::from_utf8(&good).unwrap()), Ok(()));
    (0..good.len()).for_each(|size| drop(refused(&good[..size])));
}

#[test]
fn strings_are_those_of_json() {
    for header in [&br#""x-\u0041\u002d\u00622\/""#[..9], br#""x-\u0041""#, br#""\u0078\u002D1""#] {
        let text = with(header);
        let whole = serde_json::from_slice::<serde_json::Value>(&text);
        let taken = Gate::new().take(str::from_utf8(&text).unwrap());
        assert_eq!(taken.is_ok(), whole.is_ok(), "{}", text.escape_ascii());
    }
    for bad in [
        &br#""\x""#[..],
        br#""\u12""#,
        br#""\u00g0""#,
        br#""\ud800""#,
        br#""\ud800a""#,
        br#""\ud800\u0061""#,
        br#""\ud800\ud800""#,
        br#""\udc00\ud800""#,
        b"\"\xc0\x80\"",
        b"\"\xc1\xbf\"",
        b"\"\xe0\x9f\xbf\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf0\x8f\xbf\xbf\"",
        b"\"\xf4\x90\x80\x80\"",
        b"\"\xf5\x80\x80\x80\"",
        b"\"\xff\"",
        b"\"\x80\"",
        b"\"\xc3\"",
        b"\"\x00\"",
        b"\"\x1f\"",
        b"\"\n\"",
    ] {
        let text = with(bad);
        let line = refused(&text);
        assert!(line.ends_with(": header: invalid JSON"), "{line}");
        assert!(serde_json::from_slice::<serde_json::Value>(&text).is_err());
    }
    // Each kind of character, as it is and escaped: what a gate sends is what was meant.
    for body in ["\\\"\u{8}\u{c}\n\r\t/", "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}\0"]
    {
        let escaped: String = body.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        for written in [serde_json::to_string(body).unwrap(), format!("\"{escaped}\"")] {
            let mut gate = Gate::new();
            let deny = format!(r#"{{"status":403,"body":{written}}}"#);
            let text = format!(r#"{{"header":"a","values":["b"],"deny":{deny}}}"#);
            assert_eq!(gate.take(&text), Ok(()), "{text}");
            assert_eq!(gate.text(ROOT, field::BODY), body.as_bytes());
        }
    }
}
