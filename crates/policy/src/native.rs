//! The denial as the native front sends it, header by header: it answers as Envoy's local replies do.

use crate::{Deny, Policy};

/// Headers that Envoy writes itself in the answer to a gRPC call, whatever the policy has. It keeps a
/// `grpc-status` of the policy.
const GRPC_FIELDS: [&str; 3] = ["content-type", "content-length", "grpc-message"];

impl Policy {
    /// The status that a gRPC client gets unless `deny.headers` has one: the policy's, or what Envoy makes of the HTTP status of a local reply
    /// (`Grpc::Utility::httpToGrpcStatus`).
    #[must_use]
    pub fn grpc_status(&self) -> u8 {
        if let Some(status) = self.deny.grpc_status {
            return status;
        }
        match self.deny.status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        }
    }

    /// The headers of the denial. A body has a size and, if the policy names none, the type `text/plain`.
    #[must_use]
    pub fn response(&self) -> Vec<(String, String)> {
        let Deny { status, headers, body, .. } = &self.deny;
        let own = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let mut response = vec![header(":status", status)];
        response.extend(own);
        if !body.is_empty() {
            if response.iter().all(|(name, _)| name != "content-type") {
                response.push(header("content-type", "text/plain"));
            }
            response.push(header("content-length", body.len()));
        }
        response
    }

    /// The headers of the denial of a gRPC call. There is no body: it becomes the message, percent-encoded.
    #[must_use]
    pub fn grpc_response(&self) -> Vec<(String, String)> {
        let mut response = self.response();
        response.retain(|(name, _)| !GRPC_FIELDS.contains(&&**name));
        response[0] = header(":status", 200);
        response.push(header("content-type", "application/grpc"));
        if response.iter().all(|(name, _)| name != "grpc-status") {
            response.push(header("grpc-status", self.grpc_status()));
        }
        let encode = |byte: u8| match byte {
            b'%' | ..b' ' | b'~'.. => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        };
        if !self.deny.body.is_empty() {
            response.push(header(
                "grpc-message",
                self.deny.body.bytes().map(encode).collect::<String>(),
            ));
        }
        response
    }
}

fn header(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}
