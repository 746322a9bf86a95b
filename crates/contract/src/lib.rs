//! What a finished module can do, read from its bytes.
//!
//! [`inspect`] reports and claims nothing, of any module. [`Properties::violations`] holds the report
//! against a [`Contract`] and names each item outside it.

mod contract;
mod functions;
mod path;
mod table;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, anyhow, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use wasmparser::{
    Data, DataKind, ElementItems, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef,
    Validator, WasmFeatures,
};

pub use contract::Contract;
pub use functions::Function;
pub use path::Bound;

/// What was found of a module.
#[derive(serde::Serialize, Debug)]
pub struct Properties {
    /// Bytes of the module.
    pub bytes: usize,
    /// Bytes after `gzip -9`.
    pub gzip: usize,
    /// Imports in order, `module.name`, and what they are.
    pub imports: Vec<(String, String)>,
    /// Exports in order, and what they are.
    pub exports: Vec<(String, String)>,
    /// Minimum and maximum of each memory, in pages of 64 KiB.
    pub memories: Vec<(u64, Option<u64>)>,
    /// Names of the custom sections.
    pub custom_sections: Vec<String>,
    /// What is not WebAssembly 1.0, in the validator's words.
    pub beyond_mvp: Option<String>,
    /// Indices of the mutable globals. A shadow stack needs one.
    pub mutable_globals: Vec<u32>,
    /// Number of tables, and of element segments.
    pub tables: (u32, u32),
    /// Index of the function that runs when the module is instantiated.
    pub start: Option<u32>,
    /// Bytes of the data segments.
    pub data: usize,
    /// The first address behind all data segments; none if one's address is computed.
    pub data_end: Option<u64>,
    /// Names of the imported functions, by index.
    pub imported_functions: Vec<String>,
    /// The functions with a body.
    pub functions: Vec<Function>,
    /// Most instructions of one call of `malloc` and of `proxy_on_request_headers`, where exported.
    pub paths: BTreeMap<String, Bound>,
}

/// Reads the module in `wasm`.
///
/// # Errors
/// It is not a valid WebAssembly module.
pub fn inspect(wasm: &[u8]) -> Result<Properties> {
    if !wasm.starts_with(b"\0asm") {
        bail!("not a WebAssembly module: it does not begin with \\0asm");
    }
    // The latest features tell what is malformed; version 1.0 tells what is newer than that.
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(wasm)
        .map_err(|error| anyhow!("not a valid WebAssembly module: {error}"))?;
    let module = Module::parse(wasm)?;

    let mut zip = GzEncoder::new(Vec::new(), Compression::best());
    zip.write_all(wasm)?;
    let longest = path::longest(&module.functions, &module.callees_first);
    let paths = ["malloc", "proxy_on_request_headers"].into_iter().filter_map(|name| {
        let (_, index) = module.exported.iter().find(|(export, _)| *export == name)?;
        Some((name.to_owned(), longest.get(index)?.clone()))
    });
    Ok(Properties {
        bytes: wasm.len(),
        gzip: zip.finish()?.len(),
        imports: module.imports,
        exports: module.exports,
        memories: module.memories,
        custom_sections: module.custom_sections,
        beyond_mvp: beyond_mvp(wasm),
        mutable_globals: module.mutable_globals,
        tables: module.tables,
        start: module.start,
        data: module.data,
        data_end: module.data_end,
        imported_functions: module.imported_functions,
        paths: paths.collect(),
        functions: module.functions,
    })
}

/// What of a valid module is not WebAssembly 1.0, in the validator's words.
#[must_use]
pub fn beyond_mvp(wasm: &[u8]) -> Option<String> {
    let mut validator = Validator::new_with_features(WasmFeatures::MVP);
    validator.validate_all(wasm).err().map(|error| error.to_string())
}

/// A module's sections, gathered.
#[derive(Default)]
struct Module {
    imports: Vec<(String, String)>,
    exports: Vec<(String, String)>,
    /// Exported functions by name.
    exported: Vec<(String, u32)>,
    memories: Vec<(u64, Option<u64>)>,
    custom_sections: Vec<String>,
    mutable_globals: Vec<u32>,
    globals: u32,
    tables: (u32, u32),
    start: Option<u32>,
    data: usize,
    data_end: Option<u64>,
    imported_functions: Vec<String>,
    /// Types of the module's function types, and of its functions, imported ones first.
    types: Vec<FuncType>,
    signatures: Vec<u32>,
    functions: Vec<Function>,
    callees_first: Vec<u32>,
}

