//! Which rules concern a device and name, remembered, so that a sample costs
//! what its own rules cost.

use std::collections::HashMap;

/// A device and a sample's name, known to the engine that gave this out; see
/// [`Engine::subject`](crate::Engine::subject).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubjectId {
    generation: u32,
    pub(crate) index: u32,
}

/// The place of a state that is not there yet.
pub(crate) const NO_STATE: u32 = u32::MAX;

/// A rule that concerns a subject, with the place of its state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) rule: u32,
    pub(crate) state: u32,
}

#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) device: Box<str>,
    pub(crate) name: Box<str>,
    /// The rules' epoch at which the entries were looked up.
    pub(crate) epoch: u64,
    /// In the order of the rules' keys.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Default)]
pub(crate) struct Subjects {
    generation: u32,
    /// By device and name, with a NUL in between, which neither can hold.
    by_name: HashMap<Box<str>, u32>,
    pub(crate) list: Vec<Subject>,
    /// So that a look-up need not allocate.
    scratch: String,
}

impl Subjects {
    /// The subject of this device and name, made if need be; its entries may be out of date.
    pub(crate) fn find(&mut self, device: &str, name: &str, most: usize) -> SubjectId {
        self.scratch.clear();
        self.scratch.push_str(device);
        self.scratch.push('\0');
        self.scratch.push_str(name);
        if let Some(&index) = self.by_name.get(self.scratch.as_str()) {
            return self.id(index);
        }
        let most = most.clamp(1, NO_STATE as usize);
        if self.list.len() >= most {
            self.list.clear();
            self.by_name.clear();
            self.generation = self.generation.wrapping_add(1);
        }
        let index = u32::try_from(self.list.len()).unwrap_or(NO_STATE);
        self.list.push(Subject {
            device: device.into(),
            name: name.into(),
            epoch: u64::MAX,
            entries: Vec::new(),
        });
        self.by_name.insert(self.scratch.as_str().into(), index);
        self.id(index)
    }

    /// Whether the id is still what it was when it was given out.
    pub(crate) fn is_known(&self, id: SubjectId) -> bool {
        id.generation == self.generation && (id.index as usize) < self.list.len()
    }

    const fn id(&self, index: u32) -> SubjectId {
        SubjectId {
            generation: self.generation,
            index,
        }
    }
}
