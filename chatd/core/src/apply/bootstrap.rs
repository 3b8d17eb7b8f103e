//! First command in the life of a cluster. Applied twice with the same names, it gives the same answer.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::id::{self, Position};
use crate::proto::log::{self, Reason, outcome};

/// Maximum length of a server name in bytes: a user id has to fit in 255 bytes and leave room for its localpart.
const MAX_SERVER_NAME_BYTES: usize = 200;

pub(super) fn apply_bootstrap(context: &mut ApplyContext<'_>, command: &log::Bootstrap) -> ApplyResult<CommandAnswer> {
    let known = context.cluster();
    if known.cluster_id == command.cluster_id
        && known.server_name == command.server_name
        && !command.cluster_id.is_empty()
    {
        let at = Position { incarnation: known.incarnation, ..Position::ZERO };
        return Ok(CommandAnswer::again(outcome::Kind::Done(log::Done {}), at));
    }
    if !known.cluster_id.is_empty() {
        let message = format!("this cluster is already {} of {}", known.cluster_id, known.server_name);
        return refuse(Reason::AlreadyBootstrapped, message);
    }
    let named = id::is_server_name(&command.server_name) && command.server_name.len() <= MAX_SERVER_NAME_BYTES;
    if command.cluster_id.is_empty() || !named {
        return refuse(Reason::Invalid, "give a cluster id and a server name such as chat.example.org");
    }
    let cluster = context.cluster_mut();
    cluster.cluster_id.clone_from(&command.cluster_id);
    cluster.server_name.clone_from(&command.server_name);
    // In the keys of account data, 0 stands for no room.
    cluster.next_room = 1;
    Ok(CommandAnswer::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{SERVER, command, world};

    fn bootstrap(cluster_id: &str, server_name: &str) -> Envelope {
        let bootstrap = log::Bootstrap { cluster_id: cluster_id.into(), server_name: server_name.into() };
        Envelope { command: command(Kind::Bootstrap(bootstrap)), ..Envelope::default() }
    }

    #[test]
    fn a_cluster_is_made_once_and_says_so_again() {
        let mut world = world(&[]);
        assert!(world.accepted(bootstrap("c", SERVER)).duplicate);
        assert_eq!(world.rejected(bootstrap("other", SERVER)), Reason::AlreadyBootstrapped);
        assert_eq!(world.rejected(bootstrap("c", "b.org")), Reason::AlreadyBootstrapped);
        assert_eq!((world.view().cluster_id(), world.view().server_name()), ("c", SERVER));
    }
}
