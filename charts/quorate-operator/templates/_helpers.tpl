{{- define "quorate-operator.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "quorate-operator.selector" -}}
app.kubernetes.io/name: quorate-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "quorate-operator.labels" -}}
{{ include "quorate-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* The permissions that managing ChatClusters requires. Secrets are read and written by name, never listed or watched. */ -}}
{{- define "quorate-operator.rules" -}}
- apiGroups: [chat.quorate.dev]
  resources: [chatclusters]
  verbs: [get, list, watch]
- apiGroups: [chat.quorate.dev]
  resources: [chatclusters/status]
  verbs: [get, patch]
# Required to set ownerReferences with blockOwnerDeletion where the OwnerReferencesPermissionEnforcement plugin is enabled.
- apiGroups: [chat.quorate.dev]
  resources: [chatclusters/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
# ConfigMaps that old revisions of the pods refer to are not removed.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
# Healthy pods are evicted, so that their PodDisruptionBudget is respected.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# Only warning events say why a pod or a volume is not created.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end -}}
