//! The two streams of the gRPC API: events in ([`post`]), events out ([`subscribe`]).

pub mod post;
pub mod subscribe;
