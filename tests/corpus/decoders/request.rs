//! What a client says to the HTTP server: bodies, and query strings.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::{HeaderMap, Request, header};
use axum::response::IntoResponse;
use tokio::runtime::{Builder, Runtime};
use towline::Draft;
use towline::http::decoders::{Drafts, Parameters, Problem, acknowledged, beginning, listing};
use towline::words::Time;
use towline::words::entry::View;

use super::Verdict;
use super::allocation::within;
use super::entry::shown;

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// The first byte says the content type of the others.
pub fn bodies(bytes: &[u8]) -> Verdict {
    let Some((form, body)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let lines = !form.is_multiple_of(2);
    let content_type = if lines { "application/x-ndjson" } else { "application/json" };
    let drafts = sent(content_type, body.to_vec());
    if let Ok(drafts) = &drafts {
        assert!(!drafts.is_empty());
        for draft in drafts {
            assert_eq!(draft.check(), Ok(()));
            let time = Time::from_millis(1_795_237_297_123);
            let entry = draft.encode(time);
            let view = View::check(&entry).expect("a draft that was taken is an entry");
            assert_eq!(view.to_draft().as_ref(), Ok(draft));
            shown(draft.clone(), time);
        }
        if body.trim_ascii_start().starts_with(b"{") && !body.contains(&b'\n') {
            assert_eq!(sent("application/json", body.to_vec()).as_ref(), Ok(drafts));
            assert_eq!(sent("application/x-ndjson", body.to_vec()).as_ref(), Ok(drafts));
        }
    }
    drafts.into()
}

/// The drafts that a node takes from a body, or the status that it answers with.
pub fn sent(content_type: &str, body: Vec<u8>) -> Result<Vec<Draft>, u16> {
    let most = 16 * body.len() + (64 << 10);
    let request = Request::post("/v1/entries").header(header::CONTENT_TYPE, content_type);
    let request = request.body(Body::from(body)).expect("a request");
    let read = RUNTIME
        .with(|runtime| within(most, || runtime.block_on(Drafts::from_request(request, &()))));
    read.map(|read| read.drafts).map_err(refused)
}

/// The status of a refusal, which is the client's fault and says so in JSON.
fn refused(problem: Problem) -> u16 {
    let response = problem.into_response();
    let status = response.status();
    assert!(status.is_client_error(), "{status}");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    status.as_u16()
}

/// A query string of any route that takes one.
pub fn parameters(bytes: &[u8]) -> Verdict {
    let Some((route, query)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let Ok(query) = std::str::from_utf8(query) else {
        return Verdict::Refused;
    };
    let Some(parameters) = read(query) else {
        return Verdict::Refused;
    };
    match route % 3 {
        0 => list(&parameters),
        1 => beginning(&HeaderMap::new(), &parameters).map_err(refused).into(),
        _ => acknowledged(&parameters).map_err(refused).into(),
    }
}

fn read(query: &str) -> Option<Parameters> {
    let request = Request::get(format!("/v1/entries?{query}")).body(()).ok()?;
    let (mut parts, ()) = request.into_parts();
    let read = Parameters::from_request_parts(&mut parts, &());
    let Ok(parameters) = RUNTIME.with(|runtime| runtime.block_on(read));
    Some(parameters)
}

/// A listing; and the link to its next page asks for the same, from the cursor on.
fn list(parameters: &Parameters) -> Verdict {
    let query = match listing(parameters) {
        Ok(query) => query,
        Err(problem) => {
            refused(problem);
            return Verdict::Refused;
        }
    };
    let cursor = "o:0101010101010101.7";
    let next = read(&parameters.continued(&query.filter, cursor)).expect("a link is a query");
    let next = listing(&next).unwrap_or_else(|problem| panic!("{problem:?}"));
    assert_eq!(next.after.map(|cursor| cursor.to_string()).as_deref(), Some(cursor));
    let asked = |query: &towline::Query| (query.order, query.limit, query.direction);
    assert_eq!(asked(&next), asked(&query));
    assert_eq!(format!("{:?}", next.filter), format!("{:?}", query.filter));
    Verdict::Taken
}
