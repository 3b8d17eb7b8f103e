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

{{- /* What running ChatClusters takes, and nothing else. Secrets are read and written by name: never listed or watched. */ -}}
{{- define "quorate-operator.rules" -}}
- apiGroups: [chat.quorate.dev]
  resources: [chatclusters]
  verbs: [get, list, watch]
- apiGroups: [chat.quorate.dev]
  resources: [chatclusters/status]
  verbs: [get, patch]
# Setting ownerReferences with blockOwnerDeletion asks for this where the OwnerReferencesPermissionEnforcement plugin is on.
- apiGroups: [chat.quorate.dev]
  resources: [chatclusters/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
# What old revisions of the pods name is not removed.
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
# Healthy pods are moved by eviction, so that their PodDisruptionBudget is asked.
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
# Why a pod or a volume does not come stands in warnings and nowhere else.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end -}}
