//! How the host answers when the module asks for a header: honestly, or in any other way.

/// `WasmResult` of the specification, as a host may return it.
pub type Status = u32;

/// The value was found and handed over.
pub const OK: Status = 0;
/// There is no such header.
pub const NOT_FOUND: Status = 1;
/// There is no such context.
pub const BAD_ARGUMENT: Status = 2;
/// An address is outside the module's memory.
pub const INVALID_MEMORY_ACCESS: Status = 6;

/// An answer to `proxy_get_header_map_value`. The default one is Ok without a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Carried out in order, until one writes outside memory.
    pub steps: Vec<Step>,
    /// What is returned, unless a step wrote outside memory.
    pub status: Status,
    /// Calls the allocator for these sizes while the module calls another function.
    pub later: Vec<u32>,
    /// What the other functions return.
    pub other_status: Status,
}

/// One step of a [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Calls the module's allocator for this size.
    Allocate(u32),
    /// Writes these bytes there.
    Write(Place, Vec<u8>),
    /// Returns this address as the value's.
    Data(Place),
    /// Calls a callback of the module.
    Call(&'static str, Vec<u32>),
    /// Returns this size as the value's.
    Size(u32),
}

/// An address in the module's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What the allocator returned for the n-th size; null if it was not called that often.
    Allocated(usize),
    /// A fixed address.
    At(u32),
}

impl Reply {
    /// The answer of Envoy: NotFound, Ok with an empty value, or Ok with an allocated one.
    #[must_use]
    pub fn honest(value: Option<&[u8]>) -> Self {
        let place = Place::Allocated(0);
        match value {
            None => Self { status: NOT_FOUND, ..Self::default() },
            Some([]) => Self::ok([Step::Data(place), Step::Size(0)]),
            Some(value) => {
                let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
                let write = Step::Write(place, value.to_vec());
                Self::ok([Step::Allocate(size), write, Step::Data(place), Step::Size(size)])
            }
        }
    }

    /// Ok after these steps.
    #[must_use]
    pub fn ok(steps: impl Into<Vec<Step>>) -> Self {
        Self { steps: steps.into(), ..Self::default() }
    }

    /// The same reply with another step behind the others.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
