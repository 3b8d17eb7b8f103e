//! A person with matrix-rust-sdk, and what tests wait for.

use crate::homeserver;
use anyhow::{Context as _, Result, ensure};
use matrix_sdk::config::{RequestConfig, SyncSettings};
use matrix_sdk::ruma::api::client::account::register::v3::Request as RegistrationRequest;
use matrix_sdk::ruma::api::client::room::create_room::v3::{Request as RoomRequest, RoomPreset};
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy, Password, UiaaInfo};
use matrix_sdk::ruma::events::InitialStateEvent;
use matrix_sdk::ruma::events::room::encrypted::OriginalSyncRoomEncryptedEvent;
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::ruma::events::room::message::{OriginalSyncRoomMessageEvent, RoomMessageEventContent};
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId, RoomId, TransactionId};
use matrix_sdk::{Client, LoopCtrl, Room, RoomState};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest wait of a test: an election, a restarted pod and a busy machine together take a part of it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Longest wait of one sync. Conditions that no sync makes true are looked at again after it.
const POLL: Duration = Duration::from_secs(5);

/// Number of times that the SDK sends a request again, as clients for people set it. Without a number it does not repeat a
/// request whose connection breaks, as that of a killed pod does in the middle of an answer.
const RETRIES: usize = 10;

/// Limit of the syncs that may fail: a pod that is killed in the middle of an answer makes one fail, not all of them.
const MAX_FAILED_SYNCS: usize = 50;

const SECRET: &str = "correct horse battery staple";

/// Events that a device has heard by `/sync`.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Bodies of the messages, those of the device itself among them, in the order of arrival.
    pub messages: Vec<String>,
    /// Ids of events that could not be decrypted when they came.
    pub unreadable: Vec<String>,
    /// Reasons for which syncs failed.
    pub failures: Vec<String>,
    /// Number of syncs that succeeded.
    pub syncs: usize,
}

/// One device of a person, which syncs until it is dropped.
#[derive(Debug)]
pub struct Person {
    client: Client,
    user: OwnedUserId,
    device: OwnedDeviceId,
    heard: watch::Receiver<Heard>,
    syncing: JoinHandle<()>,
}

impl Person {
    /// Registers somebody, and logs their first device in.
    ///
    /// # Errors
    /// Returns an error if the homeserver refuses, or the first sync does not come.
    pub async fn newcomer(name: &str) -> Result<Self> {
        let username = format!("{name}-{}", TransactionId::new());
        let mut request = RegistrationRequest::new();
        request.username = Some(username.clone());
        request.password = Some(SECRET.to_owned());
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        request.inhibit_login = true;
        new_client().await?.matrix_auth().register(request).await.context("the registration")?;
        Self::log_in(&username).await
    }

    /// Logs a further device of the same person in, which knows nothing of the others.
    ///
    /// # Errors
    /// Returns an error if the homeserver refuses, or the first sync does not come.
    pub async fn another_device(&self) -> Result<Self> {
        Self::log_in(self.user.as_str()).await
    }

    async fn log_in(user: &str) -> Result<Self> {
        let client = new_client().await?;
        let (tell, heard) = watch::channel(Heard::default());
        listen(&client, &tell);
        client.matrix_auth().login_username(user, SECRET).await.context("the login")?;
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        let user = client.user_id().context("a session has a user")?.to_owned();
        let device = client.device_id().context("a session has a device")?.to_owned();
        let syncing = tokio::spawn(keep_syncing(client.clone(), tell));
        let person = Self { client, user, device, heard, syncing };
        person.until("the first sync", async || anyhow::Ok((person.heard().syncs > 0).then_some(()))).await?;
        Ok(person)
    }

    /// Returns the SDK's client of this device.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the id of the user.
    #[must_use]
    pub fn user(&self) -> &OwnedUserId {
        &self.user
    }

    /// Returns the id of the device.
    #[must_use]
    pub fn device(&self) -> &OwnedDeviceId {
        &self.device
    }

