//! Mutations: deliberate faults of Quorate itself. Each must be caught, or the checks are worth nothing.

use std::fmt;
use std::str::FromStr;

macro_rules! mutations {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// A deliberate fault of Quorate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation { $($(#[doc = $doc])+ $name,)+ }

        impl Mutation {
            /// All mutations, in the order in which they are declared.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }

        impl fmt::Display for Mutation {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }

        impl FromStr for Mutation {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$name),)+
                    other => Err(format!("unknown mutation {other:?}")),
                }
            }
        }
    };
}

mutations! {
    /// `fdatasync` returns without having written anything.
    AcknowledgeBeforeSync = "acknowledge-before-sync";
    /// Followers acknowledge entries that they did not append.
    CommitWithoutQuorum = "commit-without-quorum";
    /// Every request for a vote is granted.
    GrantEveryVote = "grant-every-vote";
    /// A loss of power puts a disk back to what it was a moment before, and power fails whenever a pod begins to lead.
    DiskGoesBack = "disk-goes-back";
    /// One follower stamps entries with another time than the leader did.
    EntryDiffers = "entry-differs";
    /// A client considers a message acknowledged before it was sent.
    AcknowledgeEarly = "acknowledge-early";
    /// Messages of a stream are proposed independently of one another.
    PostAside = "post-aside";
    /// Rows that remember transaction ids are not stored.
    DropDedupRow = "drop-dedup-row";
    /// Some messages are stored twice.
    ApplyDuplicate = "apply-duplicate";
    /// One replica loses the rows of some messages.
    ReplicaDiffers = "replica-differs";
    /// A snapshot lacks the newest message.
    SnapshotLacksRow = "snapshot-lacks-row";
    /// Every replica stores the contents of messages with an additional space.
    ContentDiffers = "content-differs";
    /// The index of state changes is not stored.
    ForgetStateChange = "forget-state-change";
    /// The earlier names of a room are forgotten when it gets a new one.
    ForgetOldState = "forget-old-state";
    /// A read that says it is linearizable was answered without asking anybody.
    StaleRead = "stale-read";
    /// A stream that is resumed leaves its first event out.
    SkipOnResume = "skip-on-resume";
    /// A pod that is not upgraded yet announces the format level of the newer version.
    AnnounceNewerLevel = "announce-newer-level";
}
