//! The bytes of a module as items with a name: headers of sections, entries, instructions, and data.

use std::ops::Range;

use anyhow::{Result, bail};
use wasmparser::{
    CompositeInnerType, Data, DataKind, DataSectionReader, Export, ExternalKind, FromReader,
    FunctionBody, Imports, MemoryType, Operator, Parser, Payload, RecGroup, SectionLimited,
    ValType,
};

#[derive(Clone, Debug)]
pub struct Item {
    /// The section that it is in.
    pub section: &'static str,
    pub bytes: Range<usize>,
    pub name: String,
    /// Whether its bytes are constant data, which may be divided.
    is_data: bool,
}

impl Item {
    /// Its name; data as text, with a dot for each byte that is no letter.
    pub fn text(&self, wasm: &[u8]) -> String {
        if !self.is_data {
            return self.name.clone();
        }
        let letter = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '·' };
        format!("“{}”", wasm[self.bytes.clone()].iter().map(letter).collect::<String>())
    }

    /// The first `size` bytes of data, and the others if there are any.
    pub fn split(&self, size: usize) -> Option<(Self, Option<Self>)> {
        let Range { start, end } = self.bytes;
        let middle = end.min(start + size);
        let part = |bytes| Self { bytes, ..self.clone() };
        self.is_data.then(|| (part(start..middle), (middle < end).then(|| part(middle..end))))
    }
}

#[derive(Default)]
struct Reader {
    items: Vec<Item>,
    /// The names of the functions by their index: imports, then the first export of each body.
    functions: Vec<String>,
    /// How many bodies were read.
    bodies: usize,
    /// How many functions are imported.
    imported: usize,
}

/// All items of the module `wasm`; together they have all its bytes.
pub fn read(wasm: &[u8]) -> Result<Vec<Item>> {
    let mut reader = Reader::default();
    for payload in Parser::new(0).parse_all(wasm) {
        reader.section(payload?)?;
    }
    Ok(reader.items)
}

