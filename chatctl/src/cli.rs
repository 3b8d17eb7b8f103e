//! The command line: global options, and one variant per command.

use crate::{
    client::{ClientOptions, ClusterClient, ServerTrust, TLS_SCHEME},
    commands::{self, cluster},
    duration,
    error::Error,
    output::{CommandOutput, OutputFormat},
    profile::{Profile, ProfileStore},
    session::ClientSession,
    verify,
};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, time::Duration};

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

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Server to connect to, as host:port, or https://host:port for TLS; repeat, or separate with commas
    #[arg(
        long = "server",
        visible_alias = "servers",
        env = "QUORATE_SERVERS",
        value_delimiter = ',',
        value_name = "HOST:PORT",
        global = true
    )]
    pub servers: Vec<String>,
    /// PEM file with the authority of the servers' certificates; turns on TLS [default: the system's, for https://]
    #[arg(long, env = "QUORATE_CA_FILE", value_name = "PATH", global = true)]
    pub ca_file: Option<PathBuf>,
    /// Name expected in the servers' certificates [default: the host connected to]
    #[arg(long, env = "QUORATE_TLS_SERVER_NAME", value_name = "NAME", global = true)]
    pub tls_server_name: Option<String>,
    /// Also use the servers that the cluster itself lists
    #[arg(long, global = true)]
    pub discover: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t, global = true)]
    pub output: OutputFormat,
    /// Name of the profile that stores servers and session
    #[arg(long, env = "QUORATE_PROFILE", default_value = "default", value_name = "NAME", global = true)]
    pub profile: String,
    /// File that stores the profiles [default: ~/.config/quorate/profiles.json]
    #[arg(long, env = "QUORATE_PROFILE_FILE", value_name = "PATH", global = true)]
    pub profile_file: Option<PathBuf>,
    /// Time limit for one call with all its attempts; 0s for no limit
    #[arg(long, value_parser = duration::parse_duration, default_value = "60s", value_name = "DURATION", global = true)]
    pub timeout: Duration,
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
}

/// Environment of a command: its output and the global options.
#[derive(Debug, Clone)]
pub struct CommandContext {
    /// Standard output in the chosen output format.
    pub out: CommandOutput,
    /// Global options as they were parsed.
    pub global: GlobalOptions,
}

impl CommandContext {
    /// Creates the context of a command from the global options.
    #[must_use]
    pub fn new(global: GlobalOptions) -> Self {
        Self { out: CommandOutput::new(global.output), global }
    }

    /// Returns the profile file. Its path is resolved only when needed: `verify` and `cluster` also run where there is
    /// no home directory.
    ///
    /// # Errors
    /// Returns an error if no path is given and none can be derived from the environment.
    pub fn store(&self) -> Result<ProfileStore, Error> {
        let path = self.global.profile_file.clone().map_or_else(ProfileStore::default_path, Ok)?;
        Ok(ProfileStore::new(path))
    }

    /// Loads the chosen profile.
    pub fn profile(&self) -> Result<Profile, Error> {
        self.store()?.load(&self.global.profile)
    }

    /// Returns the options of a client of these servers: its time limit and the authorities that it trusts.
    fn options(&self, servers: &[String], profile: Option<&Profile>) -> Result<ClientOptions, Error> {
        let limit = Some(self.global.timeout).filter(|limit| !limit.is_zero());
        Ok(ClientOptions { limit, trust: self.trust(servers, profile)?, ..ClientOptions::default() })
    }

    /// Returns the authorities to trust if TLS is used, which a CA file or an `https://` address among the servers
    /// turns on; `None` means clear text. A profile that uses TLS does so with servers of the command line, too: its
    /// token must not be sent in clear text.
    ///
    /// # Errors
    /// Returns an error that names the file that cannot be used.
    pub fn trust(&self, servers: &[String], profile: Option<&Profile>) -> Result<Option<ServerTrust>, Error> {
        let kept = profile.map(|profile| profile.servers.as_slice()).unwrap_or_default();
        let file = self.global.ca_file.as_deref().or_else(|| profile?.ca_file.as_deref());
        if file.is_none() && !servers.iter().chain(kept).any(|server| server.trim().starts_with(TLS_SCHEME)) {
            return Ok(None);
        }
        let name = self.global.tls_server_name.clone().or_else(|| profile?.tls_server_name.clone());
        ServerTrust::load(file, name).map(Some)
    }

