//! Field in which a sync tells the state of rooms: that before their timelines, or that after them (MSC4222).

use super::super::with_query::WithQuery;
use ruma::api::client::sync::sync_events::v3 as api;

/// Name of the argument from before it was part of the specification, which ruma's type does not know.
const UNSTABLE_ARGUMENT: &str = "org.matrix.msc4222.use_state_after";

/// Field of a room's news that has its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateField {
    Before,
    After,
    /// The same as `After`, under the name that goes with the unstable argument.
    UnstableAfter,
}

impl StateField {
    /// Returns the field that a request asks for.
    pub(super) fn of(call: &WithQuery<api::Request>) -> Self {
        if call.request.use_state_after {
            Self::After
        } else if call.argument(UNSTABLE_ARGUMENT).as_deref() == Some("true") {
            Self::UnstableAfter
        } else {
            Self::Before
        }
    }

    /// Returns `true` if the client wants the state after timelines.
    pub(super) fn is_after(self) -> bool {
        self != Self::Before
    }

    /// Returns the field's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Before => "state",
            Self::After => "state_after",
            Self::UnstableAfter => "org.matrix.msc4222.state_after",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruma::api::IncomingRequest as _;

    #[test]
    fn the_field_is_the_one_that_goes_with_the_argument() {
        for (query, expected) in [
            ("", "state"),
            ("?use_state_after=false", "state"),
            ("?use_state_after=true", "state_after"),
            ("?org.matrix.msc4222.use_state_after=true", "org.matrix.msc4222.state_after"),
            ("?org.matrix.msc4222.use_state_after=false", "state"),
            ("?org.matrix.msc4222.use_state_after=true&use_state_after=true", "state_after"),
        ] {
            let request = http::Request::get(format!("https://a.org/_matrix/client/v3/sync{query}"));
            let request = request.body(b"".as_slice()).unwrap();
            let call = WithQuery::<api::Request>::try_from_http_request_inner(request, &[]).unwrap();
            let field = StateField::of(&call);
            assert_eq!((field.name(), field.is_after()), (expected, expected != "state"), "{query}");
        }
    }
}
