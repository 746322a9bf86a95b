//! What a policy may contain, and the error for each mistake.

use std::fs;
use std::path::Path;

use cases::{Case, Cases, GOOD};
use header_gate_config::keys;
use header_gate_policy::{Deny, Except, Policy};

mod cases;

fn parse(text: &str) -> Result<Policy, String> {
    Policy::parse(text, Path::new("my.toml")).map_err(|error| error.to_string())
}

#[test]
fn a_valid_policy_is_parsed_completely() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut expected = Policy {
        header: "allow".to_owned(),
        values: vec!["true".to_owned(), "yes".to_owned()],
        client: vec![],
        client_header: None,
        secret: false,
        repeated: None,
        remove: false,
        count: false,
        enforce: true,
        except: Except::default(),
        deny: Deny {
            status: 403,
            headers: vec![pair("Content-Type", "text/plain"), pair("x-empty", "")],
            body: "no\n".to_owned(),
            details: "gate".to_owned(),
            missing_details: None,
            grpc_status: None,
        },
    };
    assert_eq!(parse(GOOD).unwrap(), expected);
    // The optional keys.
    expected.deny = Deny { status: 403, ..Deny::default() };
    let short = parse("header='allow'\nvalues=['true','yes']\n[deny]\nstatus=403");
    assert_eq!(short.unwrap(), expected);
}

/// Calls `check` with what each case makes of `GOOD`, and with the expected line.
fn for_each(cases: fn(Cases) -> Vec<Case>, check: fn(Result<Policy, String>, &str)) {
    for (text, line) in cases(cases::read()).iter().flat_map(Case::texts) {
        check(parse(&text), &line);
    }
}

#[test]
fn each_mistake_is_one_line_with_file_key_and_reason() {
    for_each(
        |cases| cases.refused,
        |policy, expected| {
            let error = policy.expect_err(expected);
            assert!(error.starts_with("my.toml: "), "{error}");
            assert!(error.contains(expected), "{error}\nand not: {expected}");
            assert_eq!(error.lines().count(), 1, "{error}");
        },
    );
}

#[test]
fn each_surprise_is_one_warning() {
    assert_eq!(parse(GOOD).unwrap().warnings(), Vec::<String>::new());
    for_each(
        |cases| cases.warned,
        |policy, expected| {
            let warnings = policy.expect(expected).warnings();
            assert!(warnings.len() == 1 && warnings[0].starts_with(expected), "{warnings:?}");
            assert_eq!(warnings[0].lines().count(), 1, "{warnings:?}");
        },
    );
    for_each(
        |cases| cases.fine,
        |policy, _| {
            assert_eq!(policy.unwrap().warnings(), Vec::<String>::new());
        },
    );
}

#[test]
fn the_committed_policies_and_manifests_hold_no_surprise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |folder: &str| fs::read_dir(root.join(folder)).unwrap().map(|e| e.unwrap().path());
    let policies = read("policies").filter(|path| path.is_file()).chain(read("policies/options"));
    for file in policies.chain([root.join("policy.toml")]) {
        let warnings = Policy::read(&file).unwrap().warnings();
        assert_eq!(warnings, Vec::<String>::new(), "{}", file.display());
    }
    // In an AuthorizationPolicy a value with `*` at an end is a pattern.
    let policy = Policy::read(&root.join("policy.toml")).unwrap();
    assert!(policy.values.iter().all(|value| !value.starts_with('*') && !value.ends_with('*')));
    let values = format!("notValues: {:?}", policy.values);
    let files = read("deploy/istio-ingress").map(|file| fs::read_to_string(file).unwrap());
    let mut fallbacks = files.filter(|text| text.contains("kind: AuthorizationPolicy")).peekable();
    assert!(fallbacks.peek().is_some());
    fallbacks.for_each(|text| assert!(text.contains(&values), "{text}"));
}

