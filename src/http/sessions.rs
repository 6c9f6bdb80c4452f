//! Sessions and their transcripts.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::drafts::Object;
use super::live::{Source, Stay, stream};
use super::parameters::Parameters;
use super::problem::Problem;
use super::scope::{TenantAppends, TenantReads};
use super::threads::{ANSWER_BYTES, EventsJson, NumberedJson, answer, limit, numbered, page_of};
use crate::node::series::Most;
use crate::session::{
    Announce, Announced, Extended, Fork, Origin, Place, SessionName, Transcript, TranscriptName,
    Window,
};
use crate::words::{Code, EntryId, Topic};

/// How many sessions, or transcripts of one, are listed when nothing is said.
const LISTED: usize = 100;
/// How many entries of a transcript are.
const SHOWN: usize = 1_000;

/// A new transcript.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    session: String,
    transcript: String,
    /// `start` when it is left out.
    origin: Option<String>,
    of: Option<String>,
    at: Option<u64>,
    /// Whether viewers are not told.
    #[serde(default)]
    quiet: bool,
    /// The first entries.
    events: Option<EventsJson>,
}

impl Begin {
    fn place(&self) -> Result<Place, Problem> {
        let usage = |what: &str| Problem::new(Code::Usage, what).at("origin");
        let origin = match (self.origin.as_deref().unwrap_or("start"), &self.of, self.at) {
            ("start", None, None) => Origin::Start,
            ("fork", Some(of), Some(at)) => Origin::Fork { of: of.clone(), at },
            ("compaction", Some(of), None) => Origin::Compaction { of: of.clone() },
            _ => return Err(usage("it is start; fork with of and at; or compaction with of")),
        };
        Ok(Place {
            session: SessionName::parse(&self.session)?,
            transcript: TranscriptName::parse(&self.transcript)?,
            origin,
            announce: if self.quiet { Announce::Quietly } else { Announce::Live },
        })
    }
}

/// `GET /v1/sessions/{tenant}`: sessions, the newest first.
pub async fn list(
    TenantReads(log): TenantReads,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "limit"])?;
    let after: Option<Announced> = parameters.read("after", Code::Cursor, str::parse)?;
    let listed = log.sessions(after, limit(&parameters, LISTED)?).await?;
    let session = |it: &crate::session::Listed| {
        json!({"session": it.session.as_str(), "began": it.began.to_string(), "author": it.author,
            "transcripts": it.transcripts, "newest": it.newest.as_str()})
    };
    let sessions: Vec<Value> = listed.sessions.iter().map(session).collect();
    let next = listed.next.map(|next| next.to_string());
    Ok(Json(json!({"sessions": sessions, "next": next})).into_response())
}

/// `POST /v1/sessions/{tenant}`: begins a transcript, and with its first one the session.
pub async fn begin(
    TenantAppends(log): TenantAppends,
    Object { said: asked, room: _room }: Object<Begin>,
) -> Result<Response, Problem> {
    let place = asked.place()?;
    let events = match &asked.events {
        Some(events) => events.events(log.tenant(), &topic_of(&place.transcript)?)?,
        None => Vec::new(),
    };
    let extended = log.begin_transcript(&place, events).await?;
    Ok((StatusCode::CREATED, Json(extended_json(extended))).into_response())
}

/// `GET /v1/sessions/{tenant}/{session}`: its transcripts, the newest first.
pub async fn transcripts(
    TenantReads(log): TenantReads,
    Path((_, session)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "limit"])?;
    let after: Option<Announced> = parameters.read("after", Code::Cursor, str::parse)?;
    let name = SessionName::parse(&session)?;
    let listed = log.transcripts(&name, after, limit(&parameters, LISTED)?).await?;
    let transcript = |it: &crate::session::ListedTranscript| {
        let mut json = json!({"transcript": it.transcript.as_str(), "began": it.began.to_string(),
            "author": it.author, "quiet": it.announce == Announce::Quietly});
        add_origin(&mut json, &it.origin);
        json
    };
    let transcripts: Vec<Value> = listed.transcripts.iter().map(transcript).collect();
    let next = listed.next.map(|next| next.to_string());
    let answer = json!({"session": session, "transcripts": transcripts, "next": next});
    Ok(Json(answer).into_response())
}

/// `GET /v1/sessions/{tenant}/{session}/follow`: the newest transcript, and then what happens.
pub async fn follow(
    log: TenantReads,
    Path((_, session)): Path<(String, String)>,
    stay: Stay,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["limit"])?;
    let session = SessionName::parse(&session)?;
    let place = stay.begin(&log)?;
    let most = Most { entries: limit(&parameters, SHOWN)?, bytes: ANSWER_BYTES };
    let mirror = log.0.mirror_later(&session, most).await?;
    stream(&headers, place, Source::Session(Box::new(mirror)))
}