impl Reader {
    /// Names the bytes from the end of the last item to `end`.
    fn item(&mut self, section: &'static str, end: u64, name: String) {
        let start = self.items.last().map_or(0, |item| item.bytes.end);
        self.items.push(Item { section, bytes: start..end as usize, name, is_data: false });
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<()> {
        match payload {
            Payload::Version { num, range, .. } => {
                self.item("header", range.end, format!("magic, version {num}"));
            }
            Payload::TypeSection(types) => {
                self.entries("types", "types", types, |_, group| signature(group))?;
            }
            Payload::ImportSection(imports) => {
                self.entries("imports", "imports", imports, Self::import)?;
            }
            Payload::FunctionSection(functions) => {
                let name = |_: &mut Self, kind| format!("type {kind}");
                self.entries("functions", "functions", functions, name)?;
            }
            Payload::MemorySection(memories) => {
                let limits = |_: &mut Self, memory: MemoryType| match memory.maximum {
                    Some(most) => format!("{} page, at most {most}", memory.initial),
                    None => format!("{} page", memory.initial),
                };
                self.entries("memory", "memory", memories, limits)?;
            }
            Payload::ExportSection(exports) => {
                self.entries("exports", "exports", exports, Self::export)?;
            }
            // The number of bodies takes one byte, as long as there are fewer than 128.
            Payload::CodeSectionStart { count, unchecked_range, .. } => {
                self.item("code", unchecked_range.start + 1, format!("{count} bodies"));
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            Payload::DataSection(segments) => self.data(segments)?,
            Payload::End(_) => {}
            other => bail!("no words for this part of a module: {other:?}"),
        }
        Ok(())
    }

    /// A section's header and its entries.
    fn entries<'a, T: FromReader<'a>>(
        &mut self,
        section: &'static str,
        what: &str,
        entries: SectionLimited<'a, T>,
        name: impl Fn(&mut Self, T) -> String,
    ) -> Result<()> {
        let (count, end) = (entries.count(), entries.range().end);
        self.item(section, entries.original_position(), format!("{count} {what}"));
        self.each(section, end, entries.into_iter_with_offsets(), name)
    }

    /// An item for each entry, from its offset to that of the next one.
    fn each<T>(
        &mut self,
        section: &'static str,
        end: u64,
        entries: impl Iterator<Item = wasmparser::Result<(u64, T)>>,
        name: impl Fn(&mut Self, T) -> String,
    ) -> Result<()> {
        let mut entries = entries.peekable();
        while let Some(entry) = entries.next() {
            let next = match entries.peek() {
                Some(Ok((offset, _))) => *offset,
                _ => end,
            };
            let name = name(self, entry?.1);
            self.item(section, next, name);
        }
        Ok(())
    }

    fn import(&mut self, imports: Imports<'_>) -> String {
        let Imports::Single(_, import) = imports else { return format!("{imports:?}") };
        self.functions.push(import.name.to_owned());
        self.imported += 1;
        format!("{}.{}", import.module, import.name)
    }

    fn export(&mut self, export: Export<'_>) -> String {
        let is_next = export.index as usize == self.functions.len();
        if is_next && export.kind == ExternalKind::Func {
            self.functions.push(export.name.to_owned());
        }
        export.name.to_owned()
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<()> {
        let own = self.functions.get(self.imported + self.bodies).map_or("body", String::as_str);
        let locals = match body.get_locals_reader()?.get_count() {
            0 => format!("{own}: no locals"),
            _ => format!("{own}: locals"),
        };
        self.bodies += 1;
        let operators = body.get_operators_reader()?;
        self.item("code", operators.original_position(), locals);
        let operators = operators.into_iter_with_offsets().map(|it| it.map(|(op, at)| (at, op)));
        self.each("code", body.range().end, operators, |reader, operator| match operator {
            Operator::Call { function_index } => {
                format!("call {}", reader.functions[function_index as usize])
            }
            operator => instruction(&operator),
        })
    }

    fn data(&mut self, segments: DataSectionReader<'_>) -> Result<()> {
        let noun = if segments.count() == 1 { "segment" } else { "segments" };
        self.item("data", segments.original_position(), format!("{} {noun}", segments.count()));
        for segment in segments {
            let Data { kind, data, range } = segment?;
            let DataKind::Active { offset_expr, .. } = kind else { bail!("passive data") };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                bail!("data at a computed address")
            };
            let name = format!("{} bytes from address {value}", data.len());
            self.item("data", range.end - data.len() as u64, name);
            self.item("data", range.end, format!("{} bytes", data.len()));
            self.items.last_mut().into_iter().for_each(|item| item.is_data = true);
        }
        Ok(())
    }
}

/// `i32×5 -> i32`
fn signature(group: RecGroup) -> String {
    let list = |types: &[ValType]| match types {
        [first, .., last] if types.iter().all(|kind| kind == first) => {
            format!("{last}×{}", types.len())
        }
        _ => types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    let types = group.into_types().map(|kind| match kind.composite_type.inner {
        CompositeInnerType::Func(function) => {
            format!("{} -> {}", list(function.params()), list(function.results()))
        }
        other => format!("{other:?}"),
    });
    types.collect()
}

/// An instruction as in the text format, without the offset of an address.
fn instruction(operator: &Operator<'_>) -> String {
    match operator {
        Operator::I32Const { value } => format!("i32.const {}", number((*value).into())),
        Operator::I64Const { value } => format!("i64.const {}", number(*value)),
        Operator::LocalGet { local_index } => format!("local.get {local_index}"),
        other => {
            // `I32Eq` is `i32.eq`.
            let name = format!("{other:?}").split(' ').next().unwrap_or_default().to_lowercase();
            let typed =
                ["i32", "i64"].iter().find_map(|kind| Some((kind, name.strip_prefix(kind)?)));
            typed.map_or(name.clone(), |(kind, rest)| format!("{kind}.{rest}"))
        }
    }
}

/// Addresses and sizes in decimal, what is longer in hexadecimal.
fn number(value: i64) -> String {
    if value.abs() < 0x1_0000 { value.to_string() } else { format!("{value:#x}") }
}