#[test]
fn a_policy_that_does_not_fit_into_a_page_is_refused() {
    let long = |bytes| "x".repeat(bytes);
    let body = |bytes| GOOD.replace("no\\n", &long(bytes));
    let value = |bytes| GOOD.replace("\"true\"", &format!("{:?}", long(bytes)));
    let pairs = |number: usize| {
        let list: Vec<_> = (0..number).map(|i| [format!("{i:03}"), "y".to_owned()]).collect();
        GOOD.replace(r#"[["Content-Type", "text/plain"], ["x-empty", ""]]"#, &format!("{list:?}"))
    };
    let values = |number: usize| {
        let list: Vec<_> = (0..number).map(|i| i.to_string()).collect();
        GOOD.replace(r#"["true", "yes"]"#, &format!("{list:?}"))
    };
    let name = |bytes| GOOD.replace("Allow", &long(bytes));
    let method =
        |bytes| GOOD.replace("[deny]", &format!("[except]\nmethods = [{:?}]\n[deny]", long(bytes)));
    let paths = |number: usize, bytes: usize| {
        let list: Vec<_> = (0..number).map(|i| format!("/{i:0>0$}", bytes - 1)).collect();
        GOOD.replace("[deny]", &format!("[except]\npaths = {list:?}\n[deny]"))
    };
    for (largest, larger, expected) in [
        (body(16 * 1024), body(16 * 1024 + 1), "`deny.body` takes 16385 bytes, at most 16384"),
        (value(2048), value(2049), "`values` takes 4098 bytes, at most 4096"),
        (pairs(584), pairs(585), "`deny.headers` takes 8194 bytes, at most 8192"),
        (values(256), values(257), "`values` has 257 items, at most 256"),
        (method(32), method(33), "`except.methods[0]` takes 33 bytes, at most 32"),
        (paths(64, 3), paths(65, 3), "`except.paths` has 65 items, at most 64"),
        (paths(64, 64), paths(63, 66), "`except.paths` takes 4158 bytes, at most 4096"),
        (name(256), name(257), "`header` takes 257 bytes, at most 256"),
    ] {
        parse(&largest).expect(expected);
        let error = parse(&larger).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Policy::read(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(error.starts_with("no/such.toml: cannot be read: "), "{error}");
}

#[test]
fn the_log_line_states_the_rule_and_never_a_secret() {
    let policy = parse(GOOD).unwrap();
    let denial = "allow header not found or is not true or yes, deny by default";
    assert_eq!(policy.denial(), denial);
    let secret = parse(&GOOD.replace("[deny]", "secret = true\n[deny]")).unwrap();
    let denial = "allow header not found or is not an accepted value, deny by default";
    assert_eq!(secret.denial(), denial);
    assert!(secret.constants().contains(denial));
}

#[test]
fn headers_are_serialized_as_the_specification_says() {
    let with = |pairs| GOOD.replace(r#"[["Content-Type", "text/plain"], ["x-empty", ""]]"#, pairs);
    assert_eq!(parse(&with("[]")).unwrap().serialized_headers(), [0; 4]);
    assert_eq!(
        parse(&with(r#"[["a", "bc"], ["def", ""]]"#)).unwrap().serialized_headers(),
        b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0a\0bc\0def\0\0"
    );
}

/// A policy with so many clients; each value has this many bytes.
fn many(header: &str, clients: usize, size: usize) -> Result<Policy, String> {
    let client = |n| format!("[[client]]\nid = \"c{n:05}\"\nvalue = \"{n:0size$}\"\n");
    let clients: String = (0..clients).map(client).collect();
    parse(&format!("header = \"a\"\n{header}\n{clients}[deny]\nstatus = 403"))
}

#[test]
fn clients_are_limited_and_have_the_memory_that_they_need() {
    let error = many("", 50_001, 36).unwrap_err();
    assert_eq!(error, "my.toml: `client` has 50001 items, at most 50000 allowed");
    let error = many("", 40_000, 250).unwrap_err();
    assert_eq!(error, "my.toml: `client` takes 10280000 bytes, at most 8388608 allowed");

    let policy = many("client_header = \"X-Id\"", 10_000, 36).unwrap();
    assert_eq!(policy.client_header.as_deref(), Some("x-id"));
    assert_eq!(policy.options(), ["client", "client_header"]);
    assert!(policy.is_secret() && !policy.denial().contains("000"));
    // 41 bytes of table for each client, and with names 4 bytes and the name.
    assert_eq!(policy.pages(), (10_000 * (41 + 4 + 6)) / 65_536 + 1);
    assert_eq!(many("", 10_000, 36).unwrap().pages(), 410_000 / 65_536 + 1);
    assert_eq!(many("", 1, 36).unwrap().pages(), 1);
}

#[test]
fn constants_hold_the_policy_and_its_layout() {
    let text = GOOD.replace("\"yes\"", r#""ü\\\"\t!""#).replace(", [\"x-empty\", \"\"]", "");
    let source = parse(&text).unwrap().constants();
    for line in [
        "pub const HEADER: &str = \"allow\";",
        r#"pub const VALUES: [&[u8]; 2] = [b"true", b"\xc3\xbc\\\"\t!"];"#,
        "pub const LONGEST: usize = 6;",
        "pub const WORDS: usize = 2;",
        "pub const STATUS: u32 = 403;",
        r#"pub const HEADERS: [(&str, &str); 1] = [("Content-Type", "text/plain")];"#,
        r#"pub const HEADERS_SERIALIZED: [u8; 36] = *b"\x01\x00\x00\x00\x0c\x00\x00\x00\n\x00\x00\x00Content-Type\x00text/plain\x00";"#,
        r#"pub const BODY: &str = "no\n";"#,
        "pub const DETAILS: &str = \"gate\";",
        "pub const MISSING_DETAILS: Option<&str> = None;",
        "pub const GRPC_STATUS: i32 = -1;",
        "pub const REMOVE: bool = false;",
        "pub const ENFORCE: bool = true;",
        "pub const PATHS: [&str; 0] = [];",
    ] {
        assert!(source.contains(line), "{line}\nis not in\n{source}");
    }
}

/// The answers of Envoy to the plugin's denials, as e2e/tests/native.rs finds them too.
#[test]
fn the_native_gate_answers_as_envoy_does_for_the_plugin() {
    let bare = "header = 'a'\nvalues = ['b']\n[deny]\nstatus = 404\n";
    let text = GOOD.replace("no\\n", "100 % ~\\n");
    // Envoy adds a type to a body, and keeps a status of the policy's.
    let untyped = format!("{bare}body = 'c'\nheaders = [['grpc-status', '5']]");
    for (text, response, grpc_response) in [
        (
            &*text,
            ":status: 403, content-type: text/plain, x-empty: , content-length: 8",
            ":status: 200, x-empty: , content-type: application/grpc, grpc-status: 7, \
             grpc-message: 100 %25 %7E%0A",
        ),
        (bare, ":status: 404", ":status: 200, content-type: application/grpc, grpc-status: 12"),
        (
            &untyped,
            ":status: 404, grpc-status: 5, content-type: text/plain, content-length: 1",
            ":status: 200, grpc-status: 5, content-type: application/grpc, grpc-message: c",
        ),
    ] {
        let policy = parse(text).unwrap();
        for (headers, expected) in
            [(policy.response(), response), (policy.grpc_response(), grpc_response)]
        {
            let headers: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
            assert_eq!(headers.join(", "), expected);
        }
    }
    let statuses = [400, 401, 403, 404, 429, 502, 503, 504, 500];
    for (status, expected) in statuses.into_iter().zip([13, 16, 7, 12, 14, 14, 14, 14, 2]) {
        let mut policy = parse(bare).unwrap();
        policy.deny.status = status;
        assert_eq!(policy.grpc_status(), expected, "{status}");
    }
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
        let error = parse(&text).unwrap_err();
        let expected = list.split('|').map(|key| format!("`{key}`")).collect::<Vec<_>>();
        let expected = format!("unknown key `x`, expected one of {}", expected.join(", "));
        let error = error.replace("`repeated`, ", "");
        assert!(error.ends_with(&expected), "{error}\nand not: {expected}");
    }
}
