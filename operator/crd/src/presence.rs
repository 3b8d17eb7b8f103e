use crate::DurationString;
use crate::duration::bounded_duration_rule;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Presence: who is online of those with whom a user shares a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(bounded_duration_rule(
    "self.podTimeout",
    "(duration(self.podTimeout) >= duration('600ms') && duration(self.podTimeout) <= duration('10m'))",
)).message("podTimeout must be from 600ms to 10m: a pod gives six signs of life in that time, and nobody waits longer to see that somebody is gone"))]
pub struct PresenceSpec {
    /// Enables presence, which is the default. Where thousands share a room, turning it off saves work.
    #[serde(default = "presence_enabled")]
    pub enabled: bool,
    /// Time after which the presence and typing of a pod's users is dropped if nothing was heard from the pod, from
    /// 600ms to 10m. Those users are present again as soon as their clients reach another pod.
    #[serde(default = "pod_timeout")]
    pub pod_timeout: DurationString,
}

impl PresenceSpec {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn presence_enabled() -> bool {
    true
}

fn pod_timeout() -> DurationString {
    "30s".into()
}

impl Default for PresenceSpec {
    fn default() -> Self {
        Self { enabled: presence_enabled(), pod_timeout: pod_timeout() }
    }
}
