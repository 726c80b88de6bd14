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
{{- end -}}
