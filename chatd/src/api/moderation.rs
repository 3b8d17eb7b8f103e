//! Server of `quorate.admin.v1.Moderation` (port 7401), which `chatctl admin` calls: administration of the chat itself.
//! Each call is decoded, handed to [`ChatService`] and answered; nothing is decided here.

mod accounts;
mod notices;
mod registration;
mod reports;
mod rooms;

use super::error::refusal_to_status;
use crate::service::{Administrator, ChatService, RequestRefusal};
use crate::tls::PeerCaller;
use quorate_wire::admin::v1::{
    self as pb,
    moderation_server::{Moderation, ModerationServer},
};
use tonic::{Request, Response, Status};

/// Number of things on a page of a list unless the caller says otherwise, and at most: a page has less than a megabyte.
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// Implementation of the `Moderation` service.
#[derive(Clone)]
pub struct ModerationApi {
    service: ChatService,
}

impl ModerationApi {
    /// Creates the API of a service.
    #[must_use]
    pub fn new(service: ChatService) -> Self {
        Self { service }
    }

    /// Returns the gRPC service to serve. The peer listener lets only administrators' certificates through to it.
    #[must_use]
    pub fn into_service(self) -> ModerationServer<Self> {
        ModerationServer::new(self)
    }
}

/// Returns the administrator who makes a request: the holder of the certificate.
fn administrator_of<T>(request: &Request<T>) -> Administrator {
    let name = request.extensions().get::<PeerCaller>().and_then(|caller| caller.name.as_deref());
    Administrator::Certificate(name.unwrap_or("unknown").to_owned())
}

fn page_size(limit: u32) -> usize {
    match usize::try_from(limit) {
        Ok(0) => DEFAULT_PAGE,
        Ok(limit) => limit.min(MAX_PAGE),
        Err(_) => MAX_PAGE,
    }
}

/// Answers a call, or turns its refusal into a status.
fn answer<T>(
    call: impl Future<Output = Result<T, RequestRefusal>> + Send,
) -> impl Future<Output = Result<Response<T>, Status>> + Send {
    // Boxed, because otherwise the future of every call would be as large as the largest.
    let call = Box::pin(call);
    async move { call.await.map(Response::new).map_err(refusal_to_status) }
}

#[tonic::async_trait]
impl Moderation for ModerationApi {
    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        answer(accounts::list_users(&self.service, request.into_inner())).await
    }

    async fn get_user(&self, request: Request<pb::GetUserRequest>) -> Result<Response<pb::GetUserResponse>, Status> {
        answer(accounts::get_user(&self.service, request.into_inner())).await
    }

    async fn set_user_standing(
        &self,
        request: Request<pb::SetUserStandingRequest>,
    ) -> Result<Response<pb::SetUserStandingResponse>, Status> {
        let by = administrator_of(&request);
        answer(accounts::set_standing(&self.service, &by, request.into_inner())).await
    }

    async fn reset_password(
        &self,
        request: Request<pb::ResetPasswordRequest>,
    ) -> Result<Response<pb::ResetPasswordResponse>, Status> {
        let by = administrator_of(&request);
        answer(accounts::reset_password(&self.service, &by, request.into_inner())).await
    }

    async fn deactivate_user(
        &self,
        request: Request<pb::DeactivateUserRequest>,
    ) -> Result<Response<pb::DeactivateUserResponse>, Status> {
        let by = administrator_of(&request);
        answer(accounts::deactivate_user(&self.service, &by, request.into_inner())).await
    }

    async fn list_registration_tokens(
        &self,
        request: Request<pb::ListRegistrationTokensRequest>,
    ) -> Result<Response<pb::ListRegistrationTokensResponse>, Status> {
        answer(registration::list_tokens(&self.service, request.into_inner())).await
    }

    async fn put_registration_token(
        &self,
        request: Request<pb::PutRegistrationTokenRequest>,
    ) -> Result<Response<pb::PutRegistrationTokenResponse>, Status> {
        let by = administrator_of(&request);
        answer(registration::put_token(&self.service, &by, request.into_inner())).await
    }

    async fn delete_registration_token(
        &self,
        request: Request<pb::DeleteRegistrationTokenRequest>,
    ) -> Result<Response<pb::DeleteRegistrationTokenResponse>, Status> {
        let by = administrator_of(&request);
        answer(registration::delete_token(&self.service, &by, request.into_inner())).await
    }

    async fn list_reports(
        &self,
        request: Request<pb::ListReportsRequest>,
    ) -> Result<Response<pb::ListReportsResponse>, Status> {
        answer(reports::list_reports(&self.service, request.into_inner())).await
    }

    async fn dismiss_report(
        &self,
        request: Request<pb::DismissReportRequest>,
    ) -> Result<Response<pb::DismissReportResponse>, Status> {
        let by = administrator_of(&request);
        answer(reports::dismiss_report(&self.service, &by, request.into_inner())).await
    }

    async fn list_rooms(
        &self,
        request: Request<pb::ListRoomsRequest>,
    ) -> Result<Response<pb::ListRoomsResponse>, Status> {
        answer(rooms::list_rooms(&self.service, request.into_inner())).await
    }

    async fn block_room(
        &self,
        request: Request<pb::BlockRoomRequest>,
    ) -> Result<Response<pb::BlockRoomResponse>, Status> {
        let by = administrator_of(&request);
        answer(rooms::block_room(&self.service, &by, request.into_inner())).await
    }

    async fn delete_room(
        &self,
        request: Request<pb::DeleteRoomRequest>,
    ) -> Result<Response<pb::DeleteRoomResponse>, Status> {
        let by = administrator_of(&request);
        answer(rooms::delete_room(&self.service, &by, request.into_inner())).await
    }

    async fn send_notice(
        &self,
        request: Request<pb::SendNoticeRequest>,
    ) -> Result<Response<pb::SendNoticeResponse>, Status> {
        let by = administrator_of(&request);
        answer(notices::send_notice(&self.service, &by, request.into_inner())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_hundred_things_unless_asked_and_never_more_than_a_thousand() {
        assert_eq!([0, 1, 1000, 1001, u32::MAX].map(page_size), [100, 1, 1000, 1000, 1000]);
    }
}