    /// Returns what the device has heard until now.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Returns what `look` finds as soon as it finds something; looks again whenever the device has heard or synced.
    ///
    /// # Errors
    /// Returns the error of `look`, or that nothing was found within [`PATIENCE`], with what was heard instead.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
        let mut news = self.heard.clone();
        let looking = async {
            loop {
                news.mark_unchanged();
                if let Some(found) = look().await? {
                    return Ok(found);
                }
                news.changed().await.context("the device listens no more")?;
            }
        };
        let ended = timeout(PATIENCE, looking).await;
        ended.with_context(|| format!("{} waited {PATIENCE:?} for {what}; {:?}", self.user, self.heard()))?
    }

    /// Waits until the device has heard as many messages as these, and checks that it has heard these, each once, in this
    /// order, and each decrypted.
    ///
    /// # Errors
    /// Returns an error if messages are missing, doubled, out of order or unreadable.
    pub async fn hears(&self, messages: &[String]) -> Result<()> {
        let enough = async || {
            let heard = self.heard();
            anyhow::Ok((heard.messages.len() + heard.unreadable.len() >= messages.len()).then_some(heard))
        };
        let heard = self.until(&format!("the messages {messages:?}"), enough).await?;
        ensure!(heard.unreadable.is_empty(), "{} cannot decrypt {:?}", self.user, heard.unreadable);
        ensure!(heard.messages == messages, "{} heard {:?} instead of {messages:?}", self.user, heard.messages);
        Ok(())
    }

    /// Sends a message, and returns once the homeserver has it.
    ///
    /// # Errors
    /// Returns an error if the homeserver refuses it, or cannot be reached for long.
    pub async fn say(&self, room: &RoomId, body: &str) -> Result<()> {
        let room = self.client.get_room(room).with_context(|| format!("{} does not know {room}", self.user))?;
        let sending = timeout(PATIENCE, async { room.send(RoomMessageEventContent::text_plain(body)).await }).await;
        sending.with_context(|| format!("{body:?} was not sent within {PATIENCE:?}"))??;
        Ok(())
    }

    /// Creates an encrypted room with somebody else, who accepts the invitation; returns this person's view of it, once both
    /// are known to be in it.
    ///
    /// # Errors
    /// Returns an error if the homeserver refuses, or one of the two does not come to know of it.
    pub async fn encrypted_room_with(&self, other: &Self) -> Result<Room> {
        let encryption = RoomEncryptionEventContent::with_recommended_defaults();
        let mut request = RoomRequest::new();
        request.name = Some("vault".to_owned());
        request.preset = Some(RoomPreset::PrivateChat);
        request.invite = vec![other.user.clone()];
        request.initial_state = vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
        let room = self.client.create_room(request).await.context("the creation of the room")?;
        let id = room.room_id();
        let invited = async || anyhow::Ok(other.client.get_room(id).filter(|room| room.state() == RoomState::Invited));
        other.until("the invitation", invited).await?;
        other.client.join_room_by_id(id).await.context("the join")?;
        other.joined_room(id).await?;
        let guest_is_in = async || {
            let member = room.get_member_no_sync(&other.user).await?;
            anyhow::Ok(member.filter(|member| *member.membership() == MembershipState::Join))
        };
        self.until("the guest", guest_is_in).await?;
        Ok(room)
    }

    /// Waits until a sync has brought a room in which this person is, and returns it.
    ///
    /// # Errors
    /// Returns an error if none does.
    pub async fn joined_room(&self, id: &RoomId) -> Result<Room> {
        let joined = async || {
            let room = self.client.get_room(id);
            anyhow::Ok(room.filter(|room| room.state() == RoomState::Joined && room.is_synced()))
        };
        self.until("the room", joined).await
    }

    /// Returns the answer to a request for the password.
    #[must_use]
    pub fn proof(&self, asked: &UiaaInfo) -> AuthData {
        let mut password = Password::new(self.user.clone().into(), SECRET.to_owned());
        password.session = asked.session.clone();
        AuthData::Password(password)
    }

    /// Logs the device out, as people do before they give a telephone away.
    ///
    /// # Errors
    /// Returns an error if the homeserver refuses.
    pub async fn log_out(self) -> Result<()> {
        self.syncing.abort();
        self.client.logout().await.context("the logout")
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.syncing.abort();
    }
}

async fn new_client() -> Result<Client> {
    let config = RequestConfig::new().retry_limit(RETRIES);
    Ok(Client::builder().homeserver_url(homeserver()).request_config(config).build().await?)
}

/// Notes what the syncs of a client bring.
fn listen(client: &Client, tell: &watch::Sender<Heard>) {
    let messages = tell.clone();
    client.add_event_handler(move |event: OriginalSyncRoomMessageEvent| async move {
        messages.send_modify(|heard| heard.messages.push(event.content.body().to_owned()));
    });
    // Decrypted events come as what they contain, so that this is what could not be decrypted.
    let unreadable = tell.clone();
    client.add_event_handler(move |event: OriginalSyncRoomEncryptedEvent| async move {
        unreadable.send_modify(|heard| heard.unreadable.push(event.event_id.to_string()));
    });
}

/// Syncs until the task is aborted. The SDK leaves it to its user to go on after a failure.
async fn keep_syncing(client: Client, tell: watch::Sender<Heard>) {
    while tell.borrow().failures.len() < MAX_FAILED_SYNCS {
        let settings = SyncSettings::default().timeout(POLL);
        let synced = client.sync_with_callback(settings, |_| {
            tell.send_modify(|heard| heard.syncs += 1);
            async { LoopCtrl::Continue }
        });
        if let Err(failure) = synced.await {
            tell.send_modify(|heard| heard.failures.push(failure.to_string()));
        }
    }
}
