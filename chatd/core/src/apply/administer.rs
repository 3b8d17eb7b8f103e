//! Acts of administrators. They come from the administrative API, or from an account that may administer the server; each
//! can be repeated, and does whatever remains to be done.

mod accounts;
mod notices;
pub(super) mod registration;
pub(super) mod rooms;

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::{report, standing};
use crate::proto::log::administer::Action;
use crate::proto::log::{self, Reason};
use crate::rows;

pub(super) fn apply_administer<'a>(
    context: &mut ApplyContext<'a>,
    command: &'a log::Administer,
) -> ApplyResult<CommandAnswer> {
    check_administrator(context, command.configured)?;
    let Some(action) = &command.action else {
        return refuse(Reason::Invalid, "the act is missing or newer than this version: upgrade all pods first");
    };
    match action {
        Action::SetStanding(set) => accounts::set_standing(context, set),
        Action::ResetPassword(reset) => accounts::reset_password(context, reset),
        Action::CloseAccount(close) => accounts::close_account(context, close),
        Action::PutRegistrationToken(put) => registration::put_token(context, put),
        Action::DeleteRegistrationToken(delete) => Ok(registration::delete_token(context, delete)),
        Action::DismissReport(dismiss) => report::dismiss_report(context, dismiss),
        Action::BlockRoom(block) => rooms::block_room(context, block),
        Action::DeleteRoom(delete) => rooms::delete_room(context, delete),
        Action::SendNotice(notice) => notices::send_notice(context, notice),
    }
}

/// Refuses a caller who is no administrator. A command without a caller comes from a pod, which has checked the
/// certificate.
fn check_administrator(context: &ApplyContext<'_>, configured: bool) -> ApplyResult<()> {
    if context.user.is_empty() {
        return Ok(());
    }
    context.session()?;
    standing::check_may_administer(context, context.user)?;
    let account = rows::account_row(&context.rows, context.user)?;
    if configured || account.is_some_and(|account| account.administrator) {
        return Ok(());
    }
    refuse(Reason::Forbidden, "only administrators of the server may do this")
}
