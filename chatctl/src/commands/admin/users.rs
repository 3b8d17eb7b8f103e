//! The `chatctl admin users list` and `show` commands.

use super::AdminTarget;
use crate::{
    commands::time::format_utc,
    context::CommandContext,
    error::Error,
    output::{format_table, printable_line},
};
use clap::Args;
use quorate_wire::admin::v1::{GetUserRequest, GetUserResponse, ListUsersRequest, UserAccount, UserDevice};
use serde_json::{Value, json};

/// Number of accounts per page, which is the server's own limit.
const PAGE: usize = 1000;

/// Arguments of `chatctl admin users list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin users list --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin users list --search alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl --output json admin users list --admin 127.0.0.1:7401 --tls-dir ./cluster | jq -r '.users[].user_id'")]
pub(super) struct ListUsersArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Text that the name or the display name contains
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    search: String,
    /// Maximum number of accounts to list
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: usize,
}

/// Lists accounts page by page.
pub(super) async fn run_list_users(command: ListUsersArgs, context: &CommandContext) -> Result<(), Error> {
    let (connection, _) = command.target.any().await?;
    let mut users: Vec<UserAccount> = Vec::new();
    let mut from = String::new();
    while users.len() < command.limit {
        let limit = u32::try_from((command.limit - users.len()).min(PAGE)).unwrap_or(u32::MAX);
        let request = ListUsersRequest { search: command.search.clone(), from, limit };
        let page = connection.moderate(|mut api| async move { api.list_users(request).await }).await?;
        users.extend(page.users);
        from = page.next;
        if from.is_empty() {
            break;
        }
    }
    let document = json!({ "users": users.iter().map(user_document).collect::<Vec<_>>() });
    context.out.emit(&document, || user_table(&users))
}

/// Arguments of `chatctl admin users show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin users show alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin users show @alice:example.org --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub(super) struct ShowUserArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Name of the account, or full user id
    user: String,
}

/// Shows an account.
pub(super) async fn run_show_user(command: ShowUserArgs, context: &CommandContext) -> Result<(), Error> {
    let (connection, _) = command.target.any().await?;
    let request = GetUserRequest { user: command.user };
    let found = connection.moderate(|mut api| async move { api.get_user(request).await }).await?;
    let GetUserResponse { user, devices, joined_rooms } = found;
    let user = user.unwrap_or_default();
    let mut document = user_document(&user);
    if let Some(object) = document.as_object_mut() {
        object.insert("joined_rooms".into(), joined_rooms.into());
        object.insert("devices".into(), devices.iter().map(device_document).collect());
    }
    context.out.emit(&document, || {
        let device_rows: Vec<_> = devices.iter().map(device_row).collect();
        let devices = format_table(&["DEVICE", "NAME", "LAST SEEN (UTC)", "ADDRESS"], &device_rows);
        format!("{}joined rooms: {joined_rooms}\n{devices}", user_table(std::slice::from_ref(&user)))
    })
}

/// Returns the document of an account.
pub(super) fn user_document(user: &UserAccount) -> Value {
    json!({
        "user_id": user.user_id,
        "display_name": user.display_name,
        "created_ms": user.created_ms,
        "administrator": user.administrator,
        "deactivated": user.deactivated,
        "locked": user.locked,
        "suspended": user.suspended,
    })
}

/// Returns a table of accounts.
pub(super) fn user_table(users: &[UserAccount]) -> String {
    let row = |user: &UserAccount| {
        let name = if user.display_name.is_empty() { "-" } else { &user.display_name };
        vec![user.user_id.clone(), printable_line(name), format_utc(user.created_ms), standing_words(user)]
    };
    format_table(&["USER", "NAME", "CREATED (UTC)", "STANDING"], &users.iter().map(row).collect::<Vec<_>>())
}

fn standing_words(user: &UserAccount) -> String {
    let words = [
        (user.administrator, "administrator"),
        (user.deactivated, "deactivated"),
        (user.locked, "locked"),
        (user.suspended, "suspended"),
    ];
    let named: Vec<_> = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
    if named.is_empty() { "-".into() } else { named.join(", ") }
}

fn device_document(device: &UserDevice) -> Value {
    json!({
        "device_id": device.device_id,
        "display_name": device.display_name,
        "seen_ms": device.seen_ms,
        "seen_address": device.seen_address,
        "expires_ms": device.expires_ms,
    })
}

fn device_row(device: &UserDevice) -> Vec<String> {
    let seen = if device.seen_ms == 0 { "-".into() } else { format_utc(device.seen_ms) };
    vec![device.device_id.clone(), printable_line(&device.display_name), seen, device.seen_address.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standing_of_an_account_is_told_in_words() {
        let user = UserAccount { locked: true, suspended: true, ..UserAccount::default() };
        assert_eq!(standing_words(&user), "locked, suspended");
        assert_eq!(standing_words(&UserAccount::default()), "-");
    }
}
