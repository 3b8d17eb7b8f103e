//! Faults of Quorate itself, put in on purpose: each must be caught, or the checks are worth nothing.

use std::fmt;
use std::str::FromStr;

macro_rules! mutations {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// What is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation { $($(#[doc = $doc])+ $name,)+ }

        impl Mutation {
            /// All of them.
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
                    other => Err(format!("there is no mutation {other:?}")),
                }
            }
        }
    };
}

mutations! {
    /// fdatasync returns without having written anything.
    AcknowledgeBeforeSync = "acknowledge-before-sync";
    /// Followers acknowledge entries that they did not append.
    CommitWithoutQuorum = "commit-without-quorum";
    /// Every vote is granted, to anybody.
    GrantEveryVote = "grant-every-vote";
    /// A loss of power puts a disk back to what it was a moment before, and power fails whenever a pod begins to lead.
    DiskGoesBack = "disk-goes-back";
    /// One follower stamps entries with another time than the leader did.
    EntryDiffers = "entry-differs";
    /// A client takes a message for acknowledged before it was sent.
    AcknowledgeEarly = "acknowledge-early";
    /// Messages of a stream are proposed each by itself.
    PostAside = "post-aside";
    /// What is remembered of transaction ids is not stored.
    DropDedupRow = "drop-dedup-row";
    /// Some messages are stored twice.
    ApplyDuplicate = "apply-duplicate";
    /// One replica loses a row of a message.
    ReplicaDiffers = "replica-differs";
    /// A snapshot lacks the newest message.
    SnapshotLacksRow = "snapshot-lacks-row";
    /// Every replica stores contents of messages with a space more.
    ContentDiffers = "content-differs";
    /// The index of changes of state is not stored.
    ForgetStateChange = "forget-state-change";
    /// A room's name of then is forgotten when it gets a new one.
    ForgetOldState = "forget-old-state";
    /// A read that says it is linearizable asked nobody.
    StaleRead = "stale-read";
    /// A stream that is resumed leaves the first event out.
    SkipOnResume = "skip-on-resume";
}
