//! The command line: global options, and one variant per command.

use crate::{
    commands::{self, admin, cluster},
    global_options::GlobalOptions,
    verify,
};
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  chatctl --server chat.example.org:7400 register alice
  chatctl create ops --public
  chatctl send '#ops' 'hello'
  chatctl tail '#ops'
  chatctl --server https://chat.example.org:7400 --ca-file ca.crt login alice
  chatctl --server a:7400,b:7400,c:7400 verify --duration 60s

Exit codes:
  0 success   1 internal error   2 usage error   3 refused   4 no session   5 unavailable   6 outcome unknown
  7 local file error   10 verify found a violation   11 verify was inconclusive";

/// Chat on a Quorate cluster, monitor it, verify its guarantees, and administer it.
#[derive(Debug, Parser)]
#[command(name = "chatctl", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct CommandLine {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// Command to run, with its arguments.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// Commands of the program, one variant each.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum CliCommand {
    /// Create an account and sign in
    Register(commands::register::RegisterArgs),
    /// Sign in to an account
    Login(commands::login::LoginArgs),
    /// End the session of the profile
    Logout(commands::logout::LogoutArgs),
    /// Show who is signed in
    Whoami(commands::whoami::WhoamiArgs),
    /// List your rooms, optionally with public ones
    Rooms(commands::rooms::RoomsArgs),
    /// Create a room and print its id
    Create(commands::create::CreateArgs),
    /// Join a room, or accept an invitation
    Join(commands::join::JoinArgs),
    /// Invite a user to a room
    Invite(commands::invite::InviteArgs),
    /// Leave a room, or reject an invitation
    Leave(commands::leave::LeaveArgs),
    /// Send a message, or each line of standard input
    Send(commands::send::SendArgs),
    /// Print messages as they arrive, across the loss of any server
    Tail(commands::tail::TailArgs),
    /// Print the history of a room
    History(commands::history::HistoryArgs),
    /// List the members of a room
    Members(commands::members::MembersArgs),
    /// List the servers of the cluster
    Servers(commands::servers::ServersArgs),
    /// Write and read under load, and check that nothing is lost, duplicated or out of order
    Verify(verify::options::VerifyArgs),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Set up and run a cluster (admin API on the peer port, mutual TLS)
    Cluster(cluster::ClusterArgs),
    /// Administer the chat: accounts, registration, reports, rooms, notices (admin API on the peer port, mutual TLS)
    Admin(admin::AdminArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputFormat;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn servers_are_repeated_or_separated_by_commas_before_or_after_the_command() {
        let cli =
            CommandLine::try_parse_from(["chatctl", "whoami", "--server", "a:1,b:2", "--servers", "c:3"]).unwrap();
        assert_eq!(cli.global.servers, ["a:1", "b:2", "c:3"]);
        let cli = CommandLine::try_parse_from(["chatctl", "--server", "a:1", "--output", "json", "rooms"]).unwrap();
        assert_eq!((cli.global.servers, cli.global.output), (vec!["a:1".to_owned()], OutputFormat::Json));
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let shown = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(shown.contains("Examples:") && shown.contains("chatctl "), "{}", sub.get_name());
                assert!(!shown.contains("--password "), "{}", sub.get_name());
                check(sub);
            }
        }
        check(&CommandLine::command());
    }
}
