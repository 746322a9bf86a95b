//! Reads a module into its [`Properties`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use anyhow::{Context, Result, anyhow, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{Data, DataKind, Operator, Parser, Payload, Validator, WasmFeatures};

use crate::functions::{Function, mark_recursion};
use crate::path::{self, Bound};

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
    /// Most instructions of one call of `malloc` and of `proxy_on_request_headers`, where exported.
    pub paths: BTreeMap<String, Bound>,
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
    let mut reader = Reader { types, exported: BTreeMap::new(), bodies: Vec::new(), properties };
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

impl Properties {
    /// The function with a body that is exported as `name`.
    pub(crate) fn exported(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.exports.iter().any(|other| other == name))
    }
}

/// Reads what the validator does not keep.
struct Reader<'a> {
    types: TypesRef<'a>,
    /// Names of the exported functions by index.
    exported: BTreeMap<u32, Vec<String>>,
    bodies: Vec<Vec<Operator<'a>>>,
    properties: Properties,
}

impl<'a> Reader<'a> {
    fn section(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let name = format!("{}.{}", import.module, import.name);
                    let item = self.item(name, self.types.entity_type_from_import(&import))?;
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
                let operators = body.get_operators_reader()?.into_iter();
                self.bodies.push(operators.collect::<Result<_, _>>()?);
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
        let Self { mut exported, bodies, mut properties, .. } = self;
        let imported = properties.imports.iter().filter(|item| item.is_function()).count() as u32;
        properties.functions = (imported..)
            .zip(&bodies)
            .map(|(index, body)| {
                Function::new(index, exported.remove(&index).unwrap_or_default(), body)
            })
            .collect();
        let callees_first = mark_recursion(&mut properties.functions);
        let bounds = path::bounds(&properties.functions, &bodies, &callees_first);
        for name in ["malloc", "proxy_on_request_headers"] {
            if let Some(function) = properties.exported(name) {
                let bound = bounds[&function.index].clone();
                properties.paths.insert(name.to_owned(), bound);
            }
        }
        properties
    }
}
