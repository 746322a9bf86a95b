// What the modules of this folder use of Envoy's dynamic-module ABI (source/extensions/dynamic_modules/abi/abi.h in
// Envoy 1.38 to 1.40), and the events that neither has a use for.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { const char *ptr; size_t length; } buffer;
typedef struct { buffer key, value; } header;
typedef void *request;

#define TEXT(text) { text, sizeof text - 1 }

size_t envoy_dynamic_module_callback_http_get_headers_size(request, uint32_t map);
bool envoy_dynamic_module_callback_http_get_headers(request, uint32_t map, header *);
void envoy_dynamic_module_callback_http_send_response_headers(request, const header *, size_t, bool end_of_stream);
void envoy_dynamic_module_callback_http_send_response_data(request, buffer data, bool end_of_stream);

const char *envoy_dynamic_module_on_program_init(void) { return "v0.1.0"; }
// Any address that is not null.
const void *envoy_dynamic_module_on_http_filter_config_new(void) { return (void *)1; }
const void *envoy_dynamic_module_on_http_filter_new(void) { return (void *)1; }

#define IGNORED(event) uintptr_t envoy_dynamic_module_on_http_filter_##event(void) { return 0; }
IGNORED(config_destroy)
IGNORED(config_http_callout_done)
IGNORED(config_http_stream_complete)
IGNORED(config_http_stream_data)
IGNORED(config_http_stream_headers)
IGNORED(config_http_stream_reset)
IGNORED(config_http_stream_trailers)
IGNORED(config_scheduled)
IGNORED(destroy)
IGNORED(downstream_above_write_buffer_high_watermark)
IGNORED(downstream_below_write_buffer_low_watermark)
IGNORED(http_callout_done)
IGNORED(http_stream_complete)
IGNORED(http_stream_data)
IGNORED(http_stream_headers)
IGNORED(http_stream_reset)
IGNORED(http_stream_trailers)
IGNORED(local_reply)
IGNORED(per_route_config_destroy)
IGNORED(per_route_config_new)
IGNORED(request_body)
IGNORED(request_trailers)
IGNORED(response_body)
IGNORED(response_headers)
IGNORED(response_trailers)
IGNORED(scheduled)
IGNORED(stream_complete)
