//! Lives of pods: the changes of each in their order, and whether the pod is still heard.

use super::record::{EphemeralKey, LifeId};
use std::collections::BTreeMap;

/// State of one life, as this pod knows it.
#[derive(Clone, Debug)]
pub(super) struct PodLife {
    /// Time at which the pod was last heard; `None` for this pod itself.
    pub(super) heard_ms: Option<u64>,
    /// Time at which the pod was given up; `None` while it lives.
    pub(super) buried_ms: Option<u64>,
    /// Number of the last change of which all before it are known here.
    pub(super) through: u64,
    /// Number of the last change that clients may be told of.
    pub(super) published: u64,
    /// Keys whose last visible change is of this life, by its number: each key once.
    pub(super) changes: BTreeMap<u64, EphemeralKey>,
    /// Number of the last change that stopped somebody typing and is forgotten.
    pub(super) forgotten: u64,
}

impl PodLife {
    pub(super) fn new(heard_ms: Option<u64>) -> Self {
        Self { heard_ms, buried_ms: None, through: 0, published: 0, changes: BTreeMap::new(), forgotten: 0 }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.buried_ms.is_none()
    }
}

/// All lives of which something is known.
pub(super) type LivesById = BTreeMap<LifeId, PodLife>;
