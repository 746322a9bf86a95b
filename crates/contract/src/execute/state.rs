//! What is known at a point of an execution.

use crate::interval::{Interval, Relation, Width};

/// A comparison of two numbers, each of which may be that of a local.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub relation: Relation,
    pub sides: [(Option<u32>, Interval); 2],
}

/// A number on the stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub interval: Interval,
    /// The local that has the same number.
    pub local: Option<u32>,
    /// A local, and by how much the number is less than its number (modulo 2^32).
    pub behind: Option<(u32, u64)>,
    pub conditions: Option<Box<Conditions>>,
}

/// What holds if a number is not 0, and if it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    pub if_true: Vec<Condition>,
    pub if_false: Vec<Condition>,
}

impl From<Interval> for Value {
    fn from(interval: Interval) -> Self {
        Self { interval, local: None, behind: None, conditions: None }
    }
}

impl Value {
    /// A number about which this is known.
    pub fn new(interval: Interval, if_true: Vec<Condition>, if_false: Vec<Condition>) -> Self {
        let known = !(if_true.is_empty() && if_false.is_empty());
        let conditions = known.then(|| Box::new(Conditions { if_true, if_false }));
        Self { conditions, ..interval.into() }
    }

    pub fn conditions(&mut self) -> Conditions {
        self.conditions.take().map_or_else(Conditions::default, |conditions| *conditions)
    }
}

/// A point of the execution of one function.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub locals: Vec<Interval>,
    pub stack: Vec<Value>,
    /// Instructions so far, on the longest path.
    pub count: u64,
    /// The imported functions that every path has called, a bit for each of the first 64.
    pub called: u64,
}

impl State {
    pub fn size(&self) -> u64 {
        (self.locals.len() + self.stack.len()) as u64
    }

    pub fn pop(&mut self) -> Value {
        self.stack.pop().map_or(Width::W64.any().into(), |mut value| {
            if let Some(local) = value.local {
                let known = value.interval.meet(self.locals[local as usize]);
                value.interval = known.unwrap_or(value.interval);
            }
            value
        })
    }

    pub fn push(&mut self, value: impl Into<Value>) {
        self.stack.push(value.into());
    }

    /// Sets a local: what was known of its former number is forgotten.
    pub fn set(&mut self, local: u32, value: &mut Value) {
        let now = self.locals[local as usize];
        for other in self.stack.iter_mut().chain([&mut *value]) {
            if other.local == Some(local) {
                other.local = None;
                other.interval = other.interval.meet(now).unwrap_or(other.interval);
            }
            other.behind = other.behind.filter(|(behind, _)| *behind != local);
            let keeps = |c: &Condition| c.sides.iter().all(|(side, _)| *side != Some(local));
            if let Some(conditions) = &mut other.conditions {
                conditions.if_true.retain(keeps);
                conditions.if_false.retain(keeps);
            }
        }
        self.locals[local as usize] = value.interval;
    }

    /// The state if all of this holds; none if it cannot.
    pub fn assume(mut self, conditions: &[Condition], own: &Condition) -> Option<Self> {
        for Condition { relation, sides } in conditions.iter().chain([own]) {
            let now = |(local, interval): (Option<u32>, Interval)| match local {
                Some(local) => interval.meet(self.locals[local as usize]),
                None => Some(interval),
            };
            let (a, b) = now(sides[0])?.narrow(*relation, now(sides[1])?)?;
            for ((local, _), narrowed) in sides.iter().zip([a, b]) {
                if let Some(local) = local {
                    self.locals[*local as usize] = narrowed;
                }
            }
        }
        Some(self)
    }

    /// The state if a value of the stack is `number`; none if it cannot be.
    pub fn selected(&self, value: &Value, number: u64) -> Option<Self> {
        let mut state = self.clone();
        value.interval.meet(Interval::point(number))?;
        if let Some((local, less)) = value.behind.or(value.local.map(|local| (local, 0))) {
            let local = &mut state.locals[local as usize];
            *local = local.meet(Interval::point((number + less) & Width::W32.mask()))?;
        }
        Some(state)
    }

    /// What is left of a value in this state.
    pub fn narrowed(&self, value: &Value) -> Value {
        let local = value.local.and_then(|local| value.interval.meet(self.locals[local as usize]));
        Value::from(local.unwrap_or(value.interval))
    }

    /// The stack as a jump leaves it: `height` values below `arity` results.
    pub fn unwound(mut self, height: usize, arity: usize) -> Self {
        let results = self.stack.split_off(self.stack.len().saturating_sub(arity));
        self.stack.truncate(height);
        self.stack.extend(results);
        self
    }

    pub fn join(mut self, other: &Self) -> Self {
        for (own, other) in self.locals.iter_mut().zip(&other.locals) {
            *own = own.join(*other);
        }
        for (own, other) in self.stack.iter_mut().zip(&other.stack) {
            if own != other {
                *own = Value {
                    local: own.local.filter(|local| other.local == Some(*local)),
                    ..own.interval.join(other.interval).into()
                };
            }
        }
        self.count = self.count.max(other.count);
        self.called &= other.called;
        self
    }
}

pub fn joined(a: Option<State>, b: Option<State>) -> Option<State> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.join(&b)),
        (a, b) => a.or(b),
    }
}
