//! Initial state of a new room: each piece of state becomes one event, as everybody sees all of them.

use crate::proto::log;
use crate::rows::event_type;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Initial state that becomes events.
pub(super) struct InitialState<'c> {
    pub(super) events: Vec<&'c log::StateInput>,
}

impl<'c> InitialState<'c> {
    /// Chooses, of several events for one piece of state, the last one; and none for a name or topic that the command
    /// itself sets.
    pub(super) fn of(command: &'c log::CreateRoom) -> Self {
        let mut events = Vec::<&log::StateInput>::with_capacity(command.initial_state.len());
        let is_set = |input: &log::StateInput| {
            let named = input.r#type == event_type::NAME && !command.name.is_empty();
            let described = input.r#type == event_type::TOPIC && !command.topic.is_empty();
            (named || described) && input.state_key.is_empty()
        };
        let mut places = BTreeMap::new();
        for input in command.initial_state.iter().filter(|input| !is_set(input)) {
            match places.entry((input.r#type.as_str(), input.state_key.as_str())) {
                Entry::Vacant(place) => {
                    place.insert(events.len());
                    events.push(input);
                }
                Entry::Occupied(place) => {
                    if let Some(earlier) = events.get_mut(*place.get()) {
                        *earlier = input;
                    }
                }
            }
        }
        Self { events }
    }

    /// Returns the event of this type with an empty state key.
    pub(super) fn get(&self, event_type: &str) -> Option<&'c log::StateInput> {
        self.events.iter().copied().find(|input| input.r#type == event_type && input.state_key.is_empty())
    }
}
