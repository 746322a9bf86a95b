//! What the bodies of a module's functions contain.

use std::collections::BTreeSet;
use std::fmt;

use petgraph::algo::kosaraju_scc;
use petgraph::graphmap::DiGraphMap;
use serde::Serialize;
use wasmparser::Operator;

/// A function with a body.
#[derive(Debug, Default, Serialize)]
pub struct Function {
    /// Its index in the module; imported functions are counted first.
    pub index: u32,
    /// The names under which it is exported.
    pub exports: Vec<String>,
    /// Number of `loop` instructions.
    pub loops: usize,
    /// Number of `memory.grow` instructions.
    pub grows: usize,
    /// Number of calls through a table or a reference.
    pub indirect_calls: usize,
    /// The functions that it calls directly, imported ones included.
    pub calls: BTreeSet<u32>,
    /// Whether direct calls lead from it back to itself.
    pub recursive: bool,
}

impl Function {
    pub(crate) fn new(index: u32, exports: Vec<String>, body: &[Operator<'_>]) -> Self {
        let mut function = Self { index, exports, ..Self::default() };
        for operator in body {
            match operator {
                Operator::Loop { .. } => function.loops += 1,
                Operator::MemoryGrow { .. } => function.grows += 1,
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    function.calls.insert(*function_index);
                }
                Operator::CallIndirect { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::CallRef { .. }
                | Operator::ReturnCallRef { .. } => function.indirect_calls += 1,
                _ => {}
            }
        }
        function
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.index)?;
        if self.exports.is_empty() { Ok(()) } else { write!(f, " ({})", self.exports.join(", ")) }
    }
}

/// Sets [`Function::recursive`].
pub(crate) fn mark_recursion(functions: &mut [Function]) {
    let mut graph = DiGraphMap::<u32, ()>::new();
    for function in &*functions {
        graph.add_node(function.index);
        graph.extend(function.calls.iter().map(|&callee| (function.index, callee)));
    }
    // Kosaraju's algorithm: petgraph's version of Tarjan's recurses as deep as the module's calls.
    let components = kosaraju_scc(&graph);
    let cycles = components.iter().filter(|component| component.len() > 1).flatten();
    let cycles: BTreeSet<_> = cycles.copied().collect();
    for function in functions {
        function.recursive =
            cycles.contains(&function.index) || function.calls.contains(&function.index);
    }
}
