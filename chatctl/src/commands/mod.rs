//! Commands of the program, one file each: arguments, action and output.

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

use crate::{
    cli::{Command, Context},
    error::Error,
    verify,
};

/// Runs one command to its end.
///
/// # Errors
/// Returns the reason why it did not do what was asked; [`Error::exit_code`] is the exit code of the process.
pub async fn run(command: Command, context: Context) -> Result<(), Error> {
    // Boxed, because otherwise every command's future would be as large as the largest.
    match command {
        Command::Register(command) => Box::pin(register::run(command, &context)).await,
        Command::Login(command) => Box::pin(login::run(command, &context)).await,
        Command::Logout(command) => Box::pin(logout::run(command, &context)).await,
        Command::Whoami(command) => Box::pin(whoami::run(command, &context)).await,
        Command::Rooms(command) => Box::pin(rooms::run(command, &context)).await,
        Command::Create(command) => Box::pin(create::run(command, &context)).await,
        Command::Join(command) => Box::pin(join::run(command, &context)).await,
        Command::Invite(command) => Box::pin(invite::run(command, &context)).await,
        Command::Leave(command) => Box::pin(leave::run(command, &context)).await,
        Command::Send(command) => Box::pin(send::run(command, &context)).await,
        Command::Tail(command) => Box::pin(tail::run(command, &context)).await,
        Command::History(command) => Box::pin(history::run(command, &context)).await,
        Command::Members(command) => Box::pin(members::run(command, &context)).await,
        Command::Servers(command) => Box::pin(servers::run(command, &context)).await,
        Command::Verify(command) => Box::pin(verify::run(command, &context)).await,
        Command::Completions(command) => completions::run(&command, &context),
        Command::Cluster(command) => Box::pin(cluster::run(command, &context)).await,
    }
}