impl Module {
    fn parse(wasm: &[u8]) -> Result<Self> {
        let mut module = Self { data_end: Some(0), ..Self::default() };
        let mut bodies = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::Version { encoding, .. } if encoding != wasmparser::Encoding::Module => {
                    bail!("a WebAssembly component, not a module");
                }
                Payload::TypeSection(section) => {
                    for kind in section.into_iter_err_on_gc_types() {
                        module.types.push(kind.context("a type that no Proxy-Wasm host takes")?);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let name = format!("{}.{}", import.module, import.name);
                        if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                            module.imported_functions.push(name.clone());
                        }
                        let kind = module.import(import.ty);
                        module.imports.push((name, kind));
                    }
                }
                Payload::FunctionSection(section) => {
                    for signature in section {
                        module.signatures.push(signature?);
                    }
                }
                Payload::TableSection(section) => module.tables.0 += section.count(),
                Payload::ElementSection(section) => {
                    for element in section {
                        let (ElementItems::Functions(_) | ElementItems::Expressions(..)) =
                            element?.items;
                        module.tables.1 += 1;
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        module.memories.push((memory.initial, memory.maximum));
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        module.global(global?.ty.mutable);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let kind = module.kind(export.kind, export.index);
                        module.exports.push((export.name.to_owned(), kind));
                        if export.kind == ExternalKind::Func {
                            module.exported.push((export.name.to_owned(), export.index));
                        }
                    }
                }
                Payload::StartSection { func, .. } => module.start = Some(func),
                Payload::DataSection(section) => {
                    for data in section {
                        module.data(&data?)?;
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                Payload::CustomSection(section) => {
                    module.custom_sections.push(section.name().to_owned());
                }
                _ => {}
            }
        }
        let imported = module.signatures.len() - bodies.len();
        for (index, body) in (imported..).zip(bodies) {
            let index = u32::try_from(index)?;
            let export = module.exported.iter().find(|(_, exported)| *exported == index);
            let name = export.map(|(name, _)| name.clone());
            module.functions.push(Function::read(index, name, &body)?);
        }
        module.callees_first = functions::mark_recursion(&mut module.functions);
        Ok(module)
    }

    fn import(&mut self, kind: TypeRef) -> String {
        match kind {
            TypeRef::Func(signature) | TypeRef::FuncExact(signature) => {
                self.signatures.push(signature);
                self.signature(signature)
            }
            TypeRef::Memory(memory) => {
                self.memories.push((memory.initial, memory.maximum));
                "memory".to_owned()
            }
            TypeRef::Global(global) => {
                self.global(global.mutable);
                "global".to_owned()
            }
            TypeRef::Table(_) => {
                self.tables.0 += 1;
                "table".to_owned()
            }
            TypeRef::Tag(_) => "tag".to_owned(),
        }
    }

    fn data(&mut self, segment: &Data<'_>) -> Result<()> {
        self.data += segment.data.len();
        if let DataKind::Active { offset_expr, .. } = &segment.kind {
            let mut offset = offset_expr.get_operators_reader();
            let start = match (offset.read()?, offset.read()?) {
                (Operator::I32Const { value }, Operator::End) => Some(u64::from(value as u32)),
                _ => None,
            };
            let end = start.map(|start| start + segment.data.len() as u64);
            self.data_end = self.data_end.zip(end).map(|(a, b)| a.max(b));
        }
        Ok(())
    }

    fn global(&mut self, mutable: bool) {
        if mutable {
            self.mutable_globals.push(self.globals);
        }
        self.globals += 1;
    }

    fn kind(&self, kind: ExternalKind, index: u32) -> String {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                self.signature(self.signatures[index as usize])
            }
            ExternalKind::Memory => "memory".to_owned(),
            ExternalKind::Global => "global".to_owned(),
            ExternalKind::Table => "table".to_owned(),
            ExternalKind::Tag => "tag".to_owned(),
        }
    }

    /// A function's type, such as `(i32, i32) -> i32`.
    fn signature(&self, index: u32) -> String {
        let list = |types: &[wasmparser::ValType]| {
            types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let signature = &self.types[index as usize];
        match signature.results() {
            [] => format!("({})", list(signature.params())),
            results => format!("({}) -> {}", list(signature.params()), list(results)),
        }
    }
}

#[cfg(test)]
mod tests;
