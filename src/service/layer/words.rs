//! Words and details for what tonic refuses by itself.

use http::Response;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::{Code, Status};

use super::status_of;
use crate::service::status::Refusal;

/// tonic answers by itself what it cannot decode (INTERNAL), what is too large (OUT_OF_RANGE without
/// details) and what it does not know (UNIMPLEMENTED without words). We never answer INTERNAL.
pub fn worded(
    response: Response<Body>,
    service: &'static str,
    path: Option<&PathAndQuery>,
) -> Response<Body> {
    let headers = response.headers();
    let Some(code) =
        status_of(headers).filter(|_| !headers.contains_key("grpc-status-details-bin"))
    else {
        return response;
    };
    let said = || {
        let status = Status::from_header_map(headers);
        status.map_or_else(String::new, |status| status.message().to_owned())
    };
    let refusal = match code {
        Code::Internal => Refusal::Malformed(said()),
        Code::OutOfRange => Refusal::RequestTooLarge(said()),
        Code::Unimplemented if !headers.contains_key("grpc-message") => Refusal::UnknownMethod {
            service,
            method: method(path).to_owned(),
        },
        _ => return response,
    };
    Status::from(refusal).into_http()
}

fn method(path: Option<&PathAndQuery>) -> &str {
    path.and_then(|path| path.path().rsplit('/').next())
        .unwrap_or_default()
}
