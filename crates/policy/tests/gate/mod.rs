//! A gate that is configured: its store, used as the front uses it.

use header_gate_config::{Store, Text};
use header_gate_decision::write_image;

/// The root context of most tests.
pub const ROOT: u32 = 7;

/// A store with policies.
pub struct Gate(pub Box<Store>);

impl Gate {
    pub fn new() -> Self {
        Self(Box::new(Store::new()))
    }

    /// Configures a root context; an error is the line for the log.
    pub fn configure(&mut self, root: u32, configuration: &[u8]) -> Result<(), String> {
        let Self(store) = self;
        // As the front does it. What an earlier one left is not read.
        let free = store.free() as usize;
        store.bytes[free..].fill(0);
        if store.begin(configuration.len() as u32) {
            let start = store.start() as usize;
            store.bytes[start..start + configuration.len()].copy_from_slice(configuration);
        }
        if store.take(root) {
            return Ok(());
        }
        let size = store.write_refusal() as usize;
        Err(str::from_utf8(&store.text[..size]).unwrap().to_owned())
    }

    pub fn take(&mut self, configuration: &str) -> Result<(), String> {
        self.configure(ROOT, configuration.as_bytes())
    }

    /// Bytes of a text of the policy at `base`.
    pub fn bytes(&self, base: u32, text: Text) -> &[u8] {
        let start = (base + text.at()) as usize;
        &self.0.policies()[start..start + text.size() as usize]
    }

    pub fn text(&self, root: u32, text: u32) -> &[u8] {
        let base = self.0.base(root);
        self.bytes(base, self.0.text_of(base, text))
    }

    /// The client with this value, as a request finds it.
    pub fn find(&mut self, root: u32, value: &[u8]) -> Option<Vec<u8>> {
        let base = self.0.base(root);
        let size = u32::try_from(value.len()).unwrap();
        if !self.0.accepts_size(base, size) {
            return None;
        }
        self.0.image.fill(0);
        let words = self.0.image_size(base) as usize / 8;
        write_image(&mut self.0.image[..words], value);
        self.0.make_key(base, size);
        let slot = self.0.find(base);
        (slot != 0).then(|| self.bytes(base, self.0.id(base, slot)).to_vec())
    }
}
