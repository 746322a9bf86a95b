//! What the reader of configurations refuses, and what it says.

use gate::{Gate, ROOT};
use header_gate_config::{NONE, field, limits};
use serde_json::Value;

#[allow(dead_code, reason = "the other file asks for values")]
mod gate;

/// The line for the log about a configuration that is refused.
fn refused(text: &[u8]) -> String {
    let mut gate = Gate::new();
    let line = gate.configure(ROOT, text).expect_err("a refusal");
    assert_eq!(gate.0.base(ROOT), NONE);
    line
}

/// Checks the end of that line.
#[track_caller]
fn says(text: &str, expected: &str) {
    let line = refused(text.as_bytes());
    assert!(line.ends_with(&format!(" refused at byte {expected}")), "{line}: {text}");
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
    let both =
        r#"{"header":"a","values":["b"],"client":[{"id":"a","value":"c"}],"deny":{"status":403}}"#;
    let unnamed = r#"{"header":"a","values":["b"],"client_header":"c","deny":{"status":403}}"#;
    let pairs = vec![r#"["link",""]"#; 746].join(",");
    let pairs = deny(&format!(r#"{{"status":403,"headers":[{pairs}]}}"#));
    let client =
        |clients| format!(r#"{{"header":"a","client":[{clients}],"deny":{{"status":403}}}}"#);
    for (text, expected) in [
        ("", "0: policy: missing"),
        ("null", "0: policy: wrong type"),
        ("[]", "0: policy: wrong type"),
        ("@", "0: policy: wrong type"),
        (&deep, "0: policy: wrong type"),
        ("\u{feff}{}", "0: policy: wrong type"),
        ("{}", "2: header: missing"),
        ("{} {}", "3: policy: invalid JSON"),
        ("{1:2}", "1: policy: invalid JSON"),
        (r#"{"secret":true,}"#, "15: policy: invalid JSON"),
        (r#"{"secret":tru}"#, "10: secret: wrong type"),
        (r#"{"secret":True}"#, "10: secret: wrong type"),
        (r#"{"secret":truez}"#, "14: policy: invalid JSON"),
        (r#"{"secret":policy}"#, "10: secret: wrong type"),
        (r#"{"secret":true "count":true}"#, "15: policy: invalid JSON"),
        (r#"{"secret" true}"#, "10: policy: invalid JSON"),
        (r#"{"secret":true,"secret":true}"#, "23: policy: duplicate"),
        (r#"{"s\u0065cret":true,"secret":true}"#, "28: policy: duplicate"),
        (r#"{"Header":"a"}"#, "9: policy: unknown key"),
        (r#"{"policy":true}"#, "9: policy: unknown key"),
        (r#"{"header":["a"]}"#, "10: header: wrong type"),
        (r#"{"values":["secret",]}"#, "20: values: wrong type"),
        (r#"{"values":["secret" "b"]}"#, "20: values: invalid JSON"),
        (r#"{"values":["secret",null]}"#, "20: values: wrong type"),
        (r#"{"values":[["secret"]]}"#, "11: values: wrong type"),
        (r#"{"values":["secret"],"client":[{"id":"a"}]}"#, "41: client.value: missing"),
        (&many, "1442: values: too many items"),
        (&client(r#"{"id":"a","value":"b"},{"id":"b","value":"b"}"#), "93: client: duplicate"),
        (both, "85: client: excluded by another key"),
        (unnamed, "71: client_header: excluded by another key"),
        (&pairs, "9013: deny.headers: too many items"),
    ] {
        says(text, expected);
    }
}

#[test]
fn a_refusal_of_a_denial_names_the_place_the_key_and_the_reason() {
    let deny = |deny: &str| format!(r#"{{"header":"a","values":["secret"],"deny":{deny}}}"#);
    for (text, expected) in [
        (&deny("{}"), "44: deny.status: missing"),
        (&deny("[403]"), "41: deny: wrong type"),
        (&deny(r#"{"status":403.5}"#), "55: deny.status: wrong type"),
        (&deny(r#"{"status":403.}"#), "55: deny.status: wrong type"),
        (&deny(r#"{"status":0403}"#), "55: deny.status: wrong type"),
        (&deny(r#"{"status":4e2}"#), "52: deny.status: wrong type"),
        (&deny(r#"{"status":-403}"#), "51: deny.status: wrong type"),
        (&deny(r#"{"status":4294967699}"#), "61: deny.status: out of range"),
        (&deny(r#"{"status":199}"#), "54: deny.status: out of range"),
        (&r#"{"except":{"paths":[*"#.to_owned(), "20: except.paths: wrong type"),
        (
            &deny(r#"{"status":403,"headers":[["grpc-status","07"]]}"#),
            "85: deny.headers: out of range",
        ),
        (&deny(r#"{"status":403,"headers":[["a"]]}"#), "71: deny.headers: wrong type"),
        (&deny(r#"{"status":403,"headers":[["a","b","c"]]}"#), "75: deny.headers: wrong type"),
    ] {
        says(text, expected);
    }
}

#[test]
fn numbers_are_those_of_json() {
    for number in [
        "200",
        "599",
        " 403",
        "403.0",
        "403.00 ",
        "403\t",
        "403\r\n",
        "403.",
        "403.01",
        "403.10",
        "0403",
        "403a",
        "403/",
        "403-",
        "403:",
        "403~",
        "403|",
        "403.0.0",
        "403!",
        "403\"",
        "403 3",
        ".0",
        "",
        "9999999999403",
        "1403",
        "/03",
    ] {
        let text = format!(r#"{{"header":"a","values":["b"],"deny":{{"status":{number}}}}}"#);
        let whole = serde_json::from_str::<Value>(&text).ok();
        let whole = whole.and_then(|whole| whole["deny"]["status"].as_f64());
        let whole = whole.filter(|whole| whole.fract() == 0.0 && (200.0..600.0).contains(whole));
        let mut gate = Gate::new();
        assert_eq!(gate.take(&text).is_ok(), whole.is_some(), "{text}");
        if let Some(whole) = whole {
            let base = gate.0.base(ROOT);
            assert_eq!(f64::from(gate.0.field(base, field::STATUS)), whole, "{text}");
        }
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
    let escapes = br"\x \u12 \u00g0 \ud800 \ud800a \ud800\u0061 \ud800\ud800 \udc00\ud800";
    let bytes = b"\xc0\x80 \xc1\xbf \xe0\x9f\xbf \xed\xa0\x80 \xf0\x8f\xbf\xbf \xf4\x90\x80\x80 \
                  \xf5\x80\x80\x80 \xff \x80 \xc3 \x00 \x1f \n";
    for bad in [&escapes[..], bytes].into_iter().flat_map(|all| all.split(|byte| *byte == b' ')) {
        let text = with(&[b"\"", bad, b"\""].concat());
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

#[test]
fn the_largest_configuration_is_taken() {
    let good = String::from_utf8(with(br#""a""#)).unwrap();
    for (size, expected) in [(limits::TEXT, None), (limits::TEXT + 1, Some(": policy: too long"))] {
        let mut gate = Gate::new();
        let text = format!("{good}{}", " ".repeat(size - good.len()));
        let line = gate.take(&text).err();
        assert!(
            line.as_deref().map_or(expected.is_none(), |line| line.ends_with(expected.unwrap()))
        );
    }
}
