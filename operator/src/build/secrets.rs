//! Files of the pods that hold values of the Secrets that the spec refers to.

use super::pod::{file_mode, volume_mount};
use crate::{
    cluster::ValidCluster,
    secret_inputs::{SecretFile, secret_references},
};
use k8s_openapi::api::core::v1::{
    KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeMount, VolumeProjection,
};
use quorate_crd::SecretKeyRef;

const VOLUME: &str = "secrets";
const FOLDER: &str = "/etc/quorate/secrets";

/// Returns the path of a file in the pods.
pub(super) fn secret_path(file: SecretFile) -> String {
    format!("{FOLDER}/{}", file.file_name())
}

/// Returns the volume with all files; `None` if the spec refers to no Secret.
pub(super) fn secret_volume(cluster: &ValidCluster) -> Option<Volume> {
    let sources: Vec<VolumeProjection> = secret_references(&cluster.spec)
        .into_iter()
        .map(|(file, reference)| secret_projection(file, reference))
        .collect();
    (!sources.is_empty()).then(|| Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(file_mode(cluster)), sources: Some(sources) }),
        ..Volume::default()
    })
}

/// Returns the mount of that volume; `None` if there is no such volume.
pub(super) fn secret_mount(cluster: &ValidCluster) -> Option<VolumeMount> {
    (!secret_references(&cluster.spec).is_empty()).then(|| volume_mount(VOLUME, FOLDER, true))
}

fn secret_projection(file: SecretFile, reference: &SecretKeyRef) -> VolumeProjection {
    let item = KeyToPath { key: reference.key.clone(), path: file.file_name().to_owned(), mode: None };
    VolumeProjection {
        secret: Some(SecretProjection {
            name: reference.name.clone(),
            items: Some(vec![item]),
            // Without the value chatd would end at once. A pod whose volume cannot be mounted waits for the Secret.
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        build::{CarriedState, build_resources, choose_template},
        fixture,
        secret_inputs::SecretInputs,
    };
    use quorate_crd::annotation;
    use serde_json::{Value, json};

    fn with_shared_secret(revision: &str) -> ValidCluster {
        let mut cluster = fixture::cluster();
        let reference = SecretKeyRef { name: "admins".into(), key: "secret".into() };
        cluster.spec.chat.accounts.shared_secret_ref = Some(reference);
        cluster.secrets = SecretInputs::Complete { revision: Some(revision.into()) };
        cluster
    }

    fn template(cluster: &ValidCluster) -> Value {
        choose_template(cluster, None).record().pod
    }

    #[test]
    fn a_secret_is_a_file_that_only_the_pods_group_reads() {
        let pod = template(&with_shared_secret("1"));
        let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
        let volume = volumes.iter().find(|volume| volume["name"] == VOLUME).expect("a volume");
        assert_eq!(
            volume["projected"],
            json!({"defaultMode": 0o440, "sources": [{"secret": {
                "name": "admins", "items": [{"key": "secret", "path": "shared-secret"}],
            }}]})
        );
        let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts");
        let mount = json!({"name": VOLUME, "mountPath": FOLDER, "readOnly": true});
        assert!(mounts.contains(&mount), "{mounts:?}");
    }

    #[test]
    fn pods_without_secrets_have_no_trace_of_them() {
        assert!(!template(&fixture::cluster()).to_string().contains(VOLUME));
    }

    #[test]
    fn a_changed_value_makes_another_template() {
        let one = choose_template(&with_shared_secret("1"), None).record();
        let two = choose_template(&with_shared_secret("2"), Some(&one)).record();
        assert_ne!(one, two);
        assert_eq!(two.pod["metadata"]["annotations"][annotation::SECRETS], "2");
        assert_eq!(choose_template(&with_shared_secret("1"), Some(&one)).record(), one);
    }

    #[test]
    fn pods_stay_as_they_are_while_a_value_is_missing() {
        let recorded = choose_template(&with_shared_secret("1"), None).record();
        let mut lacking = with_shared_secret("1");
        lacking.secrets = SecretInputs::Lacking(vec!["Secret admins does not exist".into()]);
        lacking.spec.image = "localhost/quorate:next".into();
        let kept = choose_template(&lacking, Some(&recorded));
        assert!(!kept.is_current());
        assert_eq!(kept.record(), recorded);
        let carried = CarriedState { recorded: Some(recorded), ..CarriedState::default() };
        assert!(build_resources(&lacking, &carried).configs.is_empty());
    }
}
