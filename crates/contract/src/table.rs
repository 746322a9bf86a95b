//! The report as a table of plain text.

use std::fmt;

use super::{Function, Properties};

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "bytes", &[format!("{} ({} after gzip -9)", self.bytes, self.gzip)])?;
        row(f, "imports", &self.imports.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())?;
        row(f, "exports", &self.exports.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())?;
        let memories = self.memories.iter().map(|(minimum, maximum)| match maximum {
            Some(maximum) => format!("{minimum} to {maximum} pages of 64 KiB"),
            None => format!("{minimum} pages of 64 KiB, no maximum"),
        });
        row(f, "memory", &memories.collect::<Vec<_>>())?;
        row(f, "data", &[format!("{} bytes", self.data)])?;
        row(f, "custom sections", &self.custom_sections)?;
        let features = match &self.beyond_mvp {
            None => "1.0 (MVP) only".to_owned(),
            Some(what) => format!("beyond 1.0: {what}"),
        };
        row(f, "WebAssembly", &[features])?;
        let globals = self.mutable_globals.len();
        let stack = match globals {
            0 => "none, so no shadow stack".to_owned(),
            _ => format!("{globals}: a shadow stack is possible"),
        };
        row(f, "mutable globals", &[stack])?;
        row(f, "tables", &nonzero(self.tables.0))?;
        let start = self.start.map(|index| format!("function {index}"));
        row(f, "start function", &start.into_iter().collect::<Vec<_>>())?;
        row(f, "functions", &[self.functions.len().to_string()])?;
        self.places(f, "memory.grow", |function| function.grows)?;
        self.places(f, "indirect calls", |function| function.indirect)?;
        self.places(f, "recursion", |function| usize::from(function.recursive))?;
        self.places(f, "loops", |function| function.loops)?;
        let paths = self.paths.iter().map(|(name, bound)| format!("{name}: {bound}"));
        row(f, "instructions, most", &paths.collect::<Vec<_>>())
    }
}

impl Properties {
    /// A row that names the functions with something, or tells how many have it if they are many.
    fn places(
        &self,
        f: &mut fmt::Formatter<'_>,
        what: &str,
        count: fn(&Function) -> usize,
    ) -> fmt::Result {
        let having: Vec<_> =
            self.functions.iter().filter(|&function| count(function) > 0).collect();
        let total: usize = having.iter().map(|&function| count(function)).sum();
        match having.len() {
            0..=4 => row(
                f,
                what,
                &having
                    .iter()
                    .map(|&function| format!("{} in {function}", count(function)))
                    .collect::<Vec<_>>(),
            ),
            functions => row(f, what, &[format!("{total} in {functions} functions")]),
        }
    }
}

fn nonzero(count: u32) -> Vec<String> {
    (count > 0).then(|| count.to_string()).into_iter().collect()
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, values: &[String]) -> fmt::Result {
    if values.is_empty() {
        return writeln!(f, "{name:<20}none");
    }
    for (i, value) in values.iter().enumerate() {
        writeln!(f, "{:<20}{value}", if i == 0 { name } else { "" })?;
    }
    Ok(())
}
