//! What a policy may say, and what each mistake is called.

use std::path::Path;

use header_gate_policy::Policy;

const GOOD: &str = r#"
header = "Allow"
values = ["true", "yes"]
[deny]
status = 403
headers = [["Content-Type", "text/plain"], ["x-empty", ""]]
body = "no\n"
details = "gate"
"#;

fn parse(text: &str) -> Result<Policy, String> {
    Policy::parse(text, Path::new("my.toml")).map_err(|error| error.to_string())
}

#[test]
fn a_good_policy_is_read_whole() {
    let policy = parse(GOOD).unwrap();
    assert_eq!(policy.header, "allow", "stored in lower case");
    assert_eq!(policy.values, ["true", "yes"]);
    assert_eq!((policy.deny.status, policy.deny.body.as_str()), (403, "no\n"));
    assert_eq!(policy.deny.details, "gate");
    let headers = [("Content-Type", "text/plain"), ("x-empty", "")];
    assert_eq!(policy.deny.headers, headers.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn what_may_be_left_out_is_empty() {
    let policy = parse("header='a'\nvalues=['b']\n[deny]\nstatus=404").unwrap();
    assert!(!policy.secret);
    assert!(policy.deny.headers.is_empty());
    assert_eq!((policy.deny.body.as_str(), policy.deny.details.as_str()), ("", ""));
}

#[test]
fn each_mistake_is_named_with_its_file_and_key() {
    let mistakes = [
        ("values = [", "vals = [", "`values` is missing"),
        ("header = \"Allow\"", "", "`header` is missing"),
        ("header = \"Allow\"", "header = \"a\"\nhaeder = 1", "`haeder` is not a key here"),
        ("status = 403", "status = 403\ncode = 1", "`deny.code` is not a key here"),
        ("\"Allow\"", "\"\"", "`header` is an empty field name"),
        ("\"Allow\"", "\"al low\"", "`header` holds ' '"),
        ("\"Allow\"", "\":path\"", "`header` holds ':'"),
        ("\"Allow\"", "\"größe\"", "`header` holds 'ö'"),
        ("\"Allow\"", "7", "`header` is a TOML integer, not a string"),
        ("[\"true\", \"yes\"]", "[]", "`values` is empty"),
        ("[\"true\", \"yes\"]", "\"true\"", "`values` is a TOML string, not an array"),
        ("\"true\"", "\"\"", "`values[0]` is empty"),
        ("\"true\"", "\"yes\"", "`values[1]` is there twice"),
        ("\"true\"", "\"tr\\u0000e\"", "`values[0]` holds a NUL"),
        ("\"true\"", "\"true\\n\"", "`values[0]` holds an LF"),
        ("\"true\"", "\"true \"", "`values[0]` begins or ends with a blank"),
        ("\"true\"", "\"tr\\u007fe\"", "`values[0]` holds the control byte 0x7f"),
        ("\"true\"", "true", "`values[0]` is a TOML boolean, not a string"),
        ("[deny]", "secret = 1\n[deny]", "`secret` is a TOML integer, not true or false"),
        ("status = 403", "", "`deny.status` is missing"),
        ("status = 403", "status = 199", "`deny.status` is 199, not between 200 and 599"),
        ("status = 403", "status = 600", "`deny.status` is 600, not between 200 and 599"),
        ("status = 403", "status = -1", "`deny.status` is -1, not between 200 and 599"),
        ("status = 403", "status = \"403\"", "`deny.status` is a TOML string"),
        ("status = 403", "status = 204", "`deny.body` cannot be sent with status 204"),
        ("\"text/plain\"", "\"text\\r\"", "`deny.headers[0]` holds a CR"),
        ("\"text/plain\"", "\"a\\nb\"", "`deny.headers[0]` holds an LF"),
        ("\"text/plain\"", "\"a\\u0000\"", "`deny.headers[0]` holds a NUL"),
        ("\"x-empty\"", "\"\"", "`deny.headers[1]` is an empty field name"),
        ("\"x-empty\", \"\"", "\"x-empty\"", "`deny.headers[1]` is not a pair"),
        ("\"x-empty\"", "\"Content-Length\"", "`deny.headers[1]` names Content-Length"),
        ("\"gate\"", "\"a gate\"", "`deny.details` holds ' '"),
        ("[deny]", "[deny", "line 4 is not TOML"),
        ("[deny]", "\"a\\nb\\u001b\" = 1\n[deny]", r"`a\nb\u{1b}` is not a key here"),
    ];
    for (from, to, expected) in mistakes {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from} is not in the good policy");
        let error = parse(&text).expect_err(expected);
        assert!(error.starts_with("my.toml: "), "{error}");
        assert!(error.contains(expected), "{error}\nand not: {expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn what_would_not_fit_into_a_page_is_refused() {
    let long = |bytes| "x".repeat(bytes);
    let body = |bytes| GOOD.replace("no\\n", &long(bytes));
    assert!(parse(&body(16 * 1024)).is_ok());
    assert!(parse(&body(16 * 1024 + 1)).unwrap_err().contains("`deny.body` takes 16385 bytes"));
    let value = |bytes| GOOD.replace("\"true\"", &format!("{:?}", long(bytes)));
    assert!(parse(&value(2048)).is_ok());
    assert!(parse(&value(2049)).unwrap_err().contains("`values` takes 4098 bytes"));
    let pair = |bytes| GOOD.replace("text/plain", &long(bytes));
    assert!(parse(&pair(9000)).unwrap_err().contains("`deny.headers` takes"));
    let pairs = |number: usize| {
        let list = vec![["x", "y"]; number];
        GOOD.replace(r#"[["Content-Type", "text/plain"], ["x-empty", ""]]"#, &format!("{list:?}"))
    };
    assert!(parse(&pairs(682)).is_ok());
    assert!(parse(&pairs(683)).unwrap_err().contains("`deny.headers` takes 8200 bytes"));
    let values = |number: usize| {
        let list: Vec<_> = (0..number).map(|i| i.to_string()).collect();
        GOOD.replace(r#"["true", "yes"]"#, &format!("{list:?}"))
    };
    assert!(parse(&values(256)).is_ok());
    assert!(parse(&values(257)).unwrap_err().contains("`values` holds 257; 256 is the most"));
    let name = |bytes| GOOD.replace("Allow", &long(bytes));
    assert!(parse(&name(300)).unwrap_err().contains("`header` takes 300 bytes; 256 is the most"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Policy::read(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(error.starts_with("no/such.toml: cannot be read: "), "{error}");
}

#[test]
fn the_log_names_the_rule_and_never_a_secret() {
    let policy = parse(GOOD).unwrap();
    let denial = "allow header not found or is not true or yes, deny by default";
    assert_eq!(policy.denial(), denial);
    let open = parse(&GOOD.replace("[deny]", "secret = false\n[deny]")).unwrap();
    assert_eq!(open, policy);
    let secret = parse(&GOOD.replace("[deny]", "secret = true\n[deny]")).unwrap();
    let denial = "allow header not found or is not an accepted value, deny by default";
    assert_eq!(secret.denial(), denial);
    assert!(secret.constants().contains(denial));
}

#[test]
fn the_constants_are_those_of_the_policy() {
    let source = parse(&GOOD.replace("\"yes\"", r#""ü\\\"\t!""#)).unwrap().constants();
    for line in [
        "pub const HEADER: &str = \"allow\";",
        r#"pub const VALUES: [&[u8]; 2] = [b"true", b"\xc3\xbc\\\"\t!"];"#,
        "pub const STATUS: u32 = 403;",
        r#"pub const HEADERS: [(&str, &str); 2] = [("Content-Type", "text/plain"), ("x-empty", "")];"#,
        r#"pub const BODY: &str = "no\n";"#,
        "pub const DETAILS: &str = \"gate\";",
    ] {
        assert!(source.contains(line), "{line}\nis not in\n{source}");
    }
}
