//! The answer to a denied request.

use super::abi::{
    Buffer, Headers, Request, envoy_dynamic_module_callback_http_send_response,
    envoy_dynamic_module_callback_http_send_response_data,
    envoy_dynamic_module_callback_http_send_response_headers,
};
use super::fields::{FIELD, Fields};
use crate::policy::{BODY, DETAILS, GRPC_RESPONSE, MISSING_DETAILS, RESPONSE, STATUS};

/// What the media type of a gRPC call begins with. Only the end or a `+` may follow: `application/grpc-web`
/// is not gRPC.
const GRPC: &[u8] = b"application/grpc";

static HEADERS: Headers<{ RESPONSE.len() }> = Headers::of(RESPONSE);
static GRPC_HEADERS: Headers<{ GRPC_RESPONSE.len() }> = Headers::of(GRPC_RESPONSE);

/// Whether Envoy would answer the request as a gRPC call.
fn is_grpc(fields: &Fields) -> bool {
    fields
        .text_of("content-type")
        .strip_prefix(GRPC)
        .is_some_and(|rest| rest.first().is_none_or(|&next| next == b'+'))
}

/// Sends the denial.
#[cold]
pub fn send(request: Request, fields: &Fields) {
    if is_grpc(fields) {
        send_headers(request, &GRPC_HEADERS, true);
    } else if !DETAILS.is_empty() || MISSING_DETAILS.is_some() {
        let details = match MISSING_DETAILS {
            Some(details) if fields.text_of(FIELD).is_empty() => details,
            _ => DETAILS,
        };
        // The first header is the status.
        let headers = &HEADERS.0[1..];
        // SAFETY: `request` as above; the rest are statics and constants, which Envoy copies.
        unsafe {
            envoy_dynamic_module_callback_http_send_response(
                request,
                STATUS,
                headers.as_ptr(),
                headers.len(),
                Buffer::of(BODY),
                Buffer::of(details),
            );
        }
    } else {
        // Envoy would write the body of an answer to HEAD, and a client would read it as the next answer.
        let ends = BODY.is_empty() || matches!(fields.text_of(":method"), b"HEAD");
        send_headers(request, &HEADERS, ends);
        if !ends {
            // SAFETY: `request` as above; the body is a constant, which Envoy copies.
            unsafe {
                envoy_dynamic_module_callback_http_send_response_data(
                    request,
                    Buffer::of(BODY),
                    true,
                );
            }
        }
    }
}

fn send_headers<const N: usize>(request: Request, headers: &'static Headers<N>, end: bool) {
    // SAFETY: `request` is what Envoy passed to the event that runs; the headers are a static, which
    // Envoy copies.
    unsafe {
        envoy_dynamic_module_callback_http_send_response_headers(
            request,
            headers.0.as_ptr(),
            N,
            end,
        );
    }
}
