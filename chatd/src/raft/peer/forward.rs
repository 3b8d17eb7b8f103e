//! Server side of a forward stream: a follower's writes, answered as they are applied, in any order.

use super::PeerListener;
use crate::raft::{
    forward::answer_to_pb,
    propose::{ProposeError, TOO_NEW_FOR, error::ProposeAttempt, packer::QueuePermit},
};
use crate::trace::wire;
use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use prost::Message as _;
use quorate_core::proto::log::Envelope;
use quorate_wire::raft::v1 as pb;
use tonic::{Status, Streaming};

/// Commands of one follower in flight: the leader's whole queue. Beyond it the stream is not read, and HTTP/2 flow
/// control slows the follower down.
const IN_FLIGHT: usize = 4096;

pub(super) struct ForwardSession {
    listener: PeerListener,
    incoming: Streaming<pb::ForwardRequest>,
    open: bool,
    /// Reserved place in the proposer's queue for the next command; without one, the stream is not read.
    place: Option<QueuePermit>,
    answers: FuturesUnordered<BoxFuture<'static, pb::ForwardResponse>>,
}

impl ForwardSession {
    /// Serves one stream, which ends once the follower has ended its side and everything is answered.
    pub(super) fn serve(
        listener: PeerListener,
        incoming: Streaming<pb::ForwardRequest>,
    ) -> BoxStream<'static, Result<pb::ForwardResponse, Status>> {
        let forwarding = Self { listener, incoming, open: true, place: None, answers: FuturesUnordered::new() };
        let answers = stream::unfold(Some(forwarding), |forwarding| async move {
            let mut forwarding = forwarding?;
            match forwarding.next().await {
                Ok(answer) => answer.map(|answer| (Ok(answer), Some(forwarding))),
                Err(status) => Some((Err(status), None)),
            }
        });
        answers.boxed()
    }

    async fn next(&mut self) -> Result<Option<pb::ForwardResponse>, Status> {
        loop {
            tokio::select! {
                Some(answer) = self.answers.next() => return Ok(Some(answer)),
                place = self.listener.proposer.place(), if self.open && self.place.is_none() => match place {
                    Some(place) => self.place = Some(place),
                    None => return Err(Status::unavailable("this pod is stopping")),
                },
                message = self.incoming.message(), if self.open && self.place.is_some() && self.answers.len() < IN_FLIGHT => {
                    match message {
                        Ok(Some(request)) => self.start(request)?,
                        // Ended or broken: the commands that were taken are still applied.
                        Ok(None) | Err(_) => self.open = false,
                    }
                },
                else => return Ok(None),
            }
        }
    }

    /// Starts a command. It is queued when this function returns, so that a follower's commands keep their order.
    fn start(&mut self, request: pb::ForwardRequest) -> Result<(), Status> {
        self.listener.identity().check(request.target.as_ref())?;
        let sequence = request.sequence;
        // Always present: the stream is read only with a place.
        let Some(place) = self.place.take() else { return Ok(()) };
        if request.level > self.listener.proposer.format().level {
            // Decoded by this version, the command would lose what it does not know.
            let refused = ProposeAttempt::Refused(ProposeError::TooNew { retry_after: TOO_NEW_FOR });
            self.answers.push(futures::future::ready(answer_to_pb(sequence, refused)).boxed());
            return Ok(());
        }
        let answer = match Envelope::decode(request.envelope.clone()) {
            Ok(envelope) => {
                let trace = wire::from_pb(request.trace.as_ref());
                let attempt = self.listener.proposer.lead(request.envelope, envelope, place, trace);
                async move { answer_to_pb(sequence, attempt.await) }.boxed()
            }
            // No pod of this version sends this; it is answered by itself, instead of breaking the stream for all.
            Err(error) => {
                let attempt = ProposeAttempt::Unknown(format!("cannot decode the command: {error}"));
                futures::future::ready(answer_to_pb(sequence, attempt)).boxed()
            }
        };
        self.answers.push(answer);
        Ok(())
    }
}
