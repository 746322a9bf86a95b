//! Reads a module into its [`Properties`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;

use anyhow::{Context, Result, anyhow, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{Data, DataKind, Operator, Parser, Payload, ValType, Validator, WasmFeatures};

use crate::execute::{self, Code, Execution};
use crate::functions::{Function, mark_recursion};
use crate::interval::Width;

/// What was found in a module.
#[derive(Debug, Default, Serialize)]
pub struct Properties {
    /// Bytes of the module.
    pub bytes: usize,
    /// Bytes after `gzip -9`.
    pub gzip: usize,
    /// Imports in order; names are `module.name`.
    pub imports: Vec<Item>,
    /// Exports in order.
    pub exports: Vec<Item>,
    /// Memories, imported ones included.
    pub memories: Vec<Pages>,
    /// Names of the custom sections.
    pub custom_sections: Vec<String>,
    /// The first use of a feature after WebAssembly 1.0, in the validator's words.
    pub beyond_mvp: Option<String>,
    /// Indices of the mutable globals. A shadow stack needs one.
    pub mutable_globals: Vec<u32>,
    /// Number of tables, imported ones included.
    pub tables: u32,
    /// Number of element segments.
    pub element_segments: u32,
    /// Index of the function that runs when the module is instantiated.
    pub start: Option<u32>,
    /// Bytes of the data segments.
    pub data: usize,
    /// The first address behind all data segments; none if the address of one is computed.
    pub data_end: Option<u64>,
    /// The functions with a body.
    pub functions: Vec<Function>,
    /// Most instructions of one call of each exported function.
    pub paths: BTreeMap<String, Bound>,
    /// What could trap in a call of an exported function, and where.
    pub traps: BTreeSet<String>,
    /// What the exported functions do.
    #[serde(skip)]
    pub(crate) executions: BTreeMap<String, Execution>,
}

/// The most instructions that a call can execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// At most this many. `block`, `loop`, `else` and `end` only mark places and are not counted.
    Instructions(u64),
    /// None was found, and why.
    Unbounded(String),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instructions(count) => write!(f, "{count}"),
            Self::Unbounded(why) => write!(f, "unbounded ({why})"),
        }
    }
}

/// An import or an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// The type of a function, such as `(func (param i32) (result i32))`, or `memory`, `global`, ...
    #[serde(rename = "type")]
    pub kind: String,
}

impl Item {
    pub(crate) fn is_function(&self) -> bool {
        self.kind.starts_with("(func")
    }
}

/// The limits of a memory, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pages {
    /// At the start.
    pub minimum: u64,
    /// After any growth.
    pub maximum: Option<u64>,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.maximum {
            Some(maximum) => write!(f, "{} to {maximum} pages of 64 KiB", self.minimum),
            None => write!(f, "{} pages of 64 KiB, no maximum", self.minimum),
        }
    }
}

/// Reads the module in `wasm`.
///
/// # Errors
/// `wasm` is not a valid WebAssembly module.
pub fn inspect(wasm: &[u8]) -> Result<Properties> {
    if Parser::is_component(wasm) {
        bail!("this is a WebAssembly component, expected a module");
    }
    if !wasm.starts_with(b"\0asm") {
        bail!("not a WebAssembly module: it does not start with \\0asm");
    }
    // With every feature on, an error means a malformed module rather than a new one.
    let types = Validator::new_with_features(WasmFeatures::all())
        .validate_all(wasm)
        .map_err(|error| anyhow!("not a valid WebAssembly module: {error}"))?;
    let types = types.as_ref();
    let mut zip = GzEncoder::new(Vec::new(), Compression::best());
    zip.write_all(wasm)?;
    let memories = (0..types.memory_count()).map(|index| types.memory_at(index));
    let properties = Properties {
        bytes: wasm.len(),
        gzip: zip.finish()?.len(),
        memories: memories.map(|m| Pages { minimum: m.initial, maximum: m.maximum }).collect(),
        beyond_mvp: beyond_mvp(wasm),
        mutable_globals: (0..types.global_count())
            .filter(|&index| types.global_at(index).mutable)
            .collect(),
        tables: types.table_count(),
        element_segments: types.element_count(),
        data_end: Some(0),
        ..Properties::default()
    };
    let mut reader = Reader {
        types,
        exported: BTreeMap::new(),
        imports: Vec::new(),
        code: Vec::new(),
        properties,
    };
    for payload in Parser::new(0).parse_all(wasm) {
        reader.section(payload?)?;
    }
    Ok(reader.finish())
}

/// The first use of a feature after WebAssembly 1.0 in a valid module, in the validator's words.
#[must_use]
pub fn beyond_mvp(wasm: &[u8]) -> Option<String> {
    let mut validator = Validator::new_with_features(WasmFeatures::MVP);
    validator.validate_all(wasm).err().map(|error| error.to_string())
}

