// The floor of the native gate: the committed policy's rule, written by hand for the fewest instructions, with the
// checks of the Rust gate. A request with more than 128 fields is denied; the Rust gate asks Envoy for them one by one.

#include "abi.h"

static const header denial[] = {
    {TEXT(":status"), TEXT("403")},
    {TEXT("content-type"), TEXT("text/plain")},
    {TEXT("content-length"), TEXT("43")},
};
static const header grpc_denial[] = {
    {TEXT(":status"), TEXT("200")},
    {TEXT("content-type"), TEXT("application/grpc")},
    {TEXT("grpc-status"), TEXT("7")},
    {TEXT("grpc-message"), TEXT("Forbidden by ASM Wasm Plugin, rust version%0A")},
};
static const buffer body = TEXT("Forbidden by ASM Wasm Plugin, rust version\n");

#define IS(text, buffer) (buffer.length == sizeof text - 1 && buffer.ptr && !__builtin_memcmp(buffer.ptr, text, sizeof text - 1))

// Whether Envoy would answer the request as a gRPC call.
static bool is_grpc(const header *fields, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (!IS("content-type", fields[i].key)) continue;
        buffer type = fields[i].value;
        return type.ptr && type.length >= 16 && !__builtin_memcmp(type.ptr, "application/grpc", 16) &&
               (type.length == 16 || type.ptr[16] == '+');
    }
    return false;
}

// Whether the answer may have a body.
static bool is_head(const header *fields, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (IS(":method", fields[i].key)) return IS("HEAD", fields[i].value);
    return false;
}

uint32_t envoy_dynamic_module_on_http_filter_request_headers(request request) {
    header fields[128];
    size_t size = envoy_dynamic_module_callback_http_get_headers_size(request, 0);
    if (size > 128) size = 0;
    // What Envoy does not write has no name.
    for (size_t i = 0; i < size; i++) ((volatile header *)fields)[i].key.length = 0;
    if (!envoy_dynamic_module_callback_http_get_headers(request, 0, fields)) size = 0;
    for (size_t i = 0; i < size; i++) {
        if (!IS("allow", fields[i].key)) continue;
        if (IS("true", fields[i].value)) return 0;
        break;
    }
    if (is_grpc(fields, size)) {
        envoy_dynamic_module_callback_http_send_response_headers(request, grpc_denial, 4, true);
    } else if (is_head(fields, size)) {
        envoy_dynamic_module_callback_http_send_response_headers(request, denial, 3, true);
    } else {
        envoy_dynamic_module_callback_http_send_response_headers(request, denial, 3, false);
        envoy_dynamic_module_callback_http_send_response_data(request, body, true);
    }
    // StopAllIterationAndWatermark
    return 4;
}
