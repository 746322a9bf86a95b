//! How the host answers when the module asks for a header: honestly, or in any other way.

/// `WasmResult` of the specification, as a host may return it.
pub type Status = u32;

/// The value was found and handed over.
pub const OK: Status = 0;
/// There is no such header.
pub const NOT_FOUND: Status = 1;
/// An address is outside the module's memory.
pub const INVALID_MEMORY_ACCESS: Status = 6;

/// An answer to `proxy_get_header_map_value`, in the order in which a host gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Calls the module's allocator for each of these sizes.
    pub allocate: Vec<u32>,
    /// Writes each of these to its place.
    pub write: Vec<(Place, Vec<u8>)>,
    /// Returns this address as the value's.
    pub data: Option<Place>,
    /// Returns this size as the value's.
    pub size: Option<u32>,
    /// Returns this status, unless a write was outside memory.
    pub status: Status,
    /// What `proxy_send_local_response` and `proxy_log` return.
    pub other_status: Status,
}

/// An answer in any order of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Carried out in order, until one writes outside memory.
    pub steps: Vec<Step>,
    /// What is returned, unless a step wrote outside memory.
    pub status: Status,
    /// Calls the allocator for these sizes while the module sends its response or logs.
    pub later: Vec<u32>,
    /// What `proxy_send_local_response` and `proxy_log` return.
    pub other_status: Status,
}

/// One step of a [`Script`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Calls the module's allocator for this size.
    Allocate(u32),
    /// Writes these bytes there.
    Write(Place, Vec<u8>),
    /// Returns this address as the value's.
    Data(Place),
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
        match value {
            None => Self::default(),
            Some([]) => Self { data: Some(Place::At(0)), size: Some(0), ..Self::ok() },
            Some(value) => Self {
                allocate: vec![u32::try_from(value.len()).unwrap_or(u32::MAX)],
                write: vec![(Place::Allocated(0), value.to_vec())],
                data: Some(Place::Allocated(0)),
                size: Some(u32::try_from(value.len()).unwrap_or(u32::MAX)),
                ..Self::ok()
            },
        }
    }

    fn ok() -> Self {
        Self { status: OK, ..Self::default() }
    }
}

impl From<Reply> for Script {
    fn from(reply: Reply) -> Self {
        let Reply { allocate, write, data, size, status, other_status } = reply;
        let steps = allocate.into_iter().map(Step::Allocate);
        let steps = steps.chain(write.into_iter().map(|(place, bytes)| Step::Write(place, bytes)));
        let steps = steps.chain(data.map(Step::Data)).chain(size.map(Step::Size)).collect();
        Self { steps, status, later: vec![], other_status }
    }
}

/// NotFound.
impl Default for Reply {
    fn default() -> Self {
        let (allocate, write) = (vec![], vec![]);
        Self { allocate, write, data: None, size: None, status: NOT_FOUND, other_status: OK }
    }
}
