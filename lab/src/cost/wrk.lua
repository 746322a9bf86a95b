-- Requests, denied ones, failed ones, microseconds, and the latency's median and 99th percentile.
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  print("lab", summary.requests, errors.status, failed, summary.duration,
    latency:percentile(50), latency:percentile(99))
end
