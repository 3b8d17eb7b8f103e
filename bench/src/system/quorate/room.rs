//! A room whose members subscribe, each over a connection of its own, spread over the nodes.

use super::client::{BenchUser, connect_grpc, message_request};
use super::{NODES, QuorateCluster};
use crate::load::members::DeliveryBoard;
use crate::load::room::{RoomUnderLoad, WAITING};
use crate::load::tasks::TaskGroup;
use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::{PostRequest, SubscribeRequest, SubscribeResponse, post_result};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Number of registrations at once: each costs a password hash, of which a node computes few at a time.
const REGISTRATIONS: usize = 4;
/// Maximum number of messages in one frame of the sender, when it is behind.
const FRAME: usize = 256;

impl QuorateCluster {
    pub(crate) async fn room(&self, board: Arc<DeliveryBoard>) -> anyhow::Result<RoomUnderLoad> {
        let room = self.user.create_room(0, Preset::Public, "members").await?;
        let room = room.as_str();
        let users = self.members(board.members(), room).await?;
        let mut tasks = TaskGroup::default();
        for (n, user) in users.iter().enumerate() {
            let stream = self.subscribe(user, n, room).await?;
            tasks.spawn(record_deliveries(stream, n, board.clone()));
        }
        let say = self.sender(room, board.clone(), &mut tasks).await?;
        Ok(RoomUnderLoad { board, say, _tasks: tasks })
    }

    /// Registers accounts, and makes them join a room.
    pub(super) async fn members(&self, count: usize, room: &str) -> anyhow::Result<Vec<BenchUser>> {
        let first = crate::payload::reserve_numbers(count as u64);
        futures::stream::iter(0..count)
            .map(|n| async move {
                let user = self.user.another(n % NODES, &format!("member-{}", first + n as u64)).await?;
                user.join(n % NODES, room).await?;
                anyhow::Ok(user)
            })
            .buffered(REGISTRATIONS)
            .try_collect()
            .await
    }

    async fn subscribe(&self, user: &BenchUser, n: usize, room: &str) -> anyhow::Result<Streaming<SubscribeResponse>> {
        let node = self.nodes.get(n % NODES).context("no such node")?;
        let request = SubscribeRequest { room_id: room.to_owned(), cursor: String::new() };
        Ok(connect_grpc(node.grpc).await?.subscribe(user.asks(request)).await.context("cannot subscribe")?.into_inner())
    }

    async fn sender(
        &self,
        room: &str,
        board: Arc<DeliveryBoard>,
        tasks: &mut TaskGroup,
    ) -> anyhow::Result<mpsc::Sender<u64>> {
        let (say, mut said) = mpsc::channel::<u64>(WAITING);
        let (frames, outgoing) = mpsc::channel(1);
        let node = self.nodes.first().context("no node")?;
        let mut client = connect_grpc(node.grpc).await?;
        let room = room.to_owned();
        let user = self.user.clone();
        let failed = board.clone();
        tasks.spawn(async move {
            let mut numbers = Vec::with_capacity(FRAME);
            while said.recv_many(&mut numbers, FRAME).await > 0 {
                let events = numbers.drain(..).map(|number| message_request(&room, number)).collect();
                if frames.send(PostRequest { events }).await.is_err() {
                    return failed.fail("the sender", &"the stream ended");
                }
            }
        });
        tasks.spawn(async move {
            let answers = client.post(user.asks(ReceiverStream::new(outgoing))).await;
            let drained = async {
                let mut answers = answers?.into_inner();
                while let Some(frame) = answers.message().await? {
                    for answer in frame.results {
                        if let Some(post_result::Result::Refused(detail)) = answer.result {
                            return Err(tonic::Status::internal(detail.message));
                        }
                    }
                }
                Ok(())
            };
            if let Err(status) = drained.await {
                board.fail("the sender", &status);
            }
        });
        Ok(say)
    }
}

async fn record_deliveries(mut stream: Streaming<SubscribeResponse>, n: usize, board: Arc<DeliveryBoard>) {
    loop {
        match stream.message().await {
            Ok(Some(frame)) => frame.events.iter().for_each(|event| board.received(n, &event.content)),
            Ok(None) => return board.fail("a member", &"the stream ended"),
            Err(status) => return board.fail("a member", &status),
        }
    }
}
