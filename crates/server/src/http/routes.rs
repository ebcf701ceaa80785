//! From a path to a page.

use std::sync::Arc;

use http::{Request, Response, StatusCode};

use super::{Body, Doors, Http, Peer};

pub(super) async fn handle(_http: &Arc<Http>, _doors: Doors, _peer: &Peer, _request: Request<Body>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
