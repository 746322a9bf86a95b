//! What the bodies of a module's functions hold.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use petgraph::algo::kosaraju_scc;
use petgraph::graphmap::DiGraphMap;
use wasmparser::{FunctionBody, Operator};

use super::path::{Path, trace};

/// A function with a body.
#[derive(serde::Serialize, Debug)]
pub struct Function {
    /// Its index in the module, imported functions counted first.
    pub index: u32,
    /// The name of one of its exports.
    pub name: Option<String>,
    /// Number of `loop` instructions.
    pub loops: usize,
    /// Number of `memory.grow` instructions.
    pub grows: usize,
    /// Number of `unreachable` instructions: places that trap.
    pub traps: usize,
    /// Number of indirect calls.
    pub indirect: usize,
    /// The functions that it calls, imported ones included.
    pub calls: BTreeSet<u32>,
    /// Whether it can come to call itself.
    pub recursive: bool,
    #[serde(skip)]
    /// Its instructions, as far as their longest path goes.
    pub(super) path: Path,
}

impl Function {
    pub(super) fn read(index: u32, name: Option<String>, body: &FunctionBody<'_>) -> Result<Self> {
        let operators = body.get_operators_reader()?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let count = |wanted: fn(&Operator<'_>) -> bool| {
            operators.iter().filter(|&operator| wanted(operator)).count()
        };
        Ok(Self {
            index,
            name,
            loops: count(|o| matches!(o, Operator::Loop { .. })),
            grows: count(|o| matches!(o, Operator::MemoryGrow { .. })),
            traps: count(|o| matches!(o, Operator::Unreachable)),
            indirect: count(is_indirect),
            calls: operators.iter().filter_map(callee).collect(),
            recursive: false,
            path: trace(&operators),
        })
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "function {} ({name})", self.index),
            None => write!(f, "function {}", self.index),
        }
    }
}

/// The function that an instruction calls, if it names one.
pub(super) fn callee(operator: &Operator<'_>) -> Option<u32> {
    match operator {
        Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
            Some(*function_index)
        }
        _ => None,
    }
}

/// Whether an instruction calls whatever a table or a reference holds.
pub(super) fn is_indirect(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. }
    )
}

/// Marks each function from which direct calls lead back to itself, and puts all of them in an order
/// in which a function comes after those that it calls, unless they call it too.
pub(super) fn mark_recursion(functions: &mut [Function]) -> Vec<u32> {
    let mut graph = DiGraphMap::<u32, ()>::new();
    for function in &*functions {
        graph.add_node(function.index);
        graph.extend(function.calls.iter().map(|&callee| (function.index, callee)));
    }
    // Not Tarjan's way, which calls itself as often as the module does.
    let components = kosaraju_scc(&graph);
    let cycles = components.iter().filter(|component| component.len() > 1).flatten();
    let cycles: BTreeSet<_> = cycles.copied().collect();
    for function in functions {
        function.recursive =
            cycles.contains(&function.index) || function.calls.contains(&function.index);
    }
    components.into_iter().flatten().collect()
}
