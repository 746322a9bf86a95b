//! The reader of configurations; `tests/readers.rs` compares it with the reader of files, as a finished module.

use gate::{Gate, ROOT};
use header_gate_config::{NONE, field, limits};

mod gate;

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
        (r#"{"secret":tru}"#, "10: secret: wrong type"),
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
        (r#"{"except":{"paths":[*"#, "20: except.paths: wrong type"),
        (
            &deny(r#"{"status":403,"headers":[["grpc-status","07"]]}"#),
            "85: deny.headers: out of range",
        ),
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