/// `GET /v1/transcripts/{tenant}/{transcript}`: its entries in pages; `through=ID` reads another branch.
pub async fn read(
    TenantReads(log): TenantReads,
    Path((_, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["through", "after", "before", "newest", "limit"])?;
    let through: Option<EntryId> = parameters.parse("through")?;
    let newest = parameters.parse("newest")?.unwrap_or(false);
    let window = match (parameters.parse("after")?, parameters.parse("before")?, newest) {
        (None, None, false) => Window::First,
        (Some(after), None, false) => Window::After(after),
        (None, Some(before), false) => Window::Before(before),
        (None, None, true) => Window::Newest,
        _ => {
            let detail = "after, before and newest each say which entries: say one of them";
            return Err(Problem::new(Code::Usage, detail));
        }
    };
    let name = TranscriptName::parse(&name)?;
    let (room, most) = page_of(limit(&parameters, SHOWN)?).await;
    let read = log.transcript_part(&name, through, window, most).await?;
    answer(room, &TranscriptJson::of(&read))
}

/// `POST /v1/transcripts/{tenant}/{transcript}`: appends to it; `after=ID` says after which entry.
pub async fn extend(
    TenantAppends(log): TenantAppends,
    Path((_, name)): Path<(String, String)>,
    parameters: Parameters,
    Object { said: events, room: _room }: Object<EventsJson>,
) -> Result<Response, Problem> {
    parameters.allow(&["after"])?;
    let after: Option<EntryId> = parameters.parse("after")?;
    let name = TranscriptName::parse(&name)?;
    let events = events.events(log.tenant(), &topic_of(&name)?)?;
    let extended = log.extend_transcript(&name, after, events).await?;
    Ok((StatusCode::CREATED, Json(extended_json(extended))).into_response())
}

/// To how many entries a transcript is cut, on which branch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    to: u64,
    through: Option<String>,
}

/// `POST /v1/transcripts/{tenant}/{transcript}/truncate`: cuts it to its first entries.
pub async fn truncate(
    TenantAppends(log): TenantAppends,
    Path((_, name)): Path<(String, String)>,
    Object { said: Cut { to, through }, room: _room }: Object<Cut>,
) -> Result<Response, Problem> {
    let through = through.map(|id| id.parse::<EntryId>()).transpose();
    let through = through.map_err(|e| Problem::new(Code::Usage, e).at("through"))?;
    let name = TranscriptName::parse(&name)?;
    let cut = log.truncate_transcript(&name, through, to).await?;
    Ok((StatusCode::CREATED, Json(extended_json(cut))).into_response())
}

/// `POST /v1/transcripts/{tenant}/{transcript}/traces`: notes what happened beside it.
pub async fn trace(
    TenantAppends(log): TenantAppends,
    Path((_, name)): Path<(String, String)>,
    Object { said: events, room: _room }: Object<EventsJson>,
) -> Result<Response, Problem> {
    let name = TranscriptName::parse(&name)?;
    let topic = log.traces(&name)?.topic().clone();
    let ordinal = log.trace(&name, events.events(log.tenant(), &topic)?).await?;
    Ok((StatusCode::CREATED, Json(json!({"ordinal": ordinal}))).into_response())
}

fn topic_of(name: &TranscriptName) -> Result<Topic, Problem> {
    Topic::parse(&format!("transcript/{name}")).map_err(|e| Problem::new(Code::Name, e))
}

fn extended_json(extended: Extended) -> Value {
    let Extended { tip, ordinal, forked } = extended;
    json!({"tip": tip.to_string(), "ordinal": ordinal, "forked": forked})
}

/// A transcript, or a page of it.
#[derive(Serialize)]
pub struct TranscriptJson<'t> {
    session: &'t str,
    transcript: &'t str,
    #[serde(flatten)]
    origin: &'t Origin,
    began: String,
    length: u64,
    tip: String,
    branches: u64,
    forks: Vec<ForkJson>,
    waiting: u64,
    preceding: u64,
    next: Option<String>,
    entries: Vec<NumberedJson>,
}

#[derive(Serialize)]
struct ForkJson {
    first: String,
    at: u64,
}

impl<'t> TranscriptJson<'t> {
    /// The JSON of a transcript.
    pub fn of(read: &'t Transcript) -> Self {
        let fork = |it: &Fork| ForkJson { first: it.first.to_string(), at: it.at };
        Self {
            session: read.session.as_str(),
            transcript: read.name.as_str(),
            origin: &read.origin,
            began: read.began.to_string(),
            length: read.length,
            tip: read.tip.to_string(),
            branches: read.branches,
            forks: read.forks.iter().map(fork).collect(),
            waiting: read.waiting,
            preceding: read.preceding,
            next: read.next.map(|next| next.to_string()),
            entries: numbered(&read.entries),
        }
    }
}

fn add_origin(json: &mut Value, origin: &Origin) {
    let said = serde_json::to_value(origin);
    if let (Some(json), Ok(Value::Object(said))) = (json.as_object_mut(), said) {
        json.extend(said);
    }
}
