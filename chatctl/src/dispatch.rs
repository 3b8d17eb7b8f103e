//! Choice of the code that a command of the command line runs.

use crate::{
    cli::{CliCommand, CommandLine},
    commands::{
        admin, cluster, completions, create, history, invite, join, leave, login, logout, members, register, rooms,
        send, servers, tail, whoami,
    },
    context::CommandContext,
    error::Error,
    verify,
};
use clap::CommandFactory as _;
use std::io;

/// Runs the command of a command line to its end, on an async runtime of its own, and returns how it ended. The error
/// says why it did not do what was asked; [`Error::exit_code`] is the exit code of the process.
///
/// Not async, because each crate that polls an async function compiles it, and all that it calls, once more.
///
/// # Errors
/// Returns why the runtime could not start.
pub fn run_to_end(cli: CommandLine) -> io::Result<Result<(), Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(run_command(cli.command, CommandContext::new(cli.global)));
    // A thread blocked on a line of standard input must not delay the exit.
    runtime.shutdown_background();
    Ok(ended)
}

async fn run_command(command: CliCommand, context: CommandContext) -> Result<(), Error> {
    // Boxed, because otherwise every command's future would be as large as the largest.
    match command {
        CliCommand::Register(command) => Box::pin(register::run_register(command, &context)).await,
        CliCommand::Login(command) => Box::pin(login::run_login(command, &context)).await,
        CliCommand::Logout(command) => Box::pin(logout::run_logout(command, &context)).await,
        CliCommand::Whoami(command) => Box::pin(whoami::run_whoami(command, &context)).await,
        CliCommand::Rooms(command) => Box::pin(rooms::run_rooms(command, &context)).await,
        CliCommand::Create(command) => Box::pin(create::run_create(command, &context)).await,
        CliCommand::Join(command) => Box::pin(join::run_join(command, &context)).await,
        CliCommand::Invite(command) => Box::pin(invite::run_invite(command, &context)).await,
        CliCommand::Leave(command) => Box::pin(leave::run_leave(command, &context)).await,
        CliCommand::Send(command) => Box::pin(send::run_send(command, &context)).await,
        CliCommand::Tail(command) => Box::pin(tail::run_tail(command, &context)).await,
        CliCommand::History(command) => Box::pin(history::run_history(command, &context)).await,
        CliCommand::Members(command) => Box::pin(members::run_members(command, &context)).await,
        CliCommand::Servers(command) => Box::pin(servers::run_servers(command, &context)).await,
        CliCommand::Verify(command) => Box::pin(verify::run_verify(command, &context)).await,
        CliCommand::Completions(command) => {
            completions::run_completions(&command, &mut CommandLine::command(), &context)
        }
        CliCommand::Cluster(command) => Box::pin(cluster::run_cluster(command, &context)).await,
        CliCommand::Admin(command) => Box::pin(admin::run_admin(command, &context)).await,
    }
}
