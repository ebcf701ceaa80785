//! Serves [`Http`] over HTTP/1.1, with hyper.