/// Reads what the validator does not keep.
struct Reader<'a> {
    types: TypesRef<'a>,
    /// Names of the exported functions by index.
    exported: BTreeMap<u32, Vec<String>>,
    /// What the imported functions take and return, and the functions with a body.
    imports: Vec<(usize, Option<Width>)>,
    code: Vec<Code<'a>>,
    properties: Properties,
}

impl<'a> Reader<'a> {
    fn section(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let name = format!("{}.{}", import.module, import.name);
                    let kind = self.types.entity_type_from_import(&import);
                    if let Some(EntityType::Func(id) | EntityType::FuncExact(id)) = kind {
                        let ty = self.types[id].unwrap_func();
                        let result = ty.results().first().map(|&ty| width(ty));
                        self.imports.push((ty.params().len(), result));
                    }
                    let item = self.item(name, kind)?;
                    self.properties.imports.push(item);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let name = export.name.to_owned();
                    let item = self.item(name, self.types.entity_type_from_export(&export))?;
                    if item.is_function() {
                        self.exported.entry(export.index).or_default().push(item.name.clone());
                    }
                    self.properties.exports.push(item);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    self.data(&data?)?;
                }
            }
            Payload::CodeSectionEntry(body) => {
                let index = (self.imports.len() + self.code.len()) as u32;
                let ty = self.types[self.types.core_function_at(index)].unwrap_func();
                let mut locals = Vec::new();
                for declared in body.get_locals_reader()? {
                    let (count, ty) = declared?;
                    locals.extend((0..count).map(|_| width(ty)));
                }
                let operators = body.get_operators_reader()?.into_iter();
                let operators = operators.collect::<Result<_, _>>()?;
                let params = ty.params().iter().map(|&ty| width(ty)).collect();
                self.code.push(Code::new(params, locals, ty.results().len(), operators));
            }
            Payload::StartSection { func, .. } => self.properties.start = Some(func),
            Payload::CustomSection(section) => {
                self.properties.custom_sections.push(section.name().to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn item(&self, name: String, kind: Option<EntityType>) -> Result<Item> {
        let kind = match kind.context("the type of an import or export is unknown")? {
            EntityType::Func(id) | EntityType::FuncExact(id) => {
                self.types[id].unwrap_func().to_string()
            }
            EntityType::Memory(_) => "memory".to_owned(),
            EntityType::Global(_) => "global".to_owned(),
            EntityType::Table(_) => "table".to_owned(),
            EntityType::Tag(_) => "tag".to_owned(),
        };
        Ok(Item { name, kind })
    }

    fn data(&mut self, segment: &Data<'_>) -> Result<()> {
        self.properties.data += segment.data.len();
        if let DataKind::Active { offset_expr, .. } = &segment.kind {
            let mut offset = offset_expr.get_operators_reader();
            let end = match (offset.read()?, offset.read()?) {
                (Operator::I32Const { value }, Operator::End) => {
                    Some(u64::from(value.cast_unsigned()) + segment.data.len() as u64)
                }
                _ => None,
            };
            let before = self.properties.data_end;
            self.properties.data_end = before.zip(end).map(|(a, b)| a.max(b));
        }
        Ok(())
    }

    /// Analyses the functions.
    fn finish(self) -> Properties {
        let Self { mut exported, imports, code, mut properties, .. } = self;
        let names = exported.clone();
        properties.functions = (imports.len() as u32..)
            .zip(&code)
            .map(|(index, code)| {
                Function::new(index, exported.remove(&index).unwrap_or_default(), &code.body)
            })
            .collect();
        mark_recursion(&mut properties.functions);
        let memory = properties.memories.first().map_or(0, |memory| memory.minimum * PAGE_SIZE);
        let functions = &properties.functions;
        let module = execute::Module { imports, functions, code: &code, memory };
        for function in functions.iter().filter(|function| names.contains_key(&function.index)) {
            let execution = execute::execute(&module, function);
            properties.traps.extend(execution.traps.values().cloned());
            for name in &function.exports {
                let bound = match &execution.unbounded {
                    None => Bound::Instructions(execution.most),
                    Some(why) => Bound::Unbounded(why.clone()),
                };
                properties.paths.insert(name.clone(), bound);
                properties.executions.insert(name.clone(), execution.clone());
            }
        }
        properties
    }
}

/// Bytes of a page of memory.
pub(crate) const PAGE_SIZE: u64 = 64 * 1024;

/// Numbers of other types have any bits, and no instruction on them is analysed.
fn width(ty: ValType) -> Width {
    if ty == ValType::I32 { Width::W32 } else { Width::W64 }
}
