//! Turns the policy into constants, and gives the ABI front's module its memory layout.

use std::env;
use std::fs;
use std::path::PathBuf;

use header_gate_config::PAGES;
use header_gate_policy::Policy;

fn main() {
    let file = env::var_os("HEADER_GATE_POLICY").map_or_else(
        || PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("policy.toml"),
        PathBuf::from,
    );
    println!("cargo::rerun-if-env-changed=HEADER_GATE_POLICY");
    println!("cargo::rustc-check-cfg=cfg(policy, values(\"count\"))");
    println!("cargo::rerun-if-changed={}", file.display());
    let is_wasm = env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("wasm");
    let native = !is_wasm && env::var_os("CARGO_FEATURE_NATIVE").is_some();
    let mut pages = 1;
    let checked = Policy::read(&file).and_then(|policy| {
        if !native {
            policy.check_plugin(&file)?;
        }
        Ok(policy)
    });
    match checked {
        Ok(policy) => {
            pages = policy.pages();
            let constants = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("policy.rs");
            fs::write(constants, policy.constants()).unwrap();
            if policy.count {
                println!("cargo::rustc-cfg=policy=\"count\"");
            }
        }
        Err(error) => println!("cargo::error={error}"),
    }

    // Memory that never grows. No stack: nothing in the ABI front needs one, and `gate build`
    // checks that. Data starts at 4: no static has the null address, and most addresses still take one
    // byte in an instruction.
    if is_wasm && env::var_os("CARGO_FEATURE_SDK").is_none() {
        let is_configured = env::var_os("CARGO_FEATURE_CONFIG").is_some();
        let size = if is_configured { PAGES } else { pages } << 16;
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=0");
        println!("cargo::rustc-link-arg-cdylib=--global-base=4");
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={size}");
        println!("cargo::rustc-link-arg-cdylib=--max-memory={size}");
    }

    // The native front links nothing, not even the start-up code of C.
    if native {
        println!("cargo::rustc-link-arg-cdylib=-nostdlib");
    }
}
