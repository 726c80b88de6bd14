-- How Argo CD sees gpufleet's kinds. They tell it as kstatus reads it: a main condition (Ready, of a TrainingJob
-- Succeeded), Reconciling and Stalled, of the generation that status answers.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not seen this generation yet"}
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local main = found.Succeeded or found.Ready
if main == nil then
  return {status = "Progressing", message = "the operator has not said anything yet"}
end

local function holds(condition)
  return condition ~= nil and condition.status == "True"
end

if obj.kind == "TrainingJob" then
  if holds(main) then
    return {status = "Healthy", message = main.message}
  elseif main.status == "False" then
    return {status = "Degraded", message = main.message}
  elseif obj.spec.suspend then
    return {status = "Suspended", message = main.message}
  end
elseif main.reason == "ScaledToZero" and not holds(found.Stalled) then
  return {status = "Suspended", message = main.message}
end

if holds(found.Stalled) then
  return {status = "Degraded", message = found.Stalled.message}
elseif holds(found.Reconciling) then
  return {status = "Progressing", message = found.Reconciling.message}
elseif holds(main) then
  return {status = "Healthy", message = main.message}
elseif main.status == "False" then
  return {status = "Degraded", message = main.message}
end
return {status = "Progressing", message = main.message}
