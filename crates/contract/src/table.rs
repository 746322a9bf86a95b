//! The properties as a table of plain text.

use std::fmt::{Display, Formatter, Result};

use crate::functions::Function;
use crate::module::Properties;

/// The functions whose most instructions are shown; the JSON form has all that are exported.
const SHOWN: [&str; 3] = ["malloc", "proxy_on_request_headers", "proxy_on_vm_start"];

impl Display for Properties {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        row(f, "bytes", [format!("{} ({} after gzip -9)", self.bytes, self.gzip)])?;
        row(f, "imports", self.imports.iter().map(|item| &item.name))?;
        row(f, "exports", self.exports.iter().map(|item| &item.name))?;
        row(f, "memory", &self.memories)?;
        row(f, "data", [format!("{} bytes", self.data)])?;
        row(f, "custom sections", &self.custom_sections)?;
        let features = match &self.beyond_mvp {
            None => "1.0 (MVP) only".to_owned(),
            Some(what) => format!("beyond 1.0: {what}"),
        };
        row(f, "WebAssembly", [features])?;
        let stack = match self.mutable_globals.len() {
            0 => "none, so no shadow stack".to_owned(),
            globals => format!("{globals}: a shadow stack is possible"),
        };
        row(f, "mutable globals", [stack])?;
        row(f, "tables", (self.tables > 0).then_some(self.tables))?;
        row(f, "start function", self.start.map(|index| format!("function {index}")))?;
        row(f, "functions", [self.functions.len()])?;
        self.count(f, "memory.grow", |function| function.grows)?;
        self.count(f, "indirect calls", |function| function.indirect_calls)?;
        self.count(f, "recursion", |function| usize::from(function.recursive))?;
        self.count(f, "loops", |function| function.loops)?;
        let shown = self.paths.iter().filter(|(name, _)| SHOWN.contains(&name.as_str()));
        row(f, "most instructions", shown.map(|(name, bound)| format!("{name}: {bound}")))?;
        row(f, "possible traps", &self.traps)
    }
}

impl Properties {
    /// A row that lists how many of something each function has, or the total if that are many.
    fn count(&self, f: &mut Formatter<'_>, what: &str, count: fn(&Function) -> usize) -> Result {
        let counts = self.functions.iter().map(|function| (count(function), function));
        let counts: Vec<_> = counts.filter(|(count, _)| *count > 0).collect();
        if counts.len() > 4 {
            let total: usize = counts.iter().map(|(count, _)| count).sum();
            return row(f, what, [format!("{total} in {} functions", counts.len())]);
        }
        row(f, what, counts.iter().map(|(count, function)| format!("{count} in {function}")))
    }
}

/// A name and its values, one a line.
fn row<T: Display>(
    f: &mut Formatter<'_>,
    name: &str,
    values: impl IntoIterator<Item = T>,
) -> Result {
    let mut name = Some(name);
    for value in values {
        writeln!(f, "{:<20}{value}", name.take().unwrap_or_default())?;
    }
    name.map_or(Ok(()), |name| writeln!(f, "{name:<20}none"))
}
