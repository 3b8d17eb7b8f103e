//! Load: how posts, rooms, idle subscribers and outages are made and timed, whatever the system.

pub(crate) mod burner;
pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod failover;
pub(crate) mod flight;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod members;
pub(crate) mod pacer;
pub(crate) mod post;
pub(crate) mod room;
pub(crate) mod tasks;
