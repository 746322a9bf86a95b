//! What a native gate may be: a shared library for Envoy's dynamic-module ABI.
//!
//! A library is trusted code, so this proves less than the contract of a module: it shows what the library
//! asks of the process that loads it, and that it keeps no state.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::{
    DT_INIT, DT_INIT_ARRAY, DT_NEEDED, DT_TEXTREL, PF_W, PF_X, PT_GNU_RELRO, PT_GNU_STACK, PT_LOAD,
    STB_GLOBAL, STT_SECTION, STV_DEFAULT,
};
use elf::endian::AnyEndian;

/// What every name that a gate exports begins with.
const EVENT: &str = "envoy_dynamic_module_on_";

/// The functions of Envoy that a gate may call.
const CALLBACKS: [&str; 9] = [
    "envoy_dynamic_module_callback_http_filter_config_define_counter",
    "envoy_dynamic_module_callback_http_filter_increment_counter",
    "envoy_dynamic_module_callback_http_get_header",
    "envoy_dynamic_module_callback_http_get_headers",
    "envoy_dynamic_module_callback_http_get_headers_size",
    "envoy_dynamic_module_callback_http_send_response",
    "envoy_dynamic_module_callback_http_send_response_data",
    "envoy_dynamic_module_callback_http_send_response_headers",
    "envoy_dynamic_module_callback_http_set_header",
];

/// A shared library that is a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its size.
    pub bytes: usize,
    /// The functions of Envoy that it calls.
    pub imports: BTreeSet<String>,
    /// How many events of Envoy it handles.
    pub events: usize,
}

impl Library {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// The file is not a shared library, or it imports, exports or contains what a gate has no use for.
    pub fn inspect(file: &[u8]) -> Result<Self> {
        let elf = ElfBytes::<AnyEndian>::minimal_parse(file).context("not an ELF file")?;
        let (symbols, names) =
            elf.dynamic_symbol_table().ok().flatten().context("not a shared library")?;
        let (mut imports, mut events) = (BTreeSet::new(), 0);
        for symbol in symbols.iter().skip(1) {
            let name = names.get(symbol.st_name as usize).context("a symbol has no name")?;
            // Linkers for some machines list sections.
            if symbol.st_symtype() == STT_SECTION {
                continue;
            }
            if symbol.is_undefined() {
                ensure!(CALLBACKS.contains(&name), "imports {name}");
                imports.insert(name.to_owned());
            } else {
                let public = symbol.st_bind() == STB_GLOBAL && symbol.st_vis() == STV_DEFAULT;
                ensure!(public && name.starts_with(EVENT), "exports {name}");
                events += 1;
            }
        }
        let segments = elf.segments().context("has no segments")?;
        let relro = segments.iter().find(|s| s.p_type == PT_GNU_RELRO);
        let relro = relro.map_or(0..0, |s| s.p_vaddr..s.p_vaddr + s.p_memsz);
        for segment in segments {
            let (writable, executable) = (segment.p_flags & PF_W != 0, segment.p_flags & PF_X != 0);
            let end = segment.p_vaddr + segment.p_memsz;
            let fixed = relro.contains(&segment.p_vaddr) && end <= relro.end;
            match segment.p_type {
                PT_LOAD => {
                    ensure!(!(writable && executable), "has code that can be written");
                    ensure!(!writable || fixed, "has memory that stays writable");
                }
                PT_GNU_STACK => ensure!(!executable, "needs a stack that can be executed"),
                _ => {}
            }
        }
        for entry in elf.dynamic().ok().flatten().context("not a shared library")? {
            ensure!(entry.d_tag != DT_NEEDED, "needs another library");
            ensure!(entry.d_tag != DT_TEXTREL, "changes its code when it is loaded");
            let starts = [DT_INIT, DT_INIT_ARRAY].contains(&entry.d_tag);
            ensure!(!starts, "runs code when it is loaded");
        }
        Ok(Self { bytes: file.len(), imports, events })
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let imports: Vec<_> = self.imports.iter().map(String::as_str).collect();
        writeln!(f, "{:<20}{}", "bytes", self.bytes)?;
        writeln!(f, "{:<20}{}", "imports", imports.join(", "))?;
        writeln!(f, "{:<20}{} of Envoy's dynamic-module ABI", "events", self.events)?;
        writeln!(f, "{:<20}none: no writable memory, no allocator, no start-up code", "state")?;
        writeln!(f, "{:<20}none", "libraries")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::Library;

    /// What `cc`, which links every Rust program, makes of a source in C.
    fn compile(source: &str, arguments: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libgate.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-x", "c", "-Wl,-z,now", "-"]).args(arguments);
        let mut cc = cc.arg("-o").arg(&file).stdin(Stdio::piped()).spawn().unwrap();
        cc.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        assert!(cc.wait().unwrap().success());
        std::fs::read(file).unwrap()
    }

    const GATE: &str = "int envoy_dynamic_module_callback_http_get_header(void);\n\
        int envoy_dynamic_module_on_program_init(void)\n\
        { return envoy_dynamic_module_callback_http_get_header(); }\n";

    #[test]
    fn a_library_that_has_what_a_gate_needs_is_one() {
        let library = Library::inspect(&compile(GATE, &["-nostdlib"])).unwrap();
        assert_eq!((library.imports.len(), library.events), (1, 1));
        let table = library.to_string();
        assert!(table.contains("events              1 of Envoy"), "{table}");
    }

    #[test]
    fn a_library_with_more_is_refused() {
        for (more, arguments, expected) in [
            (
                "int puts(char *); int envoy_dynamic_module_on_x(void) { return puts(0); }",
                &["-nostdlib"][..],
                "imports puts",
            ),
            ("int malloc(void) { return 0; }", &["-nostdlib"], "exports malloc"),
            (
                "__attribute__((weak)) int envoy_dynamic_module_on_x(void) { return 0; }",
                &["-nostdlib"],
                "exports envoy_dynamic_module_on_x",
            ),
            ("int envoy_dynamic_module_on_x;", &["-nostdlib"], "has memory that stays writable"),
            (
                "static int n; int envoy_dynamic_module_on_x(void) { return n++; }",
                &["-nostdlib"],
                "has memory that stays writable",
            ),
            (
                "__attribute__((constructor)) static void f(void) {}",
                &["-nostdlib"],
                "runs code when it is loaded",
            ),
            ("", &["-nostdlib", "-Wl,-z,lazy"], "has memory that stays writable"),
            ("", &["-nostdlib", "-Wl,-z,execstack"], "needs a stack that can be executed"),
            ("", &["-Wl,--no-as-needed"], "imports "),
        ] {
            let error = Library::inspect(&compile(&format!("{GATE}{more}\n"), arguments));
            let error = format!("{:#}", error.unwrap_err());
            assert!(error.starts_with(expected), "{more} {arguments:?}: {error}");
        }
        assert!(Library::inspect(b"\0asm\x01\0\0\0").is_err());
    }
}
