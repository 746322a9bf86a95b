//! The picture of the module shows the module that the build makes.

use std::fs;

use header_gate_cli::build::ledger::{FILE, Ledger};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{Builder, artifact};
use header_gate_cli::root;
use header_gate_lab::anatomy::{PICTURE, render};

/// How a line of bytes begins in the picture.
const BYTES: &str = "<text x=\"96\"";

/// The bytes in the committed picture.
fn shown() -> Vec<u8> {
    let picture = fs::read_to_string(root().join(PICTURE)).unwrap();
    let texts = picture.lines().filter_map(|line| line.strip_prefix(BYTES)?.split_once('>'));
    let texts = texts.filter_map(|(_, text)| text.strip_suffix("</text>"));
    let bytes = texts.skip_while(|text| *text == "bytes").flat_map(str::split_whitespace);
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_committed_picture_has_every_byte_of_the_module() {
    let (root, wasm) = (root(), shown());
    let picture = fs::read_to_string(root.join(PICTURE)).unwrap();
    assert!(picture == render(&root, &wasm).unwrap(), "{PICTURE}: run `cargo lab anatomy`");
    assert!(picture.contains(&format!("plugin.wasm: {} bytes, all of them", wasm.len())));
    let ledger = Ledger::read(&root.join(FILE)).unwrap();
    let toolchain = Builder::new(&root).unwrap().toolchain().unwrap();
    // Another compiler may give other bytes, which have other words.
    if ledger.toolchain() == Some(toolchain.as_str()) {
        let now = fs::read(artifact(&root, &Variant::default()).unwrap()).unwrap();
        assert!(wasm == now, "{PICTURE} is out of date; run `cargo lab anatomy`");
    }
}

#[test]
fn a_module_that_the_words_do_not_explain_is_not_drawn() {
    let error = |wasm: &[u8]| format!("{:#}", render(&root(), wasm).unwrap_err());
    let mut wasm = shown();
    // An empty custom section behind everything.
    wasm.extend([0, 1, 0]);
    assert!(error(&wasm).contains("no words for this part of a module"));
    let mut wasm = shown();
    let pause = wasm.windows(3).position(|code| code == [0x1a, 0x41, 0x01]).unwrap();
    wasm[pause + 2] = 0;
    let explained =
        format!("`i32.const 1` is explained, but at {:#x} the module has `i32.const 0`", pause + 1);
    assert!(error(&wasm).ends_with(&explained), "{}", error(&wasm));
}
