{{- define "gpufleet.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The two below take a dict: root, the chart's own scope, and component. */}}
{{- define "gpufleet.selector" -}}
app.kubernetes.io/name: gpufleet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "gpufleet.labels" -}}
{{ include "gpufleet.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* Annotations for a Prometheus that finds pods by them; takes root and port. */}}
{{- define "gpufleet.scrape" -}}
{{- if .root.Values.metrics.scrapeAnnotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
{{- end -}}
{{- end -}}

{{- define "gpufleet.operatorEnv" -}}
- name: GPUFLEET_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: GPUFLEET_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: GPUFLEET_AGENT_IMAGE, value: {{ include "gpufleet.image" . | quote }}}
- {name: GPUFLEET_TRITON_IMAGE, value: {{ .Values.triton.image | quote }}}
- {name: GPUFLEET_WATCH_NAMESPACES, value: {{ join "," .Values.watchNamespaces | quote }}}
- {name: GPUFLEET_LOG_LEVEL, value: {{ .Values.operator.logLevel | quote }}}
- {name: GPUFLEET_METRICS_OBJECTS, value: {{ .Values.metrics.objects | quote }}}
- {name: GPUFLEET_WORKERS, value: {{ .Values.operator.workers | quote }}}
- {name: GPUFLEET_WRITE_RATE_PER_S, value: {{ .Values.operator.writeRate | quote }}}
- {name: GPUFLEET_PROMETHEUS_URL, value: {{ .Values.prometheus.url | quote }}}
- {name: GPUFLEET_PROMETHEUS_WINDOW, value: {{ .Values.prometheus.window | quote }}}
- {name: GPUFLEET_PROMETHEUS_INTERVAL_S, value: {{ .Values.prometheus.intervalSeconds | quote }}}
- {name: GPUFLEET_PROMETHEUS_ALLOW_PARTIAL, value: {{ .Values.prometheus.allowPartial | quote }}}
- {name: GPUFLEET_PROMETHEUS_DCGM_NAMESPACE, value: {{ .Values.prometheus.dcgmNamespace | quote }}}
- {name: GPUFLEET_PROMETHEUS_SECRET_DIR, value: {{ ternary "/etc/gpufleet/prometheus" "" (ne .Values.prometheus.secretName "") | quote }}}
- {name: GPUFLEET_DISRUPTION_GPUS_PER_HOUR, value: {{ .Values.autoscaling.disruptionGpusPerHour | quote }}}
- {name: GPUFLEET_SURGE_GPUS, value: {{ .Values.autoscaling.surgeGpus | quote }}}
- {name: GPUFLEET_PREEMPTION, value: {{ .Values.training.preemption | quote }}}
- {name: GPUFLEET_MINIMUM_RUNTIME_S, value: {{ .Values.training.minimumRuntimeSeconds | quote }}}
- {name: GPUFLEET_MIG_PREFER_NODES, value: {{ .Values.mig.preferNodes | quote }}}
- {name: GPUFLEET_MIG_PLUGIN_POLICY, value: {{ .Values.mig.pluginPolicy | quote }}}
- {name: GPUFLEET_MIG_NAMESPACE, value: {{ ternary .Release.Namespace .Values.mig.namespace .Values.simgpu.enabled | quote }}}
- {name: GPUFLEET_MIG_CONFIG_MAP, value: {{ .Values.mig.configMap | quote }}}
- {name: GPUFLEET_MIG_CONFIG_SETTLE_S, value: {{ ternary 0 .Values.mig.configSettleSeconds .Values.simgpu.enabled | quote }}}
- {name: GPUFLEET_LEASE_DURATION_S, value: {{ .Values.operator.lease.durationSeconds | quote }}}
- {name: GPUFLEET_LEASE_RENEW_S, value: {{ .Values.operator.lease.renewSeconds | quote }}}
{{- end -}}

{{/* What the schema cannot say: fails with the value's name and what would fix it. */}}
{{- define "gpufleet.check" -}}
{{- $lease := .Values.operator.lease -}}
{{- if ge (mulf 2 $lease.renewSeconds) (float64 $lease.durationSeconds) -}}
{{- fail (printf "operator.lease.renewSeconds is %v: it must be less than half of durationSeconds (%v)" $lease.renewSeconds $lease.durationSeconds) -}}
{{- end -}}
{{- $own := list -}}
{{- range include "gpufleet.operatorEnv" . | fromYamlArray }}{{ $own = append $own .name }}{{ end -}}
{{- range .Values.operator.extraEnv -}}
{{- if has .name $own -}}
{{- fail (printf "operator.extraEnv names %s twice: this chart sets it by a value of its own" .name) -}}
{{- end -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- if and .Values.prometheus.secretName (not .Values.prometheus.url) -}}
{{- fail "prometheus.secretName is set and prometheus.url is empty: set the URL of the Prometheus that the Secret is for" -}}
{{- end -}}
{{- if and .Values.nodeAgent.nvml.starts (not .Values.nodeAgent.nvml.enabled) -}}
{{- fail "nodeAgent.nvml.starts needs nodeAgent.nvml.enabled=true: only NVIDIA's driver knows where a slice starts" -}}
{{- end -}}
{{- include "gpufleet.checkCluster" . -}}
{{- end -}}

{{/* What only a cluster can tell: rendering without one finds nothing to say. */}}
{{- define "gpufleet.checkCluster" -}}
{{- $role := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "gpufleet" -}}
{{- $marks := dig "metadata" "annotations" dict $role -}}
{{- $name := index $marks "meta.helm.sh/release-name" | default .Release.Name -}}
{{- $namespace := index $marks "meta.helm.sh/release-namespace" | default .Release.Namespace -}}
{{- if ne (printf "%s/%s" $namespace $name) (printf "%s/%s" .Release.Namespace .Release.Name) -}}
{{- fail (printf "gpufleet is here already, as release %s in namespace %s, and a cluster has room for one: change it with `helm upgrade %s --namespace %s`, or uninstall it first" $name $namespace $name $namespace) -}}
{{- end -}}
{{- /* Kinds, not only versions, are known as soon as a cluster was asked. */ -}}
{{- if .Capabilities.APIVersions.Has "apps/v1/Deployment" -}}
{{- range $value, $kind := dict "podMonitor" "PodMonitor" "prometheusRule" "PrometheusRule" -}}
{{- if and (index $.Values $value).enabled (not ($.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" $kind))) -}}
{{- fail (printf "%s.enabled is true and this cluster has no kind %s: install the CRDs of the Prometheus operator first, or set %s.enabled=false" $value $kind $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Rules that hold wherever gpufleet's objects may be. */}}
{{- define "gpufleet.rules" -}}
- apiGroups: [gpufleet.dev]
  resources: [tritonservices, trainingjobs]
  verbs: [get, list, watch]
- apiGroups: [gpufleet.dev]
  resources: [tritonservices/status, trainingjobs/status]
  verbs: [patch]
- apiGroups: [gpufleet.dev]
  resources: [modelprofiles]
  verbs: [get, list, watch, create, patch, delete]
# An owner reference that blocks deletion needs this where the admission plugin for it is on.
- apiGroups: [gpufleet.dev]
  resources: [tritonservices/finalizers, trainingjobs/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes]
  verbs: [get, list, watch, create, patch, delete]
# Pods that are to leave a node whose layout changes.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch, create, patch]
{{- end -}}

{{/* A Role with `rules` in `namespace`, and its binding to the operator; takes root, name, namespace and rules. */}}
{{- define "gpufleet.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "gpufleet.labels" (dict "root" .root "component" "operator") | nindent 4 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "gpufleet.labels" (dict "root" .root "component" "operator") | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .name }}}
subjects:
- {kind: ServiceAccount, name: gpufleet, namespace: {{ .root.Release.Namespace }}}
{{- end -}}