    /// Returns the servers of the command line, else of the environment, else of the profile.
    ///
    /// # Errors
    /// [`Error::NoServers`] if none of them names a server.
    pub fn servers(&self) -> Result<Vec<String>, Error> {
        if self.global.servers.is_empty() {
            require_servers(&self.profile()?.servers)
        } else {
            require_servers(&self.global.servers)
        }
    }

    /// Returns the authorities as [`Self::trust`] does, with the profile's authority if the servers are the profile's.
    pub fn trust_of_servers(&self, servers: &[String]) -> Result<Option<ServerTrust>, Error> {
        self.trust(servers, self.profile_with_servers()?.as_ref())
    }

    /// Returns the profile if the servers are taken from it.
    fn profile_with_servers(&self) -> Result<Option<Profile>, Error> {
        if self.global.servers.is_empty() { self.profile().map(Some) } else { Ok(None) }
    }

    /// Creates a client without a session.
    ///
    /// # Errors
    /// [`Error::NoServers`], or a usage error that names an invalid address.
    pub fn client(&self) -> Result<ClusterClient, Error> {
        self.client_of(self.profile_with_servers()?.as_ref())
    }

    fn client_of(&self, profile: Option<&Profile>) -> Result<ClusterClient, Error> {
        let servers = self.servers()?;
        let options = self.options(&servers, profile)?;
        ClusterClient::new(&servers, options).map_err(|e| Error::Usage(e.to_string()))
    }

    /// Restores the session that is stored in the profile.
    ///
    /// # Errors
    /// [`Error::NoSession`] if nobody is signed in.
    pub async fn session(&self) -> Result<ClientSession, Error> {
        let profile = self.profile()?;
        let none = || Error::NoSession { profile: self.global.profile.clone() };
        let token = profile.token.as_deref().ok_or_else(none)?;
        let session = ClientSession::new(self.client_of(Some(&profile))?, token).ok_or_else(none)?;
        if self.global.discover {
            session.learn_servers().await?;
        }
        Ok(session)
    }
}

fn require_servers(named: &[String]) -> Result<Vec<String>, Error> {
    let servers: Vec<String> = named.iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    if servers.is_empty() { Err(Error::NoServers) } else { Ok(servers) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::certificates;
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
    fn tls_is_spoken_with_all_servers_or_with_none() {
        let directory = tempfile::tempdir().unwrap();
        certificates::make_missing(directory.path(), "c", &["a".into()], false).unwrap();
        let ca = directory.path().join("ca.crt");
        let context = |arguments: &[&str]| {
            let cli = CommandLine::try_parse_from([&["chatctl"], arguments, &["whoami"]].concat()).unwrap();
            CommandContext::new(cli.global)
        };
        let addresses = |context: &CommandContext, profile: Option<&Profile>| -> Vec<String> {
            let client = context.client_of(profile).unwrap();
            client.servers().all().iter().map(|slot| slot.address().to_owned()).collect()
        };
        let ca_file = ca.to_str().unwrap();
        let plain = context(&["--server", "a:1,b:1"]);
        assert_eq!(addresses(&plain, None), ["a:1", "b:1"]);
        let with_file = context(&["--server", "a:1,b:1", "--ca-file", ca_file]);
        assert_eq!(addresses(&with_file, None), ["https://a:1", "https://b:1"]);
        // A token that was issued over TLS is not sent in clear text.
        let profile = Profile { servers: vec!["https://c:1".into()], ca_file: Some(ca.clone()), ..Profile::default() };
        assert_eq!(addresses(&plain, Some(&profile)), ["https://a:1", "https://b:1"]);
        let servers = with_file.client_of(None).unwrap();
        assert!(!servers.servers().learn("b:1") && servers.servers().learn("c:1"));
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
