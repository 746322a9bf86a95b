//! What a host answers when the module asks for a header: the truth, or anything else.

/// `WasmResult` of the specification, as a host may return it.
pub type Status = u32;

/// The value was found and handed over.
pub const OK: Status = 0;
/// There is no such header.
pub const NOT_FOUND: Status = 1;
/// A pointer of the module's reaches outside its memory.
pub const INVALID_MEMORY_ACCESS: Status = 6;

/// An answer to `proxy_get_header_map_value`, and how it comes about, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The module's allocator is called for these sizes, in order.
    pub allocate: Vec<u32>,
    /// Then these bytes are written, in order, each to its place.
    pub write: Vec<(Place, Vec<u8>)>,
    /// Then the address of the value, where the module wants to have it.
    pub data: Option<Place>,
    /// And the size of the value.
    pub size: Option<u32>,
    /// At last this is returned, unless a write before went outside memory.
    pub status: Status,
    /// What `proxy_send_local_response` and `proxy_log` return.
    pub other_status: Status,
}

/// A host that keeps to no order: what it does while it is asked for the header, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Carried out in order, until one goes outside memory.
    pub steps: Vec<Step>,
    /// Then this is returned, unless a step went outside memory.
    pub status: Status,
    /// The module's allocator is called for these sizes while the module answers or logs.
    pub later: Vec<u32>,
    /// What `proxy_send_local_response` and `proxy_log` return.
    pub other_status: Status,
}

/// One step of a [`Script`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The module's allocator is called for this size.
    Allocate(u32),
    /// These bytes are written to that place.
    Write(Place, Vec<u8>),
    /// The address of the value is put where the module wants to have it.
    Data(Place),
    /// And the size of the value.
    Size(u32),
}

/// An address in the module's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that the allocator returned for the n-th size; null if it was not called so often.
    Allocated(usize),
    /// This one.
    At(u32),
}

impl Reply {
    /// What Envoy answers: NotFound, Ok with an empty value, or Ok with an allocated one.
    #[must_use]
    pub fn honest(value: Option<&[u8]>) -> Self {
        match value {
            None => Self { data: None, size: None, status: NOT_FOUND, ..Self::empty() },
            Some([]) => Self::empty(),
            Some(value) => Self {
                allocate: vec![u32::try_from(value.len()).unwrap_or(u32::MAX)],
                write: vec![(Place::Allocated(0), value.to_vec())],
                data: Some(Place::Allocated(0)),
                size: Some(u32::try_from(value.len()).unwrap_or(u32::MAX)),
                ..Self::empty()
            },
        }
    }

    /// Ok, with an empty value.
    fn empty() -> Self {
        Self {
            allocate: vec![],
            write: vec![],
            data: Some(Place::At(0)),
            size: Some(0),
            status: OK,
            other_status: OK,
        }
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

impl Default for Reply {
    fn default() -> Self {
        Self::honest(None)
    }
}
