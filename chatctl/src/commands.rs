//! Commands of the program, one file each: arguments, action and output.

pub mod admin;
pub mod cluster;
pub mod completions;
pub mod create;
pub mod event;
pub mod history;
pub mod invite;
pub mod join;
pub mod leave;
pub mod login;
pub mod logout;
pub mod members;
pub mod register;
pub mod room;
pub mod rooms;
pub mod send;
pub mod servers;
pub mod tail;
pub mod time;
pub mod whoami;
