//! Memory that begins at a line of the cache.

/// Values in a line.
const LINE: usize = 64 / size_of::<f32>();

/// Values that begin at a line of the cache: rows of whole vectors then are whole lines,
/// which are loaded at once, and which no two threads write to.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    /// With room to begin later.
    memory: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// So many zeros.
    pub(crate) fn new(len: usize) -> Self {
        let memory = vec![0.0; len + LINE];
        let start = memory.as_ptr().align_offset(64).min(LINE);
        Self { memory, start }
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.memory[self.start..]
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..]
    }
}
