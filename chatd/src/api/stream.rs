//! The two streams of the gRPC door: events in ([`post`]), events out ([`subscribe`]).

pub mod post;
pub mod subscribe;
